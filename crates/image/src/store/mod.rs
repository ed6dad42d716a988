//! Images that are here, for any number of processes at once.
//!
//! ```text
//! <state>/images/records/<hex>.json    one image: its configuration, layers and sizes; written once, never changed;
//!                                      flock(2) shared while somebody uses the image; its time is that of the last use
//!               /names/<name>          a symbolic link to a record; `/` in the name is written `+`
//!               /layers/<kind>/<hex>   an unpacked layer by its diff_id: whole, synced, never changed
//!               /layers/<kind>/.ready-<hex>   whole, not synced yet
//!               /layers/<kind>/.new-*  being unpacked
//!               /layers/<kind>/.trash-*       being removed
//!               /layers/<kind>/.report-<hex>  what unpacking a layer came to
//!               /layers/<kind>/.lock-<xx>     flock(2) while a layer whose diff_id begins so is unpacked
//!               /block/<hex>.erofs     an image as a block device, by its id: whole, synced, never changed
//!               /block/.new-*          being written
//!               /block/.lock-<xx>      flock(2) while the file of an image whose id begins so is made
//!               /blobs, /partial       see `blobs`
//!               /**/.write-*          a record, report or name being written
//!               /lock                  flock(2): shared while something is added, exclusive while orphans are removed
//! ```
//!
//! **Nothing half-made is ever seen.** A layer appears by rename(2), an image by the rename of its record after all its
//! layers are synced (one syncfs(2) an image), a name after its image. `kill -9` at any moment leaves dotted folders,
//! blobs and partials that no record names: adding sweeps the folders and block images, [`ImageStore::prune`] all.
//!
//! **Nothing in use goes.** A record that somebody holds a [`Lease`] of is not removed, and a layer that a record names
//! isn't either, nor is its block image. Orphans are removed only while nobody adds: who can't have that lock leaves them for the next time.
//!
//! **Blobs are kept** beside what was unpacked of them: `export` gives exactly what came, another kind of ownership can be
//! unpacked without a network, and an interrupted pull goes on. They count as used space; where there is a quota, blobs
//! of unpacked layers go before any image does.
//!
//! The whole tree is its owner's alone (mode 0700): layers hold set-user-id programs of strangers.

mod adding;
mod block_image;
mod files;
mod image_store;
mod layers;
mod lease;
mod listing;
mod lock;
mod names;
mod place;
mod prepare;
mod prune;
mod quota;
mod record;
mod remove;
mod settings;
mod sweep;
mod usage;

pub use block_image::BlockImage;
pub use image_store::ImageStore;
pub use lease::{Lease, Rootfs};
pub use listing::{ImageDetails, ImageSummary};
pub(crate) use prepare::blocking;
pub use prune::{PruneRequest, Pruned};
pub use record::{StoredImage, StoredLayer};
pub use remove::Removed;
pub use settings::{InUse, StoreSettings};
pub use usage::Usage;

pub(crate) use adding::{Adding, LayerSource, NewImage};
