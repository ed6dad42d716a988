//! The agent's side of a supervisor, and what it does in the place of one that was killed.

use std::cell::Cell;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use rustix::process::{Pid, Signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use crate::children::Children;
use crate::report::{Order, Report};
use crate::{pump, raw, tree};

/// A supervisor and its command.
pub(crate) struct Supervised {
    supervisor: Pid,
    socket: AsyncFd<OwnedFd>,
    children: Rc<Children>,
    /// The command's process, once it is known.
    main: Cell<Option<i32>>,
    /// The supervisor has been killed.
    lost: Cell<bool>,
    kill_ordered: Notify,
}

impl Supervised {
    /// Of `supervisor`, at the other end of `socket`.
    pub(crate) fn new(supervisor: Pid, socket: OwnedFd, children: Rc<Children>) -> io::Result<Self> {
        let socket = pump::watch(socket, Interest::READABLE)?;
        Ok(Self {
            supervisor,
            socket,
            children,
            main: Cell::new(None),
            lost: Cell::new(false),
            kill_ordered: Notify::new(),
        })
    }

    /// The next report; `None` once the supervisor is gone.
    pub(crate) async fn report(&self) -> Option<Report> {
        loop {
            let mut ready = self.socket.readable().await.ok()?;
            let mut buffer = [0; 6];
            match rustix::net::recv(self.socket.get_ref(), &mut buffer, RecvFlags::DONTWAIT) {
                Ok((6, _)) => {
                    let report = Report::decode(&buffer);
                    if let Some(Report::Forked(pid)) = report {
                        self.main.set(Some(pid));
                    }
                    return report;
                }
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                _ => {
                    self.lost.set(true);
                    return None;
                }
            }
        }
    }

    /// Waits until the end of the tree has been ordered.
    pub(crate) async fn kill_ordered(&self) {
        self.kill_ordered.notified().await;
    }

    /// Gives an order; what a killed supervisor can't do any more is done here.
    pub(crate) fn order(&self, order: Order) {
        if order == Order::KillTree {
            self.kill_ordered.notify_one();
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let sent = rustix::net::send(self.socket.get_ref(), &order.encode(), flags);
        if sent.is_ok() && !self.lost.get() {
            return;
        }
        let Some(main) = self.main.get() else { return };
        match order {
            // Gone meanwhile: nothing to do.
            Order::Signal(signal) => drop(raw::kill(-main, signal)),
            Order::KillTree => self.kill_strays(),
        }
    }

    /// Ends a tree whose supervisor doesn't: that one first, so that all below it become the agent's own orphans.
    pub(crate) fn force(&self) {
        if self.children.own().contains(&self.supervisor.as_raw_pid()) {
            // Not reaped yet, so that the number is still its own.
            rustix::process::kill_process(self.supervisor, Signal::KILL).ok();
        }
        self.kill_strays();
    }

    /// Kills the command with all below it, and all orphans: they can only come from commands whose supervisor was
    /// killed.
    fn kill_strays(&self) {
        let Some(main) = self.main.get() else { return };
        let own = self.children.own();
        let me = rustix::process::getpid().as_raw_pid();
        tree::kill_descendants(|parents| {
            let is_stray =
                |(pid, parent): (&i32, &i32)| (*parent == me && !own.contains(pid)).then_some(*pid);
            let mut roots: Vec<i32> = parents.iter().filter_map(is_stray).collect();
            if parents.contains_key(&main) && !roots.contains(&main) {
                roots.push(main);
            }
            let below: Vec<i32> = roots.iter().flat_map(|root| tree::descendants(*root, parents)).collect();
            roots.extend(below);
            roots
        });
    }
}
