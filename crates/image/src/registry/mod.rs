//! Speaking to registries (OCI distribution-spec; Docker Registry HTTP API V2): who is asked, with whose credentials, how
//! often, and how much of an answer is read. What an answer means for an image is decided in `fetch`.

mod answer;
mod authorization;
mod backoff;
mod challenge;
mod client;
mod credential;
mod credential_file;
mod credential_helper;
mod dns;
mod download;
mod endpoint;
mod engine_login;
mod failure;
mod redirect;
mod source;
mod tls;
mod token;

pub(crate) use answer::{read_bounded, said};
pub(crate) use backoff::Backoff;
pub(crate) use client::client;
pub(crate) use download::{Wanted, continues};
pub(crate) use endpoint::Endpoint;
pub use engine_login::{EngineLogin, engine_login};
pub(crate) use failure::{Failure, of_transport};
pub(crate) use redirect::get as follow;
pub(crate) use source::{FoundManifest, Source};
