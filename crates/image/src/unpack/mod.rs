//! From a layer's tar stream to a folder that overlayfs takes as one of its lower folders.
//!
//! Everything is resolved by the kernel below the folder's descriptor (openat2(2)), symbolic links are kept and never
//! followed, and what is there is unlinked and made anew, never written through. Whiteouts take overlayfs's own form:
//! a character device 0:0 for a name that is gone, the attribute `user.overlay.opaque` for a folder that hides all below
//! it (the `user.` form, for mounts with `userxattr`; kernel documentation, filesystems/overlayfs.rst). The digest of the
//! uncompressed stream must be the layer's `diff_id`, or nothing of it is kept.
//!
//! Devices are left out and counted: a box has its own `/dev`, and none of the image's would be safe in it.

mod arguments;
mod attributes;
mod compression;
mod direct;
mod entry_path;
mod error;
mod folder;
mod ground;
mod layer;
mod limits;
mod on_disk;
mod pipeline;
mod stream;
mod unpacker;
mod whiteout;

pub use arguments::unpack_main;
pub use direct::Direct;
pub use error::UnpackError;
pub use layer::{Ownership, unpack_layer};
pub use limits::UnpackLimits;
pub use unpacker::{UnpackReport, UnpackRequest, Unpacker};

pub(crate) use attributes::{Attributes, CAPABILITY_XATTR};
pub(crate) use compression::Decoder;
pub(crate) use direct::remove_folder;
pub(crate) use entry_path::EntryPath;
pub(crate) use folder::refused;
pub(crate) use ground::{FileEntry, Ground, Made, Present};
pub(crate) use layer::lay_out;
pub(crate) use stream::each_entry;
