//! Who calls.

use std::sync::{Arc, OnceLock};

use agentkernel_service::Caller;
use rmcp::ErrorData;
use rmcp::model::Extensions;

/// Where the caller of a request is known from.
#[derive(Clone)]
pub(crate) enum Callers {
    /// One for all requests: over standard input there is nobody else.
    One(Caller),
    /// The HTTP guard put it into each request's extensions. The first one owns the session: an id that leaked doesn't
    /// let another key speak in it.
    EachRequest(Arc<OnceLock<String>>),
}

impl Callers {
    /// For a new session over HTTP.
    pub(crate) fn each_request() -> Self {
        Self::EachRequest(Arc::new(OnceLock::new()))
    }

    /// The caller of the request with these extensions.
    pub(crate) fn of(&self, extensions: &Extensions) -> Result<Caller, ErrorData> {
        let owner = match self {
            Self::One(caller) => return Ok(caller.clone()),
            Self::EachRequest(owner) => owner,
        };
        let parts = extensions.get::<http::request::Parts>();
        let caller = parts.and_then(|parts| parts.extensions.get::<Caller>());
        // Without the guard nobody is let in.
        let caller = caller.ok_or_else(|| ErrorData::invalid_request("nobody knows who asks", None))?;
        match owner.get_or_init(|| caller.name.clone()) == &caller.name {
            true => Ok(caller.clone()),
            false => Err(ErrorData::invalid_request("this session belongs to another key", None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agentkernel_service::Scope;

    fn request(name: Option<&str>) -> Extensions {
        let mut request = http::Request::new(());
        if let Some(name) = name {
            let caller = Caller {
                name: name.to_owned(),
                scope: Scope::Run,
                quota: None,
                from: "127.0.0.1".to_owned(),
            };
            request.extensions_mut().insert(caller);
        }
        let mut extensions = Extensions::new();
        extensions.insert(request.into_parts().0);
        extensions
    }

    #[test]
    fn a_session_is_its_first_callers() {
        let callers = Callers::each_request();
        assert_eq!(callers.of(&request(Some("ci"))).unwrap().name, "ci");
        assert_eq!(callers.of(&request(Some("ci"))).unwrap().name, "ci");
        assert!(callers.of(&request(Some("other"))).is_err());
    }

    #[test]
    fn nobody_is_let_in_past_the_guard() {
        assert!(Callers::each_request().of(&request(None)).is_err());
        assert!(Callers::each_request().of(&Extensions::new()).is_err());
    }
}
