//! The flow from a command: one that writes much and in small pieces must not cost a change of processes, a frame and all
//! that follows from it for each piece.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::pump::{self, CHUNK};

/// The size of a pipe for a command that fills its own: as the kernel lets everybody have it (pipe(7), pipe-max-size).
const PIPE_BYTES: usize = 1 << 20;

/// What is less than this is small.
const SMALL: usize = 32 * 1024;

/// So many small pieces, each there when the one before it had been taken, are a flow.
const MANY: u32 = 16;

/// What comes later than this after the piece before is no part of a flow.
const AT_ONCE: Duration = Duration::from_millis(2);

/// How long a flow may gather in its pipe. The pipe is not full by then, so that the command doesn't wait.
const PAUSE: Duration = Duration::from_micros(200);

/// One command's output.
pub(crate) struct Flow {
    widened: bool,
    /// In a pipe that has room for what comes in a pause.
    roomy: bool,
    small: u32,
    looked: Instant,
    /// The last look took all that was there.
    drained: bool,
    timer: Option<AsyncFd<OwnedFd>>,
}

impl Flow {
    pub(crate) fn new() -> Self {
        Self { widened: false, roomy: false, small: 0, looked: Instant::now(), drained: false, timer: None }
    }

    /// Before something is read: lets a flow gather.
    pub(crate) async fn gather(&mut self) {
        if self.small >= MANY && self.roomy && self.drained {
            // Without a timer it goes on in small pieces.
            self.pause().await.ok();
        }
    }

    async fn pause(&mut self) -> std::io::Result<()> {
        let timer = match &mut self.timer {
            Some(timer) => timer,
            none => {
                let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
                let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
                none.insert(pump::watch(timer, Interest::READABLE)?)
            }
        };
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let once = Timespec { tv_nsec: PAUSE.subsec_nanos().into(), ..zero };
        let time = Itimerspec { it_interval: zero, it_value: once };
        timerfd_settime(timer.get_ref(), TimerfdTimerFlags::empty(), &time)?;
        let mut ready = timer.readable().await?;
        ready.clear_ready();
        Ok(())
    }

    /// After `bytes` were read at once from `fd`; `drained` where that was all.
    pub(crate) fn took(&mut self, bytes: usize, drained: bool, fd: &OwnedFd) {
        self.took_at(Instant::now(), bytes, drained, fd);
    }

    fn took_at(&mut self, now: Instant, bytes: usize, drained: bool, fd: &OwnedFd) {
        let at_once = now.duration_since(self.looked) < AT_ONCE;
        (self.looked, self.drained) = (now, drained);
        if !at_once {
            self.small = 0;
        } else if bytes < SMALL {
            self.small = self.small.saturating_add(1);
        }
        if !self.widened && (bytes >= CHUNK || self.small >= MANY) {
            self.widened = true;
            // A terminal has none, and a user with many pipes gets no more room: it is as fast as it was.
            let size = rustix::pipe::fcntl_setpipe_size(fd, PIPE_BYTES);
            self.roomy = size.is_ok_and(|size| size >= PIPE_BYTES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn small_pieces_at_once_gather_and_others_do_not() {
        let (reader, _writer) = rustix::pipe::pipe().unwrap();
        let mut flow = Flow::new();
        let then = flow.looked;
        for _ in 0..MANY - 1 {
            flow.took_at(then, 100, true, &reader);
        }
        flow.gather().await;
        assert!(flow.timer.is_none() && !flow.widened);
        flow.took_at(then, 100, true, &reader);
        if flow.roomy {
            let begun = Instant::now();
            flow.gather().await;
            assert!(flow.timer.is_some() && begun.elapsed() >= PAUSE);
        }
        assert!(flow.widened);
        flow.took_at(then, CHUNK, false, &reader);
        assert!(flow.small >= MANY, "full pieces don't end it");
        flow.took_at(then + AT_ONCE, 100, true, &reader);
        assert_eq!(flow.small, 0, "a pause does");
    }
}
