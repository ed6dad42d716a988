//! The process above each command. It adopts whatever the command leaves behind, so that all of it can be found and
//! killed together, reaps it, and lives as long as any of it does. It may be killed from inside the box like any other
//! process of root's; the agent then takes over what it can.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, WaitOptions};

use crate::command::Command;
use crate::launch::{self, Stdio};
use crate::raw::{self, Fork};
use crate::report::{Order, Report, Stage, StartFailure};
use crate::tree;

/// How long a kill may take before the command's end is reported all the same. Processes that wait for a device can't
/// be killed; the supervisor goes on trying.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// Between two tries to kill what is left.
const KILL_INTERVAL: Duration = Duration::from_millis(10);

struct Supervisor<'a> {
    agent: &'a OwnedFd,
    /// The agent has closed its side.
    agent_gone: bool,
    children: OwnedFd,
    /// What the command says when it can't start; gone once it runs.
    failed: Option<OwnedFd>,
    main: Pid,
    /// How `main` ended, once it has.
    status: Option<i32>,
    reported: bool,
    killing: Option<Instant>,
}

/// The life of a supervisor. Called in a forked child.
pub(crate) fn run(command: &mut Command, stdio: &Stdio, agent: &OwnedFd, group: Option<&OwnedFd>) -> ! {
    let joined = group.map_or(Ok(()), |group| rustix::io::write(group, b"0").map(drop));
    if let Err(error) = joined.and_then(|()| start(command, stdio, agent)) {
        let failure = StartFailure { stage: Stage::Fork, error };
        tell(agent, Report::Failed(failure));
        raw::exit_now(1);
    }
    raw::exit_now(0)
}

fn tell(agent: &OwnedFd, report: Report) {
    // An agent that is gone needs no report; this process sees that by the socket's end.
    rustix::net::send(agent, &report.encode(), SendFlags::NOSIGNAL).ok();
}

fn start(command: &mut Command, stdio: &Stdio, agent: &OwnedFd) -> Result<(), Errno> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    rustix::thread::set_name(c"supervisor")?;
    let (failed, fails) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    let main = match raw::fork()? {
        Fork::Child => launch::become_command(command, stdio, &fails),
        Fork::Parent(pid) => pid,
    };
    tell(agent, Report::Forked(main.as_raw_pid()));
    raw::close_all_but(&mut [agent.as_raw_fd(), failed.as_raw_fd()]);
    // Closed just above.
    std::mem::forget(fails);
    let children = raw::child_signals()?;
    let mut supervisor = Supervisor {
        agent,
        agent_gone: false,
        children,
        failed: Some(failed),
        main,
        status: None,
        reported: false,
        killing: None,
    };
    supervisor.watch();
    Ok(())
}

impl Supervisor<'_> {
    fn watch(&mut self) {
        loop {
            let any_left = self.reap();
            self.check_start();
            self.report_end(any_left);
            if !any_left {
                return;
            }
            if self.killing.is_some() {
                tree::kill_below(rustix::process::getpid());
            }
            self.wait();
        }
    }

    /// Reaps whatever has ended; whether any child is left.
    fn reap(&mut self) -> bool {
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.main => self.status = Some(status.as_raw()),
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    fn check_start(&mut self) {
        let Some(failed) = &self.failed else { return };
        let mut buffer = [0; 5];
        match rustix::io::read(failed, &mut buffer) {
            Ok(0) => tell(self.agent, Report::Started),
            Ok(_) => {
                let unknown = StartFailure { stage: Stage::Setup, error: Errno::IO };
                let failure = StartFailure::decode(&buffer).unwrap_or(unknown);
                tell(self.agent, Report::Failed(failure));
                self.reported = true;
            }
            Err(_) => return,
        }
        self.failed = None;
    }

    fn report_end(&mut self, any_left: bool) {
        let Some(status) = self.status else { return };
        let is_dying = self.killing.is_some_and(|since| any_left && since.elapsed() < KILL_PATIENCE);
        if !self.reported && !is_dying {
            tell(self.agent, Report::Ended(status));
            self.reported = true;
        }
    }

    fn wait(&mut self) {
        let mut polled = vec![PollFd::new(&self.children, PollFlags::IN)];
        if !self.agent_gone {
            polled.push(PollFd::new(self.agent, PollFlags::IN));
        }
        if let Some(failed) = &self.failed {
            polled.push(PollFd::new(failed, PollFlags::IN));
        }
        let interval = Timespec { tv_sec: 0, tv_nsec: KILL_INTERVAL.subsec_nanos().into() };
        let timeout = self.killing.is_some().then_some(&interval);
        // An error here is a signal at most; the loop looks at everything again.
        if rustix::event::poll(&mut polled, timeout).is_err() {
            return;
        }
        raw::take_child_signals(&self.children);
        self.obey();
    }

    fn obey(&mut self) {
        let mut buffer = [0; 5];
        match rustix::net::recv(self.agent, &mut buffer, RecvFlags::DONTWAIT) {
            Ok((5, _)) => match Order::decode(&buffer) {
                // The group's number can't be another's while `main` isn't reaped.
                Some(Order::Signal(signal)) if self.status.is_none() => {
                    raw::kill(-self.main.as_raw_pid(), signal).ok();
                }
                Some(Order::KillTree) => self.start_killing(),
                _ => {}
            },
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Without an agent nothing may go on.
            _ => {
                self.agent_gone = true;
                self.start_killing();
            }
        }
    }

    fn start_killing(&mut self) {
        self.killing.get_or_insert_with(Instant::now);
    }
}
