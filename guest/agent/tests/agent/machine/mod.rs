//! The agent as the first process of a machine: in namespaces of this machine, with everything but a kernel of its own and
//! vsock, and in a real virtual machine where there is what that takes.

mod bed;
mod cases;
mod image;
mod namespaces;
mod virtual_machine;

use bed::{Bed, Machine, beds};
