//! Reaping: the agent's own children, and those that lost their parent.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use rustix::process::{Pid, Signal, WaitOptions};
use tokio::io::Interest;
use tokio::sync::{Notify, oneshot};

use crate::options::StartError;
use crate::{pump, raw};

/// Who waits for which process. Processes that nobody waits for are reaped and forgotten.
#[derive(Default)]
pub(crate) struct Children {
    waiting: RefCell<HashMap<i32, oneshot::Sender<i32>>>,
    /// Supervisors and workers.
    own: RefCell<Vec<i32>>,
    reaped: Notify,
}

impl Children {
    /// The wait status of `pid`, if it becomes a child of this process and ends.
    pub(crate) fn watch(&self, pid: i32) -> oneshot::Receiver<i32> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.waiting.borrow_mut();
        waiting.retain(|_, sender| !sender.is_closed());
        waiting.insert(pid, sender);
        receiver
    }

    /// Notes a supervisor or worker: a child of the agent's own.
    pub(crate) fn add_own(&self, pid: Pid) {
        self.own.borrow_mut().push(pid.as_raw_pid());
    }

    /// The supervisors and workers that live.
    pub(crate) fn own(&self) -> Vec<i32> {
        self.own.borrow().clone()
    }

    /// Waits until a process has been reaped since the last call.
    pub(crate) async fn reaped(&self) {
        self.reaped.notified().await;
    }

    fn reap(&self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG | WaitOptions::UNTRACED)
        {
            if status.stopped() {
                self.resume(pid);
                continue;
            }
            self.reaped.notify_one();
            let pid = pid.as_raw_pid();
            self.own.borrow_mut().retain(|own| *own != pid);
            if let Some(sender) = self.waiting.borrow_mut().remove(&pid) {
                // Who waited may have given up.
                sender.send(status.as_raw()).ok();
            }
        }
    }

    /// Root inside can stop a supervisor, but not for long: without it no timeout would be kept.
    fn resume(&self, pid: Pid) {
        if self.own.borrow().contains(&pid.as_raw_pid()) {
            // Not reaped yet, so that the number is still its own.
            rustix::process::kill_process(pid, Signal::CONT).ok();
        }
    }
}

/// Reaps for ever.
pub(crate) async fn reap_all(children: Rc<Children>) -> Result<(), StartError> {
    let signals = raw::child_signals().map_err(StartError::step("watch for ended processes"))?;
    let step = StartError::step("watch for ended processes");
    let signals = pump::watch(signals, Interest::READABLE).map_err(&step)?;
    loop {
        let mut ready = signals.readable().await.map_err(&step)?;
        raw::take_child_signals(ready.get_inner());
        ready.clear_ready();
        children.reap();
    }
}
