//! Many runs at once: how many a second, and whether each had its limits.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::limits::{Limits, process_with};
use super::program::Program;
use super::result::Concurrency;

const AT_ONCE: usize = 10;
const FAILURES_SHOWN: usize = 5;

/// `runs` times `echo hello`, ten at a time.
pub(crate) fn plain(agentkernel: &Program, runs: usize) -> Concurrency {
    let (seconds, failures) = at_once(runs, |_| {
        let done = agentkernel
            .command(&["run", "--", "echo", "hello"])
            .stdin(Stdio::null())
            .output()
            .context("start agentkernel")?;
        if !done.status.success() || done.stdout != b"hello\n" {
            bail!("ended with {}: {}", done.status, String::from_utf8_lossy(&done.stderr).trim());
        }
        Ok(())
    });
    result("plain", "`agentkernel run -- echo hello`", runs, seconds, failures, None)
}

/// The same with each box held until its limits have been read back.
pub(crate) fn with_limits(agentkernel: &Program, runs: usize) -> Concurrency {
    let wrong = AtomicUsize::new(0);
    let expected = Limits::moderate();
    let (seconds, failures) = at_once(runs, |number| {
        let found = held(agentkernel, &format!("agentkernel-bench-{number}"))?;
        if found != expected {
            wrong.fetch_add(1, Ordering::Relaxed);
            bail!("limits {found:?} instead of {expected:?}");
        }
        Ok(())
    });
    let label = "the same, each held until its limits are read back from the kernel";
    result("limits", label, runs, seconds, failures, Some(wrong.into_inner()))
}

/// Starts a box that waits for a line, reads its limits, and lets it go.
fn held(agentkernel: &Program, token: &str) -> Result<Limits> {
    let script = "echo $(ulimit -n); read line; echo $line";
    let mut child = agentkernel
        .command(&["run", "--", "sh", "-c", script, token])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("start agentkernel")?;
    let mut lines = BufReader::new(child.stdout.take().context("no pipe")?).lines();
    let inside = lines.next();
    // The box is alive and waits: what the kernel says of it now is what holds.
    let seen =
        process_with(token, "agentkernel").context("no process of the box was found").and_then(Limits::of);
    let mut stdin = child.stdin.take().context("no pipe")?;
    let sent = stdin.write_all(b"hello\n");
    drop(stdin);
    let echoed = lines.next();
    let done = child.wait_with_output()?;
    let (Some(Ok(inside)), Some(Ok(echoed))) = (inside, echoed) else {
        bail!("ended with {}: {}", done.status, String::from_utf8_lossy(&done.stderr).trim());
    };
    sent.context("write to the box")?;
    let limits = seen?;
    if !done.status.success() || echoed != "hello" {
        bail!("ended with {} after {echoed:?}", done.status);
    }
    if limits.open_files != inside.parse().ok() {
        bail!("{inside} open files by ulimit inside, {:?} by the kernel outside", limits.open_files);
    }
    Ok(limits)
}

/// Does the job `runs` times on ten threads. Returns the seconds and what failed.
fn at_once(runs: usize, job: impl Fn(usize) -> Result<()> + Sync) -> (f64, Vec<String>) {
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let worker = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= runs {
                return;
            }
            if let (Err(error), Ok(mut failures)) = (job(number), failures.lock()) {
                failures.push(format!("run {number}: {error:#}"));
            }
        }
    };
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(worker);
        }
    });
    (begun.elapsed().as_secs_f64(), failures.into_inner().unwrap_or_default())
}

fn result(
    id: &str,
    label: &str,
    runs: usize,
    seconds: f64,
    mut failures: Vec<String>,
    wrong_limits: Option<usize>,
) -> Concurrency {
    let failed = failures.len();
    failures.truncate(FAILURES_SHOWN);
    Concurrency {
        id: id.to_owned(),
        label: label.to_owned(),
        runs,
        at_once: AT_ONCE,
        seconds,
        failed,
        wrong_limits,
        failures,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_done_once_and_failures_are_kept() {
        let sum = AtomicUsize::new(0);
        let (_, failures) = at_once(100, |number| {
            sum.fetch_add(number, Ordering::Relaxed);
            if number == 7 { bail!("seven") } else { Ok(()) }
        });
        assert_eq!(sum.into_inner(), 4950);
        assert_eq!(failures, ["run 7: seven"]);
    }
}
