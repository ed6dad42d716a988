//! Images as block devices: what is in the file, as a reader of our own, erofs-utils and the kernel see it, and how the
//! store keeps it.

#![cfg(test)]

use agentkernel_image::block::{BlockPlan, LayerStream};
use agentkernel_image::unpack::UnpackLimits;
use agentkernel_image::{Digest, ImageError};

#[expect(dead_code, reason = "of the crafted streams only some are needed here")]
#[path = "../crafted/streams.rs"]
mod crafted;
#[path = "../crafted/erofs.rs"]
mod erofs;
mod kept;
mod real;
#[expect(dead_code, reason = "of what a scene can do only some is needed here")]
#[path = "../store/scene.rs"]
mod scene;
mod seen;
mod sizes;
mod trees;

/// The image of these layers, lowest first.
pub(crate) fn image(layers: &[Vec<u8>]) -> Result<Vec<u8>, ImageError> {
    let streams = layers.iter().map(|layer| LayerStream {
        blob: std::io::Cursor::new(layer),
        blob_bytes: layer.len() as u64,
        diff_id: Digest::of(layer),
    });
    let mut plan = BlockPlan::of(streams.collect(), UnpackLimits::default())?;
    let file = tempfile::NamedTempFile::new().unwrap();
    plan.write(file.as_file(), file.path(), [7; 16])?;
    let bytes = std::fs::read(file.path()).unwrap();
    assert_eq!(bytes.len() as u64, plan.bytes(), "as large as was said before");
    Ok(bytes)
}
