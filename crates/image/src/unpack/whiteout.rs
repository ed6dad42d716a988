//! Names that take something away (OCI image-spec, `layer.md`, "Whiteouts").

use super::UnpackError;
use super::entry_path::EntryPath;
use crate::tar::shortened;

const PREFIX: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// What aufs kept for itself; Docker leaves it out as well.
const AUFS_PREFIX: &[u8] = b".wh..wh.";

/// What a name means in a layer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Something that is there.
    Entry,
    /// What lower layers have under this path is gone.
    Gone(EntryPath),
    /// What lower layers have in this folder is gone.
    Opaque(EntryPath),
    /// Nothing.
    Nothing,
}

impl Meaning {
    pub(crate) fn of(path: &EntryPath) -> Result<Self, UnpackError> {
        let Some((parent, name)) = path.split() else { return Ok(Self::Entry) };
        let refuse = |why| Err(UnpackError::Path { path: shortened(path.as_bytes()), why });
        if parent.split(|byte| *byte == b'/').any(|part| part.starts_with(PREFIX)) {
            return refuse("it lies below a name that takes something away");
        }
        if name == OPAQUE {
            return Ok(Self::Opaque(path.parent()));
        }
        if name.starts_with(AUFS_PREFIX) {
            return Ok(Self::Nothing);
        }
        match name.strip_prefix(PREFIX) {
            None => Ok(Self::Entry),
            Some(b"" | b"." | b"..") => refuse("it takes away what can't have a name"),
            Some(gone) => Ok(Self::Gone(path.with_name(gone))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> EntryPath {
        EntryPath::parse(text.as_bytes(), 512).unwrap()
    }

    #[test]
    fn names_mean_what_the_specification_says() {
        for (text, expected) in [
            ("a/b", Meaning::Entry),
            ("./", Meaning::Entry),
            ("a/.why", Meaning::Entry),
            ("a/.wh.b", Meaning::Gone(path("a/b"))),
            (".wh.b", Meaning::Gone(path("b"))),
            ("a/.wh..b", Meaning::Gone(path("a/.b"))),
            ("a/.wh..wh..opq", Meaning::Opaque(path("a"))),
            (".wh..wh..opq", Meaning::Opaque(path("./"))),
            ("a/.wh..wh.plnk", Meaning::Nothing),
        ] {
            assert_eq!(Meaning::of(&path(text)).unwrap(), expected, "{text}");
        }
        for bad in ["a/.wh.", ".wh..", "a/.wh...", ".wh.x/y", "a/.wh..wh.plnk/b"] {
            assert!(Meaning::of(&path(bad)).is_err(), "{bad}");
        }
    }
}
