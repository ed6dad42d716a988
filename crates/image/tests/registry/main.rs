//! Pulling: from a registry that misbehaves in every way we could think of, and from a real one.

#![cfg(test)]

mod access;
mod fake;
mod limits;
mod mirror;
mod misbehaviour;
mod processes;
mod pulls;
mod real;
mod scene;
