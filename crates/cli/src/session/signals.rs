//! Signals to this process that belong to the command inside.

use std::fs::File;
use std::io::Read;
use std::task::Poll;
use std::time::{Duration, Instant};

use agentkernel_backend::{BackendError, ExecutionControl};
use agentkernel_model::Signal;
use tokio::signal::unix::{self, SignalKind};

use super::raw_terminal::terminal_size;

/// A second Ctrl-C within this time kills a command that ignored the first.
const IMPATIENCE: Duration = Duration::from_secs(2);

/// Passed on as they come. SIGQUIT's core dump is then the command's, not ours.
const FORWARDED: [SignalKind; 6] = [
    SignalKind::hangup(),
    SignalKind::interrupt(),
    SignalKind::quit(),
    SignalKind::user_defined1(),
    SignalKind::user_defined2(),
    SignalKind::terminate(),
];

/// The signals this process now catches, and what it has seen of them.
pub(crate) struct Signals {
    listeners: Vec<(SignalKind, unix::Signal)>,
    last_interrupt: Option<Instant>,
}

impl Signals {
    /// Starts catching. What was ignored when this process was started stays ignored: `nohup`, and `&` in a script.
    /// `resizes`: whether a change of the terminal's size matters.
    pub(crate) fn listen(resizes: bool) -> std::io::Result<Self> {
        let ignored = ignored_at_start();
        let wanted = FORWARDED.into_iter().chain(resizes.then(SignalKind::window_change));
        let listeners = wanted
            .filter(|kind| ignored & (1 << (kind.as_raw_value() - 1)) == 0)
            .map(|kind| Ok((kind, unix::signal(kind)?)))
            .collect::<std::io::Result<_>>()?;
        Ok(Self { listeners, last_interrupt: None })
    }

    /// Passes signals on until it is dropped; returns only when that fails.
    pub(crate) async fn forward(&mut self, control: &dyn ExecutionControl) -> BackendError {
        loop {
            let kind = self.next().await;
            let result = if kind == SignalKind::window_change() {
                match terminal_size() {
                    Some(size) => control.resize(size).await,
                    None => Ok(()),
                }
            } else {
                match self.translate(kind) {
                    Some(signal) => control.signal(signal).await,
                    None => Ok(()),
                }
            };
            match result {
                // It ended in the same moment: its outcome is on the way.
                Ok(()) | Err(BackendError::NotFound { .. } | BackendError::BoxEnded { .. }) => {}
                Err(error) => return error,
            }
        }
    }

    async fn next(&mut self) -> SignalKind {
        std::future::poll_fn(|context| {
            for (kind, listener) in &mut self.listeners {
                if listener.poll_recv(context).is_ready() {
                    return Poll::Ready(*kind);
                }
            }
            Poll::Pending
        })
        .await
    }

    fn translate(&mut self, kind: SignalKind) -> Option<Signal> {
        if kind == SignalKind::interrupt() {
            let now = Instant::now();
            let impatient = self.last_interrupt.is_some_and(|last| now.duration_since(last) < IMPATIENCE);
            self.last_interrupt = Some(now);
            if impatient {
                return Some(Signal::KILL);
            }
        }
        Signal::try_from(kind.as_raw_value()).ok()
    }
}

/// The set of ignored signals, bit n-1 for signal n, as proc(5) shows it. 0 where it can't be read.
fn ignored_at_start() -> u64 {
    // One read: the file is about 1.5 KiB and is made anew for each.
    let mut status = [0; 4096];
    let length = File::open("/proc/self/status").and_then(|mut file| file.read(&mut status)).unwrap_or(0);
    parse_ignored(&String::from_utf8_lossy(&status[..length]))
}

fn parse_ignored(status: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals_is_read() {
        let status =
            "Name:\tx\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001003\nSigCgt:\t0000000000000000\n";
        assert_eq!(parse_ignored(status), 0x1003);
        assert_eq!(parse_ignored(""), 0);
        // Rust's start-up code ignores SIGPIPE (13), so the real file must show it.
        assert_ne!(ignored_at_start() & (1 << 12), 0);
    }

    #[test]
    fn the_second_interrupt_kills() {
        let mut signals = Signals { listeners: Vec::new(), last_interrupt: None };
        assert_eq!(signals.translate(SignalKind::interrupt()), Some(Signal::INT));
        assert_eq!(signals.translate(SignalKind::terminate()), Some(Signal::TERM));
        assert_eq!(signals.translate(SignalKind::interrupt()), Some(Signal::KILL));
    }
}
