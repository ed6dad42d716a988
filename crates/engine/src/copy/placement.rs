//! Where a copy lands: the table of `docker cp`, and nothing else.

use super::{CopyError, PathEnding};

/// What is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SourceKind {
    /// A file, or a link copied as a link.
    Single,
    /// A folder.
    Folder,
}

/// What is at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destination {
    /// Nothing.
    Missing,
    /// A folder.
    Folder,
    /// Anything else.
    File,
}

/// Where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placement {
    /// Into the destination folder, under its own name.
    Into,
    /// To the destination's own name in its parent folder, which must exist.
    As,
    /// What is in the source folder goes into the destination folder.
    Contents,
}

/// The table. `from` and `to` are the ends as written, for messages.
pub(crate) fn place(
    source: (SourceKind, PathEnding, &str),
    destination: (Destination, PathEnding, &str),
) -> Result<Placement, CopyError> {
    let (kind, source_ending, from) = source;
    let (found, ending, to) = destination;
    let must_be_folder = ending != PathEnding::Plain;
    match (kind, found) {
        (SourceKind::Single, _) if source_ending != PathEnding::Plain => {
            Err(CopyError::SourceNotFolder { path: from.to_owned() })
        }
        (SourceKind::Single, Destination::Missing) if must_be_folder => {
            Err(CopyError::DestinationMissing { path: to.to_owned() })
        }
        (SourceKind::Single, Destination::File) if must_be_folder => {
            Err(CopyError::DestinationNotFolder { path: to.to_owned() })
        }
        (SourceKind::Single, Destination::Missing | Destination::File) => Ok(Placement::As),
        (SourceKind::Folder, Destination::Missing) => Ok(Placement::As),
        (SourceKind::Folder, Destination::File) => {
            Err(CopyError::DestinationNotFolder { path: to.to_owned() })
        }
        (SourceKind::Folder, Destination::Folder) if source_ending == PathEnding::Contents => {
            Ok(Placement::Contents)
        }
        (_, Destination::Folder) => Ok(Placement::Into),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_that_of_docker_cp() {
        use Destination::{File, Folder as Dir, Missing};
        use PathEnding::{Contents, Plain, Slash};
        use SourceKind::{Folder, Single};
        let table = [
            (Single, Plain, Missing, Plain, Some(Placement::As)),
            (Single, Plain, Missing, Slash, None),
            (Single, Plain, Missing, Contents, None),
            (Single, Plain, File, Plain, Some(Placement::As)),
            (Single, Plain, File, Slash, None),
            (Single, Plain, Dir, Plain, Some(Placement::Into)),
            (Single, Plain, Dir, Slash, Some(Placement::Into)),
            (Single, Slash, Dir, Plain, None),
            (Single, Contents, Missing, Plain, None),
            (Folder, Plain, Missing, Plain, Some(Placement::As)),
            (Folder, Contents, Missing, Plain, Some(Placement::As)),
            (Folder, Plain, Missing, Slash, Some(Placement::As)),
            (Folder, Plain, File, Plain, None),
            (Folder, Contents, File, Slash, None),
            (Folder, Plain, Dir, Plain, Some(Placement::Into)),
            (Folder, Slash, Dir, Plain, Some(Placement::Into)),
            (Folder, Contents, Dir, Plain, Some(Placement::Contents)),
            (Folder, Contents, Dir, Slash, Some(Placement::Contents)),
        ];
        for (kind, source_ending, found, ending, want) in table {
            let got = place((kind, source_ending, "from"), (found, ending, "to"));
            assert_eq!(
                got.as_ref().ok(),
                want.as_ref(),
                "{kind:?} {source_ending:?} {found:?} {ending:?}: {got:?}"
            );
        }
    }
}
