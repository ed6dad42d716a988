//! The bytes behind the strings of the contract.

use agentkernel_api::Encoding;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::Error;

/// The bytes that `text` stands for in this encoding: of [`crate::RunResult::stdout`] and its like.
///
/// # Errors
/// [`Error::Request`] where it says base64 and isn't.
pub fn bytes_of(text: &str, encoding: Encoding) -> Result<Vec<u8>, Error> {
    match encoding {
        Encoding::Utf8 => Ok(text.as_bytes().to_vec()),
        Encoding::Base64 => STANDARD.decode(text).map_err(|error| Error::Request {
            what: "a text that says it is base64",
            problem: error.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_encodings_are_read() {
        assert_eq!(bytes_of("ä", Encoding::Utf8).unwrap(), "ä".as_bytes());
        assert_eq!(bytes_of("/wA=", Encoding::Base64).unwrap(), [0xff, 0]);
        assert!(bytes_of("/w", Encoding::Base64).is_err());
    }
}
