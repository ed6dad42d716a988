//! What hostile code tries from inside a machine: each try shows the denial from inside and the host unharmed from
//! outside. Machines of QEMU, with the same kernel, agent and filters as Firecracker's; what a VMM itself holds back
//! (its system calls, its jail) is its own tests' matter.
//!
//! This one program is both sides: outside it makes machines and copies itself into them, inside it is told which
//! attempts to make. An attempt says what held it back, or how it got through.

#[path = "../bed/mod.rs"]
mod bed;
mod inside;
mod outside;
mod stage;

fn main() -> std::process::ExitCode {
    if let Some(code) = inside::main() {
        return code;
    }
    let arguments = libtest_mimic::Arguments::from_args();
    libtest_mimic::run(&arguments, outside::trials()).exit_code()
}
