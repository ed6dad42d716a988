//! Images as files: what `docker save` writes (old and new), OCI image layouts as folder or tar, and tars of a root
//! folder. All of it is hostile: documents are bounded, digests verified, and names in an archive are looked up in an
//! index, never on disk.

mod docker_save;
mod export;
mod import;
mod manifest_document;
mod members;
mod oci_layout;
mod rootfs;

pub use export::Exported;
pub use import::{ImportRequest, ImportSource, Imported};
