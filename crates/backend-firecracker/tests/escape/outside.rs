//! The trials: a machine, the attempts in it, and a look at the host.

use std::collections::HashSet;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::Arc;

use agentkernel_model::Mib;
use agentkernel_testkit::conformance::{eventually, within};
use libtest_mimic::Trial;

use crate::bed;
use crate::stage::{Live, Stage, Verdict, file, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("vsock_leads_nowhere", vsock_leads_nowhere),
        trial("host_is_out_of_sight", host_is_out_of_sight),
        trial("devices_are_out_of_reach", devices_are_out_of_reach),
        trial("agent_cannot_be_replaced", agent_cannot_be_replaced),
        trial("kernel_cannot_be_replaced_or_ended", kernel_cannot_be_replaced_or_ended),
        trial("console_flood_fills_nothing", console_flood_fills_nothing),
        trial("bomb_memory", bomb_memory),
        trial("bomb_processes", bomb_processes),
        trial("vmm_has_next_to_nothing", vmm_has_next_to_nothing),
    ]
}

/// Attempts that must be held back in a box that goes on.
async fn held(live: &Live, names: &[&str]) -> Verdict {
    let mut held = Vec::new();
    for name in names {
        held.push(live.attempt(name).await?);
        held.push(live.is_alive().await?);
    }
    Ok(held.join("; "))
}

/// The sockets of a machine on the host: its own door, and none that its inside could dial.
async fn vsock_leads_nowhere(stage: Arc<Stage>) -> Verdict {
    let live = stage.launch(|_| {}).await?;
    let said = held(&live, &["vsock"]).await?;
    let is_dialled = |path: &&std::path::PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("v.sock_"))
    };
    let files = stage.files_of_machines();
    let open: Vec<_> = files.iter().filter(is_dialled).collect();
    if files.is_empty() || !open.is_empty() {
        return Err(format!("sockets of the host that a machine could dial: {open:?} of {files:?}"));
    }
    live.end().await?;
    Ok(said)
}

async fn host_is_out_of_sight(stage: Arc<Stage>) -> Verdict {
    let live = stage.launch(|_| {}).await?;
    let said = live.attempt("host").await?;
    let own =
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(|error| error.to_string())?;
    if said.contains(own.trim()) {
        return Err("it runs on the host's kernel".to_owned());
    }
    live.end().await?;
    Ok(said)
}

/// Nor does what a box writes to its own files reach the image that all boxes share.
async fn devices_are_out_of_reach(stage: Arc<Stage>) -> Verdict {
    let live = stage.launch(|_| {}).await?;
    let before = stage.images();
    let said = held(&live, &["devices"]).await?;
    let script = "for f in /bin/*; do echo hostile > \"$f\"; done 2>/dev/null; rm -rf /etc /usr; sync; true";
    live.run(&["sh", "-c", script]).await?;
    live.end().await?;
    if before.is_empty() || stage.images() != before {
        return Err("the image that all boxes share was changed".to_owned());
    }
    let next = stage.launch(|_| {}).await?;
    let done = next.run(&["ls", "/etc/passwd"]).await?;
    next.end().await?;
    if done.stdout != b"/etc/passwd\n" {
        return Err(format!("the next box is not fresh: {done:?}"));
    }
    Ok(said)
}

async fn agent_cannot_be_replaced(stage: Arc<Stage>) -> Verdict {
    let live = stage.launch(|_| {}).await?;
    let said = held(&live, &["agent"]).await?;
    live.end().await?;
    Ok(said)
}

async fn kernel_cannot_be_replaced_or_ended(stage: Arc<Stage>) -> Verdict {
    let live = stage.launch(|_| {}).await?;
    let said = held(&live, &["kernel", "settings"]).await?;
    live.end().await?;
    Ok(said)
}

/// What a machine says is kept in memory of a fixed size and in no file.
async fn console_flood_fills_nothing(stage: Arc<Stage>) -> Verdict {
    let live = stage.launch(|_| {}).await?;
    let said = held(&live, &["console"]).await?;
    let files = stage.files_of_machines();
    let size = |path: &std::path::PathBuf| path.symlink_metadata().map_or(0, |metadata| metadata.len());
    // Names of a room are the parts of the machine; those have the host's size for them.
    let kernel_and_agent = 64 << 20;
    let large: Vec<_> = files.iter().filter(|path| size(path) > kernel_and_agent).collect();
    if !large.is_empty() {
        return Err(format!("a flood made files grow: {large:?}"));
    }
    live.end().await?;
    Ok(said)
}

