//! Reading tar streams that a hostile box has sent, and writing what they hold below one folder of the host.
//!
//! [`Archive`] turns bytes into checked entries and nothing else; [`Naming`] holds their names to what was asked for;
//! a [`Sink`] receives them: [`Folder`] writes to disk, the packer's writer makes a clean stream for another box.
//! Regular files, folders, symbolic links (kept as text, never followed) and hard links to files of the same stream come
//! through; set-user-id, set-group-id and sticky bits, owners and extended attributes don't.

mod archive;
mod entry;
mod error;
mod folder;
mod header;
mod limits;
mod naming;
mod pax;
mod unpack;

pub use archive::Archive;
pub use entry::{Entry, EntryKind, EntryPath};
pub use error::{ArchiveError, ExtractError};
pub use folder::Folder;
pub use limits::Limits;
pub use naming::Naming;
pub use unpack::{Counts, Sink, extract};

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tar_maker;
