//! The program of a box's first process between clone and exec, as data. The parent prepares everything; the child walks
//! through it with raw system calls only: it allocates nothing and takes no lock, since it may be the copy of one thread
//! of many.

mod maker;
mod perform;
mod program;
mod step;

pub use program::{Failure, Program, Trace, decode_trace};
pub use step::{Descriptor, Origin, SLOTS, Step};
