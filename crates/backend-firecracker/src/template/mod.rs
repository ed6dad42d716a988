//! Machines that needn't boot: the first of a kind boots, and is saved when its agent waits to be told what the machine is
//! to be; later ones go on from there, copy-on-write. Nothing of a box is in what is saved: host name, addresses,
//! randomness and clock come with the set-up, and commands after that.
//!
//! A template is a cache: whatever is wrong with one, the machine boots instead.

mod boot;
mod key;
mod making;
mod shelf;

pub(crate) use boot::ready;
pub(crate) use shelf::sweep;
