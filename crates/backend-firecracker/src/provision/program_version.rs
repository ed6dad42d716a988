//! What a program says when it is asked for its version.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use super::Part;
use crate::api::{OLDEST_VERSION, Version};

/// Firecracker takes some milliseconds; a busy machine may take longer.
const LIMIT: Duration = Duration::from_secs(20);

/// The most that is read of what it says.
const ANSWER_BYTES_MAX: u64 = 4096;

/// Between two tries of a program that somebody still has open for writing.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// The version of `program`, which is Firecracker or its jailer, and new enough; else what is wrong with it. Runs it, without
/// an environment and for a bounded time.
pub(crate) async fn version_of(part: Part, program: &Path) -> Result<Version, String> {
    let answer = match timeout(LIMIT, ask(program)).await {
        Ok(answer) => answer?,
        Err(_) => {
            return Err(format!("`{} --version` did not end in {} s", program.display(), LIMIT.as_secs()));
        }
    };
    let found = read(&answer).ok_or_else(|| {
        let first: String = answer.lines().next().unwrap_or_default().chars().take(80).collect();
        format!("`{} --version` says {:?}, and no version of {}", program.display(), first, part.name())
    })?;
    if found < OLDEST_VERSION {
        return Err(format!("it is {} {found}, and {OLDEST_VERSION} or later is needed", part.name()));
    }
    Ok(found)
}

/// `Firecracker v1.13.1`, `Jailer v1.17.0-dev`: the first line.
fn read(answer: &str) -> Option<Version> {
    Version::parse(answer.lines().next()?.split_whitespace().nth(1)?)
}

async fn ask(program: &Path) -> Result<String, String> {
    let failed = |error: io::Error| format!("`{} --version` failed: {error}", program.display());
    let mut child = start(program).await.map_err(failed)?;
    let mut answer = Vec::new();
    if let Some(output) = child.stdout.take() {
        output.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await.map_err(failed)?;
    }
    let status = child.wait().await.map_err(failed)?;
    if !status.success() {
        return Err(format!("`{} --version` failed: {status}", program.display()));
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

async fn start(program: &Path) -> io::Result<tokio::process::Child> {
    loop {
        let mut command = Command::new(program);
        command.arg("--version").env_clear().kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        match command.spawn() {
            // A process that was forked in this moment has it open, until it becomes another program.
            // sleep: there is no event to wait for; the caller's limit holds
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => sleep(BUSY_PAUSE).await,
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    async fn says(script: &str) -> Result<Version, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("firecracker");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        version_of(Part::Firecracker, &path).await
    }

    #[tokio::test]
    async fn new_ones_are_taken_and_others_named() {
        let good = says("echo 'Firecracker v1.13.1'; echo more").await.unwrap();
        assert_eq!(good, Version { major: 1, minor: 13, patch: 1 });
        assert!(says("echo 'Firecracker v1.17.0-dev'").await.is_ok());
        let old = says("echo 'Firecracker v1.11.0'").await.unwrap_err();
        assert!(old.contains("it is firecracker 1.11.0, and 1.12.0 or later is needed"), "{old}");
        for (script, part) in
            [("echo hello", "says \"hello\""), ("exit 3", "exit status: 3"), ("true", "says \"\"")]
        {
            let error = says(script).await.unwrap_err();
            assert!(error.contains(part), "{script}: {error}");
        }
        let absent = version_of(Part::Firecracker, Path::new("/nowhere/firecracker")).await.unwrap_err();
        assert!(absent.contains("No such file"), "{absent}");
    }
}
