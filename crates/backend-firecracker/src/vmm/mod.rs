//! Virtual machine monitors: one seam, two implementations. A machine is a process (or two) in a folder of its own, which
//! it works in; everything it is given lies there under a short name, everything it makes is made there, and nothing else
//! of it is left when the folder is gone.

mod appearance;
mod confinement;
mod console;
mod error;
mod firecracker;
mod jail;
mod launch;
mod machine;
mod machine_spec;
mod note;
mod process;
mod qemu;
mod qemu_arguments;
mod room;
mod seam;
mod snapshots;

pub use confinement::Confinement;
pub use console::CONSOLE_BYTES;
pub use error::VmmError;
pub use firecracker::Firecracker;
pub use machine::Machine;
pub use machine_spec::{Drive, Interface, Life, MachineSpec, Owner, RestoreSpec, Site, SnapshotFiles};
pub use note::{MachineNote, ProcessNote};
pub(crate) use process::Process;
pub use qemu::{Acceleration, Qemu};
pub use seam::{Noted, Snapshots, Started, Vmm};
