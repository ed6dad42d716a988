//! The hidden command that unpacks as somebody else: a small process in a user namespace runs it, and does what
//! [`Direct`] does.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::{Direct, UnpackLimits, UnpackReport, UnpackRequest, Unpacker};
use crate::ImageError;

const UNPACK: &str = "layer";
const REMOVE: &str = "remove";

impl UnpackRequest {
    /// What [`unpack_main`] takes for this request.
    pub fn to_arguments(&self) -> Vec<OsString> {
        let Self { blob, media_type, diff_id, target, limits } = self;
        let UnpackLimits { stream_bytes, ratio, free_bytes, headers, depth, remembered_bytes } = limits;
        let limits = format!("{stream_bytes},{ratio},{free_bytes},{headers},{depth},{remembered_bytes}");
        vec![
            UNPACK.into(),
            blob.into(),
            media_type.into(),
            diff_id.to_string().into(),
            target.into(),
            limits.into(),
        ]
    }

    /// What [`unpack_main`] takes to remove `folder`.
    pub fn removal_arguments(folder: &std::path::Path) -> Vec<OsString> {
        vec![REMOVE.into(), folder.into()]
    }

    fn parse(arguments: &[OsString]) -> Option<Self> {
        let [blob, media_type, diff_id, target, limits] = arguments else { return None };
        let mut limits = limits.to_str()?.split(',').map(|number| number.parse::<u64>().ok());
        let mut limit = || limits.next().flatten();
        Some(Self {
            blob: blob.into(),
            media_type: media_type.to_str()?.to_owned(),
            diff_id: diff_id.to_str()?.parse().ok()?,
            target: target.into(),
            limits: UnpackLimits {
                stream_bytes: limit()?,
                ratio: limit()?,
                free_bytes: limit()?,
                headers: limit()?,
                depth: usize::try_from(limit()?).ok()?,
                remembered_bytes: limit()?,
            },
        })
    }
}

/// Does what the arguments of [`UnpackRequest::to_arguments`] or [`UnpackRequest::removal_arguments`] say; the caller
/// prints the report as JSON. Nothing of the environment is read.
///
/// # Errors
/// As [`Unpacker::unpack`]; arguments that nobody gives are [`ImageError::Setting`].
pub fn unpack_main(arguments: &[OsString]) -> Result<UnpackReport, ImageError> {
    let unknown = || ImageError::Setting {
        setting: "internal-unpack",
        value: format!("{arguments:?}"),
        why: "these arguments are only given by agentkernel itself".to_owned(),
    };
    let (verb, rest) = arguments.split_first().ok_or_else(unknown)?;
    match (verb.as_os_str(), rest) {
        (verb, rest) if verb == OsStr::new(UNPACK) => {
            Direct::new().unpack(&UnpackRequest::parse(rest).ok_or_else(unknown)?)
        }
        (verb, [folder]) if verb == OsStr::new(REMOVE) => {
            Direct::new().remove(&PathBuf::from(folder)).map(|()| UnpackReport::default())
        }
        _ => Err(unknown()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;

    #[test]
    fn requests_survive_being_arguments() {
        let request = UnpackRequest {
            blob: "/a b/blob".into(),
            media_type: "application/x".into(),
            diff_id: Digest::of(b"x"),
            target: "/t".into(),
            limits: UnpackLimits { depth: 7, ..UnpackLimits::default() },
        };
        assert_eq!(UnpackRequest::parse(&request.to_arguments()[1..]), Some(request));
        for bad in [&[][..], &["layer".into()], &["remove".into()], &["format".into(), "/".into()]] {
            assert!(unpack_main(bad).is_err(), "{bad:?}");
        }
    }
}
