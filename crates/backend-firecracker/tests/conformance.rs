//! Machines keep the promises of every backend: with our kernel, our agent as init and an image as EROFS.

mod bed;

use std::path::Path;
use std::time::Duration;

use agentkernel_testkit::conformance::{Skipped, Subject};

async fn subject() -> Result<Subject, Skipped> {
    let (state, settings) = bed::prepare().await.map_err(Skipped)?;
    if bed::has_real_firecracker() {
        share_templates(state.path()).map_err(|error| Skipped(format!("share templates: {error}")))?;
    }
    let backend = bed::open(state.path(), &settings);
    let (again, left) = (state.path().to_owned(), state.path().join("firecracker"));
    let used = left.clone();
    Ok(Subject {
        backend,
        again: Box::new(move || bed::open(&again, &settings)),
        image: bed::image(),
        cannot_express: &[],
        processor_time: Some(Box::new(move || processor_time(&used.join("leases")))),
        leftovers: Box::new(move || {
            let _keep = &state;
            ["leases", "boxes"].into_iter().flat_map(|folder| entries(&left.join(folder))).collect()
        }),
    })
}

/// One user's machines of all states start from the same templates, on a disk that can be mapped; the bed's may not be one.
fn share_templates(state_dir: &Path) -> std::io::Result<()> {
    let name = format!("agentkernel-machine-templates-{}", rustix::process::geteuid().as_raw());
    let (shared, own) = (std::env::temp_dir().join(name), state_dir.join("firecracker"));
    for folder in [&shared, &own] {
        bed::private(folder)?;
    }
    std::os::unix::fs::symlink(shared, own.join("templates"))
}

/// Of the VMMs of all one-shot boxes: without KVM a guest doesn't know when it is kept from the processor. In a VMM's
/// time as the host counts it, guest time is (proc_pid_stat(5)).
fn processor_time(leases: &Path) -> Duration {
    let processes = entries(leases).into_iter().filter_map(|lease| {
        let note: serde_json::Value = serde_json::from_slice(&std::fs::read(lease).ok()?).ok()?;
        note["process"]["pid"].as_u64()
    });
    let ticks: u64 = processes.map(|pid| ticks(pid).unwrap_or_default()).sum();
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// User and system time of a process.
fn ticks(pid: u64) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, numbers) = stat.rsplit_once(") ")?;
    let mut numbers = numbers.split(' ').skip(11).map_while(|number| number.parse::<u64>().ok());
    Some(numbers.next()? + numbers.next()?)
}

fn entries(folder: &Path) -> Vec<String> {
    let found = std::fs::read_dir(folder).into_iter().flatten().flatten();
    found.map(|entry| entry.path().display().to_string()).collect()
}

/// On QEMU's machine: what it is recorded under.
mod qemu {
    use super::subject;

    agentkernel_testkit::conformance_suite!(subject);
}
