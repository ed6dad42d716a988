//! Requests with what most callers say, and the defaults of the wire format for the rest. The derived `Default` is not
//! that: its `fast` and `start` are false.

use crate::{CreateRequest, ExecRequest, RunRequest};

impl RunRequest {
    /// This command; all else as the server does it when it is left out.
    pub fn new(command: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { command: command.into_iter().map(Into::into).collect(), fast: true, ..Self::default() }
    }
}

impl ExecRequest {
    /// This command; all else as the server does it when it is left out.
    pub fn new(command: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { command: command.into_iter().map(Into::into).collect(), ..Self::default() }
    }
}

impl CreateRequest {
    /// A sandbox of this name that is started at once.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), start: true, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_the_same_in_rust_and_on_the_wire() {
        let run: RunRequest = serde_json::from_str(r#"{"command":["a"]}"#).unwrap();
        assert_eq!(RunRequest::new(["a"]), run);
        let exec: ExecRequest = serde_json::from_str(r#"{"command":["a"]}"#).unwrap();
        assert_eq!(ExecRequest::new(["a"]), exec);
        let create: CreateRequest = serde_json::from_str(r#"{"name":"a"}"#).unwrap();
        assert_eq!(CreateRequest::new("a"), create);
    }
}
