//! The image store from outside: what merging layers gives, what archives it takes and gives, and how images live in it.

#![cfg(test)]

mod archives;
#[expect(dead_code, reason = "of the crafted streams only some are needed here")]
#[path = "../crafted/streams.rs"]
mod crafted;
#[path = "../crafted/erofs.rs"]
mod erofs;
mod life;
mod merge;
mod scene;
