//! What handlers take out of a request. Whatever is wrong is refused in the envelope.

mod accept;
mod body;
mod path;
mod query;

pub(crate) use accept::Accepts;
pub(crate) use body::{Json, OptionalJson, is_type, refused_body, wrong_type};
pub(crate) use path::{FileInside, Named, NamedMember, NamedPort, NamedSnapshot};
pub(crate) use query::Parameters;
