//! Contents of files and of standard input.

use agentkernel_api::{Encoding, InitialFile};
use agentkernel_engine::FileBytes;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::box_path;
use crate::ServiceError;

/// Permissions of a file for which none are named.
const FILE_MODE: u32 = 0o644;

/// The bytes of `text`.
pub(crate) fn decode(field: &str, text: String, encoding: Encoding) -> Result<Bytes, ServiceError> {
    match encoding {
        Encoding::Utf8 => Ok(text.into_bytes().into()),
        Encoding::Base64 => {
            let decoded = STANDARD.decode(text.as_bytes());
            decoded.map(Bytes::from).map_err(|error| {
                ServiceError::invalid(field, format_args!("not base64 (RFC 4648, padded): {error}"))
            })
        }
    }
}

/// Permissions in octal.
pub(crate) fn mode(field: &str, text: &str) -> Result<u32, ServiceError> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let is_octal =
        !digits.is_empty() && digits.len() <= 5 && digits.bytes().all(|digit| digit.is_ascii_digit());
    let number = is_octal.then(|| u32::from_str_radix(digits, 8).ok()).flatten();
    number.filter(|mode| *mode <= 0o7777).ok_or_else(|| {
        let why = format!("{text:?} are no permissions: give an octal number such as 0644, at most 7777");
        ServiceError::invalid(field, why)
    })
}

/// The files that a sandbox starts with.
pub(crate) fn initial_files(files: Vec<InitialFile>, max_bytes: u64) -> Result<Vec<FileBytes>, ServiceError> {
    files
        .into_iter()
        .enumerate()
        .map(|(n, file)| {
            let content = decode(&format!("files[{n}].content"), file.content, file.encoding)?;
            if content.len() as u64 > max_bytes {
                let message =
                    format!("files[{n}].content: {} bytes are more than {max_bytes}", content.len());
                return Err(ServiceError::new(agentkernel_api::ErrorCode::TooLarge, message));
            }
            let named =
                file.mode.as_deref().map(|text| mode(&format!("files[{n}].mode"), text)).transpose()?;
            let dest = box_path(&format!("files[{n}].path"), &file.path)?;
            Ok(FileBytes { dest, mode: named.unwrap_or(FILE_MODE), content })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use agentkernel_api::ErrorCode;

    use super::*;

    #[test]
    fn permissions_are_octal_and_nothing_else() {
        for (text, expected) in
            [("0644", 0o644), ("755", 0o755), ("0o600", 0o600), ("07777", 0o7777), ("0", 0)]
        {
            assert_eq!(mode("mode", text).unwrap(), expected, "{text}");
        }
        for text in ["", "8", "0o", "10000", "-1", "+644", "rw", " 644", "0000000644", "٦٤٤"] {
            assert_eq!(mode("mode", text).unwrap_err().code, ErrorCode::Invalid, "{text}");
        }
    }

    #[test]
    fn base64_is_exact_or_refused() {
        let decoded = decode("stdin", "AAH/".to_owned(), Encoding::Base64).unwrap();
        assert_eq!(decoded.as_ref(), [0, 1, 255]);
        for bad in ["AAH", "A A=", "-_8="] {
            let error = decode("stdin", bad.to_owned(), Encoding::Base64).unwrap_err();
            assert!(error.message.starts_with("stdin: "), "{error}");
        }
    }
}
