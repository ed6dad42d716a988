//! An image as one read-only EROFS file, for machines that take a block device instead of folders.
//!
//! The format is the kernel's (Documentation/filesystems/erofs.rst, fs/erofs/erofs_fs.h); of it we write the plainest
//! part, which every kernel since 5.4 reads: 4 KiB blocks, nothing compressed, so that the host's page cache is what all
//! machines of an image share; extended inodes; attributes beside their inode; tails of files, folders and links beside
//! theirs where they fit. No well-kept library serves: `composefs` writes trees whose contents lie elsewhere and brings
//! openssl, `erofs-rs` reads only, `backhand` writes squashfs and loses attributes.
//!
//! ```text
//! block 0     superblock at 1024, then inodes; the root is the first
//! blocks      inodes with attributes and tails, each within one block where it fits into one
//! blocks      folders and links that are larger than their tail
//! blocks      contents of files, in the order in which the layers' streams have them
//! ```
//!
//! **Two passes.** The first reads the layers, lowest first, and keeps what each entry is but no content: by the very
//! rules that unpack a layer on disk, then merged as overlayfs merges. Now all places are known. The second reads those
//! layers again that something is left of, and writes contents to their places. So nothing that a later layer
//! replaced takes room, memory doesn't depend on sizes, and both passes are held against the layer's digest.
//!
//! **The same image gives the same bytes**: names are sorted, no clock and no randomness goes in.

mod contents;
mod directory;
mod format;
mod layout;
mod merge;
mod metadata;
mod plan;
mod tree;
mod xattr;

pub use plan::{BlockPlan, LayerStream};
