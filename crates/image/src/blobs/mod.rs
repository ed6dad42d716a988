//! Content by its digest, shared by all images and by any number of processes.
//!
//! ```text
//! <images>/blobs/sha256/<hex>   whole, verified, synced, never changed
//!         /partial/<hex>        being written; flock(2) while somebody writes; goes on where it stopped
//!         /partial/.new-*       being written, of a digest that isn't known yet; of no use once unlocked
//! ```
//!
//! A blob appears by rename(2) and only after its digest was verified. `kill -9` at any moment leaves a partial at most,
//! which the next writer continues and [`Blobs::prune_partials`] removes. All calls block. What an image needs and what
//! may be removed is not known here.

mod arriving;
mod partial;
mod place;
#[cfg(test)]
mod tests;

pub use partial::{Begun, PartialBlob};
pub use place::{Blobs, PrunedPartials};
