//! The house style that rustfmt and clippy don't know. Each rule is in ARCHITECTURE.md, "House style".

mod check;
mod rules;
mod source;
mod specification;

pub(crate) use check::run;
