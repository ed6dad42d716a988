//! What machine the numbers are from.

use std::path::Path;
use std::process::Command;

use super::result::Machine;
use crate::command;

/// What decides which features backends have here, in one line.
pub(crate) fn of_tests() -> String {
    let machine = describe(Path::new("/bin/false"));
    // The kernel's version without what its builder calls it.
    let kernel: Vec<&str> = machine.kernel.split(['-', ' ']).take(2).collect();
    format!("{}, {}, cgroups {}", machine.system, kernel.join(" "), machine.cgroups)
}

/// Describes this machine and the contenders' programs.
pub(crate) fn describe(agentkernel: &Path) -> Machine {
    let field = |file: &str, name: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
        line.trim_start_matches(name).trim_matches(['\t', ' ', ':', '=', '"']).to_owned()
    };
    let memory_kib: u64 = field("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0);
    let has_v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let virtualised = command::output(Command::new("systemd-detect-virt").arg("--vm"));
    Machine {
        processor: field("/proc/cpuinfo", "model name"),
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        memory_mib: memory_kib / 1024,
        kernel: first_line(Command::new("uname").arg("-srm")),
        system: field("/etc/os-release", "PRETTY_NAME"),
        virtualised: virtualised.map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned()),
        cgroups: if has_v2 { "v2".to_owned() } else { "v1".to_owned() },
        load: std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned(),
        programs: [
            first_line(Command::new(agentkernel).arg("--version")),
            first_line(Command::new("bwrap").arg("--version")),
            first_line(Command::new("dockerd").arg("--version")),
            first_line(Command::new("runc").arg("--version")),
        ]
        .into_iter()
        .filter(|line| !line.is_empty())
        .collect(),
    }
}

/// The commit that is measured.
pub(crate) fn commit(root: &Path) -> String {
    first_line(Command::new("git").current_dir(root).args(["describe", "--always", "--dirty", "--exclude=*"]))
}

/// Now, UTC, RFC 3339.
pub(crate) fn now() -> String {
    first_line(Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"]))
}

fn first_line(command: &mut Command) -> String {
    let output = command::output(command).unwrap_or_default();
    output.lines().next().unwrap_or_default().to_owned()
}
