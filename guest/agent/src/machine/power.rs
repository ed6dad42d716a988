//! The end of the machine.

use std::rc::Rc;
use std::time::Duration;

use agentkernel_protocol::{Channel, Event, Failure, FailureKind};
use rustix::system::RebootCommand;
use rustix::thread::CapabilitySet;
use tokio::time::{Instant, timeout, timeout_at};

use crate::agent::Agent;
use crate::failure::failure;
use crate::{raw, tree};

/// The longest that processes may have to end by themselves.
const MOST_GRACE: Duration = Duration::from_secs(3600);

/// How long killed processes may take; those that wait for a device can't be killed.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// How long the host may take to have heard that all is done.
const FAREWELL: Duration = Duration::from_secs(1);

/// The right to end the machine: the agent keeps it.
pub(super) const RIGHT: u64 = CapabilitySet::SYS_BOOT.bits();

/// Ends the machine. The VMM ends with it: a machine that starts again (`reboot=k` on the kernel's command line) is what
/// it takes for a wish to end.
pub(super) fn off() -> ! {
    rustix::fs::sync();
    let refused = rustix::system::reboot(RebootCommand::Restart);
    // A machine without its first process ends as well (`panic=-1`), if not as quietly.
    raw::complain(&format!("agentkernel-agent: could not power off: {refused:?}"));
    raw::exit_now(0)
}

/// Serves [`agentkernel_protocol::Request::PowerOff`].
pub(crate) async fn power_off(agent: &Rc<Agent>, channel: &Channel, grace_ms: u64) -> Result<(), Failure> {
    let Some(order) = &agent.power_off else {
        return Err(failure(FailureKind::Invalid, "this sandbox is not a machine of its own"));
    };
    end_all(agent, Duration::from_millis(grace_ms).min(MOST_GRACE)).await;
    rustix::fs::sync();
    // Where the host is gone, all is done all the same.
    channel.send(&Event::Done).await.ok();
    timeout(FAREWELL, channel.receive::<Event>()).await.ok();
    order.notify_one();
    Ok(())
}

/// First by a word, then by force.
async fn end_all(agent: &Agent, grace: Duration) {
    let me = rustix::process::getpid();
    for pid in commands(agent) {
        // It may be gone already.
        raw::kill(pid, libc::SIGTERM).ok();
        raw::kill(pid, libc::SIGCONT).ok();
    }
    let deadline = Instant::now() + grace;
    while !commands(agent).is_empty() {
        if timeout_at(deadline, agent.children.reaped()).await.is_err() {
            break;
        }
    }
    let deadline = Instant::now() + KILL_PATIENCE;
    while !tree::descendants(me.as_raw_pid(), &tree::parents()).is_empty() {
        tree::kill_below(me);
        if timeout_at(deadline, agent.children.reaped()).await.is_err() {
            break;
        }
    }
}

/// All processes but the agent's own.
fn commands(agent: &Agent) -> Vec<i32> {
    let own = agent.children.own();
    let mut all = tree::descendants(rustix::process::getpid().as_raw_pid(), &tree::parents());
    all.retain(|pid| !own.contains(pid));
    all
}

/// What goes before a filter of system calls: the one that ends the machine is let through, to the kernel's own check of
/// [`RIGHT`]. Instructions as linux/filter.h has them: the filter itself follows where the last jumps lead.
pub(super) fn exceptions() -> Vec<u8> {
    const LOAD: u16 = 0x20;
    const IS: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const ALLOW: u32 = 0x7fff_0000;
    // AUDIT_ARCH_X86_64 and AUDIT_ARCH_AARCH64 of linux/audit.h; struct seccomp_data begins with the number of the call,
    // and the architecture follows.
    let architecture: u32 = if cfg!(target_arch = "x86_64") { 0xc000_003e } else { 0xc000_00b7 };
    let call = u32::try_from(libc::SYS_reboot).unwrap_or(u32::MAX);
    let program: [(u16, u8, u8, u32); 5] =
        [(LOAD, 0, 0, 4), (IS, 0, 3, architecture), (LOAD, 0, 0, 0), (IS, 0, 1, call), (RETURN, 0, 0, ALLOW)];
    let bytes = |(code, yes, no, value): (u16, u8, u8, u32)| {
        let [a, b] = code.to_ne_bytes();
        let [c, d, e, f] = value.to_ne_bytes();
        [a, b, yes, no, c, d, e, f]
    };
    program.into_iter().flat_map(bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ending_the_machine_is_let_through_and_nothing_else() {
        // What follows refuses the same call, and another one, with an error that nothing else gives.
        let refuse = |call: i64| {
            let is = [0x15, 0, 0, 1].into_iter().chain((call as u32).to_ne_bytes());
            is.chain([0x06, 0, 0, 0, libc::EXDEV as u8, 0, 5, 0]).collect::<Vec<u8>>()
        };
        let number = vec![0x20, 0, 0, 0, 0, 0, 0, 0];
        let allow = vec![0x06, 0, 0, 0, 0, 0, 0xff, 0x7f];
        let program =
            [exceptions(), number, refuse(libc::SYS_reboot), refuse(libc::SYS_chdir), allow].concat();
        let run = move || {
            rustix::thread::set_no_new_privs(true).unwrap();
            crate::capability::drop_held(0).unwrap();
            raw::install_filter(&program).unwrap();
            (rustix::system::reboot(RebootCommand::CadOn), rustix::process::chdir("/"))
        };
        // A filter is its thread's own.
        let (reboot, other) = std::thread::spawn(run).join().unwrap();
        assert_eq!(reboot, Err(rustix::io::Errno::PERM), "the kernel's own check");
        assert_eq!(other, Err(rustix::io::Errno::XDEV));
    }
}