/// A machine's memory is its own: the bomb meets that limit, and another machine doesn't notice.
async fn bomb_memory(stage: Arc<Stage>) -> Verdict {
    let other = stage.launch(|_| {}).await?;
    let live = stage.launch(|spec| spec.resources.memory = Some(Mib(128))).await?;
    let said = match live.attempt("memory").await {
        Ok(said) => format!("{said}; {}", live.is_alive().await?),
        // Its own kernel may have ended the box's agent, and with it the box, but nothing else.
        Err(how) if how.starts_with("it got through") => return Err(how),
        Err(ended) => ended,
    };
    other.is_alive().await?;
    live.end().await?;
    other.end().await?;
    Ok(said)
}

async fn bomb_processes(stage: Arc<Stage>) -> Verdict {
    let live = stage.launch(|_| {}).await?;
    let said = live.attempt("processes").await?;
    eventually("the children's end", || async {
        live.guest.processes().await.is_ok_and(|processes| processes.len() < 10)
    })
    .await;
    let alive = live.is_alive().await?;
    live.end().await?;
    Ok(format!("{said}; {alive}"))
}

/// Were the machine broken out of: what its VMM's process could do on the host.
async fn vmm_has_next_to_nothing(stage: Arc<Stage>) -> Verdict {
    let live = stage.launch(|_| {}).await?;
    let (processes, files) = (stage.processes(), stage.files());
    let mut wrong = Vec::new();
    for id in &processes {
        let proc = format!("/proc/{id}");
        let status = std::fs::read_to_string(format!("{proc}/status")).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap_or_default().trim().to_owned()
        };
        let name = field("Name");
        let environment = std::fs::read(format!("{proc}/environ")).unwrap_or_default();
        if !environment.is_empty() {
            wrong.push(format!("{name} has an environment"));
        }
        if rustix::process::geteuid().is_root() && field("Uid").starts_with("0\t") {
            wrong.push(format!("{name} is root"));
        }
        if !field("CapEff").trim_start_matches('0').is_empty() || field("NoNewPrivs") != "1" {
            wrong.push(format!("{name}: CapEff {}, NoNewPrivs {}", field("CapEff"), field("NoNewPrivs")));
        }
        if (name.starts_with("qemu") || name == "firecracker") && field("Seccomp") != "2" {
            wrong.push(format!("{name} has no system call filter"));
        }
        wrong.extend(
            strange_descriptors(Path::new(&proc), &files).into_iter().map(|it| format!("{name} holds {it}")),
        );
    }
    within("the end", live.end()).await?;
    // QEMU's has one for its vsock besides.
    let least = if bed::has_real_firecracker() { 1 } else { 2 };
    if processes.len() < least {
        return Err(format!("a machine has {least} processes or more: {processes:?}"));
    }
    if wrong.is_empty() { Ok(format!("{} processes", processes.len())) } else { Err(wrong.join("; ")) }
}

/// Open files of the host that are neither `own` nor without content.
fn strange_descriptors(proc: &Path, own: &HashSet<(u64, u64)>) -> Vec<String> {
    let descriptors = std::fs::read_dir(proc.join("fd")).into_iter().flatten().flatten();
    let kernel_made = ["socket:", "pipe:", "anon_inode:", "/memfd:"];
    // By their numbers: what they are called depends on the jail.
    let devices =
        ["/dev/null", "/dev/urandom", "/dev/kvm", "/dev/net/tun"].map(|path| device(Path::new(path)));
    let strange = descriptors.filter_map(|entry| {
        let (path, target) = (entry.path(), std::fs::read_link(entry.path()).ok()?.display().to_string());
        let number = device(&path);
        let is_known = kernel_made.iter().any(|start| target.starts_with(start))
            || (number.is_some() && devices.contains(&number))
            || file(&path).is_some_and(|file| own.contains(&file));
        (!is_known).then_some(target)
    });
    strange.collect()
}

/// The number of a character device.
fn device(path: &Path) -> Option<u64> {
    let metadata = std::fs::metadata(path).ok()?;
    metadata.file_type().is_char_device().then(|| metadata.rdev())
}
