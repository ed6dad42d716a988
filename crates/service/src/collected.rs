//! What a command wrote, as far as it is kept.

use agentkernel_api::{Encoding, RunResult};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Both outputs apart, each bounded, and together in the order in which they came.
#[derive(Debug)]
pub(crate) struct Collected {
    limit: usize,
    stdout: Kept,
    stderr: Kept,
    /// Both together, from the moment on in which both have written something: until then it is the one's alone.
    output: Vec<u8>,
}

#[derive(Debug, Default)]
struct Kept {
    bytes: Vec<u8>,
    truncated: bool,
}

impl Kept {
    /// Keeps what there is room for; returns how much that is.
    fn push(&mut self, bytes: &[u8], limit: usize) -> usize {
        let room = limit.saturating_sub(self.bytes.len()).min(bytes.len());
        self.bytes.extend_from_slice(&bytes[..room]);
        self.truncated |= room < bytes.len();
        room
    }
}

impl Collected {
    /// At most `limit` bytes of each.
    pub(crate) fn new(limit: u64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self { limit, stdout: Kept::default(), stderr: Kept::default(), output: Vec::new() }
    }

    pub(crate) fn stdout(&mut self, bytes: &[u8]) {
        self.first_of_both(true);
        let kept = self.stdout.push(bytes, self.limit);
        self.in_order(&bytes[..kept]);
    }

    pub(crate) fn stderr(&mut self, bytes: &[u8]) {
        self.first_of_both(false);
        let kept = self.stderr.push(bytes, self.limit);
        self.in_order(&bytes[..kept]);
    }

    /// Before the second of the outputs writes its first byte, the other's are the beginning.
    fn first_of_both(&mut self, stdout: bool) {
        let (this, other) = if stdout { (&self.stdout, &self.stderr) } else { (&self.stderr, &self.stdout) };
        if this.bytes.is_empty() && self.output.is_empty() {
            self.output.extend_from_slice(&other.bytes);
        }
    }

    fn in_order(&mut self, bytes: &[u8]) {
        if !self.output.is_empty() {
            self.output.extend_from_slice(bytes);
        }
    }

    /// Puts it into the result.
    pub(crate) fn write(self, result: &mut RunResult, encoding: Encoding) {
        let Self { limit: _, stdout, stderr, output } = self;
        result.output = match (output.is_empty(), stdout.bytes.is_empty()) {
            (false, _) => text(output),
            (true, false) => String::from_utf8_lossy(&stdout.bytes).into_owned(),
            (true, true) => String::from_utf8_lossy(&stderr.bytes).into_owned(),
        };
        result.encoding = encoding;
        result.stdout_truncated = stdout.truncated;
        result.stderr_truncated = stderr.truncated;
        result.stdout = encoded(stdout.bytes, encoding);
        result.stderr = encoded(stderr.bytes, encoding);
    }
}

fn encoded(bytes: Vec<u8>, encoding: Encoding) -> String {
    match encoding {
        Encoding::Utf8 => text(bytes),
        Encoding::Base64 => STANDARD.encode(bytes),
    }
}

/// As text, without a copy where it is text.
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::result;

    fn collect(limit: u64, pieces: &[(bool, &[u8])], encoding: Encoding) -> RunResult {
        let mut collected = Collected::new(limit);
        for (stdout, bytes) in pieces {
            if *stdout { collected.stdout(bytes) } else { collected.stderr(bytes) }
        }
        let mut result = result();
        collected.write(&mut result, encoding);
        result
    }

    #[test]
    fn both_outputs_are_apart_and_together_in_order() {
        let pieces: [(bool, &[u8]); 4] = [(true, b"a"), (false, b"b"), (true, b"c"), (false, b"d")];
        let result = collect(10, &pieces, Encoding::Utf8);
        assert_eq!(
            (result.output.as_str(), result.stdout.as_str(), result.stderr.as_str()),
            ("abcd", "ac", "bd")
        );
        for (stdout, text) in [(true, "out"), (false, "err")] {
            let result = collect(10, &[(stdout, text.as_bytes())], Encoding::Utf8);
            assert_eq!(result.output, text);
        }
        assert_eq!(collect(10, &[], Encoding::Utf8).output, "");
    }

    #[test]
    fn each_output_is_bounded_by_itself() {
        let pieces: [(bool, &[u8]); 3] = [(true, b"abcd"), (false, b"x"), (true, b"e")];
        let result = collect(3, &pieces, Encoding::Utf8);
        assert_eq!(
            (result.stdout.as_str(), result.stderr.as_str(), result.output.as_str()),
            ("abc", "x", "abcx")
        );
        assert_eq!((result.stdout_truncated, result.stderr_truncated), (true, false));
        let nothing = collect(0, &pieces, Encoding::Utf8);
        assert_eq!((nothing.output.as_str(), nothing.stdout_truncated), ("", true));
    }

    #[test]
    fn bytes_that_are_no_text_are_exact_in_base64() {
        let pieces: [(bool, &[u8]); 1] = [(true, b"\xff\x00a")];
        assert_eq!(collect(10, &pieces, Encoding::Utf8).stdout, "\u{fffd}\0a");
        let result = collect(10, &pieces, Encoding::Base64);
        assert_eq!((result.stdout.as_str(), result.output.as_str()), ("/wBh", "\u{fffd}\0a"));
    }
}
