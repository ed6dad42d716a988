//! Machines against programs that are not real: a Firecracker that holds every request against the rules of the published
//! API and goes wrong on demand, its jailer, a QEMU and its vsock's process. This one program is all of them, and the
//! tests: what it is, it knows by the name that it was started under. What goes wrong stands in the "kernel".
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::exit,
    reason = "a test fails by panicking, and the programs that it starts speak and end like programs"
)]

#[expect(dead_code, reason = "the bed's images are for machines that are real")]
#[path = "../bed/mod.rs"]
mod bed;
mod copies;
mod devices;
mod fake;
mod faults;
mod full_disk;
mod hostile;
mod identity;
mod kills;
mod life;
mod machines;
mod real;
mod small_disk;
mod snapshots;
mod stage;
mod strict;
mod templates;
#[path = "../world/mod.rs"]
mod world;

fn main() -> std::process::ExitCode {
    if let Some(code) = fake::main().or_else(life::owner_main).or_else(kills::owner_main) {
        return code;
    }
    let arguments = libtest_mimic::Arguments::from_args();
    let trials =
        [machines::trials(), faults::trials(), snapshots::trials(), strict::trials(), life::trials()];
    let of_backend = [
        hostile::trials(),
        kills::trials(),
        templates::trials(),
        copies::trials(),
        identity::trials(),
        full_disk::trials(),
        devices::trials(),
    ];
    let trials = trials.into_iter().chain(of_backend).flatten().chain(real::trials()).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
