//! OCI images without an engine: resolve, pull, verify, store, unpack, import, export, prune. Everything that comes from a
//! registry or an archive is hostile: bounded, verified by digest, and unpacked below a descriptor.

mod archive;
mod blobs;
pub mod block;
mod config_document;
mod digest;
mod engine_config;
mod error;
mod fetch;
mod images;
mod manifest;
mod media_type;
mod mirror;
mod platform;
mod reference;
mod registry;
mod settings;
mod store;
pub mod tar;
pub mod unpack;

pub use archive::{Exported, ImportRequest, ImportSource, Imported};
pub use blobs::{Begun, Blobs, PartialBlob, PrunedPartials};
pub use digest::{Digest, Hasher, HashingReader};
pub use engine_config::engine_config;
pub use error::ImageError;
pub use fetch::{FetchedImage, Pull, fetch, resolve};
pub use images::StoreImages;
pub use manifest::{CONFIG_BYTES_MAX, LAYERS_MAX, Layer, MANIFEST_BYTES_MAX};
pub use media_type::Compression;
pub use mirror::{Mirror, MirrorError};
pub use platform::Platform;
pub use reference::{DOCKER_HUB, Reference};
pub use registry::{EngineLogin, engine_login};
pub use settings::{Limits, Patience, Proxies, RegistrySettings};
pub use store::{
    BlockImage, ImageDetails, ImageStore, ImageSummary, InUse, Lease, PruneRequest, Pruned, Removed, Rootfs,
    StoreSettings, StoredImage, StoredLayer, Usage,
};
pub use unpack::{Direct, UnpackReport, UnpackRequest, Unpacker, unpack_main};
