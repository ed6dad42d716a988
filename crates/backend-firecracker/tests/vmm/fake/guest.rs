//! The fake guest: a console, a knock, and a port that echoes.

use std::io::Write as _;
use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use agentkernel_protocol::machine::ask_machine_setup;
use agentkernel_protocol::{Accepted, Event, Guest, Request, encode, say_ready};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::api::endless;
use super::plan::{Act, GuestPlan, Plan, VsockPlan};

/// What an agent by the book was told, in its machine's folder: as it was encoded.
pub(crate) const TOLD_SETUP: &str = "told.setup";
pub(crate) const TOLD_RENEWAL: &str = "told.renewal";

/// Whether the agent was told what its machine is.
static IS_SET_UP: AtomicBool = AtomicBool::new(false);

pub(crate) fn is_set_up() -> bool {
    IS_SET_UP.load(Ordering::Relaxed)
}

/// As it was when it was saved.
pub(crate) fn go_on(is_set_up: bool) {
    IS_SET_UP.store(is_set_up, Ordering::Relaxed);
}

/// Boots: what is to be heard, is heard; what is to be seen, seen.
pub(crate) fn boot(plan: &Plan, vsock: Option<StdListener>) {
    listen(plan, vsock);
    let guest = plan.guest.clone();
    tokio::spawn(async move {
        say("[    0.000000] Linux version 0.0\r\n");
        match guest {
            GuestPlan::Knocks => knock("agentkernel-agent 9.9.9\n").await,
            GuestPlan::KnocksTwice => {
                knock("agentkernel-agent 9.9.9\n").await;
                // The VMM tells the guest that nobody listens; that is all.
                if let Ok(mut stream) = UnixStream::connect("v.sock_1025").await {
                    stream.write_all(b"agentkernel-agent 6.6.6\n").await.unwrap_or_default();
                }
            }
            GuestPlan::Silent => {}
            GuestPlan::Panics => {
                say("Kernel panic - not syncing: \x1b[31mno working init found.\r\n");
                std::process::exit(0);
            }
            GuestPlan::Says(text) => knock(&text).await,
            GuestPlan::Floods => {
                for _ in 0..2000 {
                    say(&"flood ".repeat(200));
                }
                knock("agentkernel-agent 9.9.9\n").await;
            }
            GuestPlan::TellsOfItself => {
                say(&itself());
                knock("agentkernel-agent 9.9.9\n").await;
            }
        }
    });
}

/// What a fault in a VMM would have to work with.
fn itself() -> String {
    let inherited = std::fs::read_link("/proc/self/fd/3").unwrap_or_default();
    let mut text = format!("environment {};", std::env::vars_os().count());
    let session = rustix::process::getsid(None).map(|it| it == rustix::process::getpid()).unwrap_or(false);
    text += &format!("session {session}; three {};", inherited.display());
    let network = std::fs::read_link("/proc/self/ns/net").unwrap_or_default();
    text += &format!("network {};", network.display());
    text += &format!("user {};", rustix::process::getuid().as_raw());
    text + &format!("folder {};", std::env::current_dir().unwrap_or_default().display())
}

/// The VMM's standard output; one that takes no more loses it.
pub(crate) fn say(text: &str) {
    std::io::stdout().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush()).unwrap_or_default();
}

async fn knock(text: &str) {
    match UnixStream::connect("v.sock_1025").await {
        Ok(mut stream) => stream.write_all(text.as_bytes()).await.unwrap_or_default(),
        Err(error) => say(&format!("nobody hears the knock: {error}\r\n")),
    }
}

/// Ports of the guest, by the socket of the VMM.
pub(crate) fn listen(plan: &Plan, vsock: Option<StdListener>) {
    let Some(vsock) = vsock else { return };
    vsock.set_nonblocking(true).expect("a listener");
    let listener = UnixListener::from_std(vsock).expect("a listener");
    let (how, agent) = (plan.vsock, plan.agent.clone());
    assert!(Path::new("v.sock").exists());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let agent = agent.clone();
            tokio::spawn(async move { connection(stream, how, &agent).await.unwrap_or_default() });
        }
    });
}

async fn connection(mut stream: UnixStream, how: VsockPlan, agent: &[Act]) -> std::io::Result<()> {
    let mut line = String::new();
    let (reading, mut writing) = stream.split();
    let mut reading = BufReader::new(reading);
    reading.read_line(&mut line).await?;
    match how {
        VsockPlan::Garbage => return writing.write_all(b"\x1b[2JNO\n").await,
        VsockPlan::Endless => {
            drop(reading);
            return endless(&mut stream, b"OK 1111111111111111").await;
        }
        VsockPlan::Hangs => return std::future::pending().await,
        VsockPlan::Answers if line != "CONNECT 1024\n" => return Ok(()),
        VsockPlan::Answers => {}
    }
    writing.write_all(b"OK 1073741824\n").await?;
    for act in agent {
        match act {
            Act::Says(bytes) => writing.write_all(bytes).await?,
            Act::Floods(bytes) => loop {
                writing.write_all(bytes).await?;
            },
            Act::Hears => {
                let length = reading.read_u32_le().await?;
                tokio::io::copy(&mut (&mut reading).take(length.into()), &mut tokio::io::sink()).await?;
            }
            Act::Stays => return std::future::pending().await,
            Act::FallsSilent if is_set_up() => return std::future::pending().await,
            Act::Serves | Act::FallsSilent => {
                drop(reading);
                return serve(stream).await;
            }
        }
    }
    if !agent.is_empty() {
        return Ok(());
    }
    tokio::io::copy(&mut reading, &mut writing).await.map(drop)
}

/// The agent by the book; of commands it knows none.
async fn serve(mut stream: UnixStream) -> std::io::Result<()> {
    if !is_set_up() {
        let setup = ask_machine_setup(&mut stream).await?;
        std::fs::write(TOLD_SETUP, encode(&setup))?;
        go_on(true);
        say_ready(&mut stream).await?;
    }
    say_ready(&mut stream).await?;
    let (guest, driver) = Guest::new(stream, "9.9.9");
    let answers = async {
        while let Ok(Accepted { channel, request }) = guest.accept().await {
            match request {
                Ok(Request::GoOn(renewal)) => std::fs::write(TOLD_RENEWAL, encode(&*renewal))?,
                Ok(Request::StandStill) => {}
                // Its host sees it end.
                Ok(Request::PowerOff { .. }) => std::process::exit(0),
                _ => continue,
            }
            channel.send(&Event::Done).await.map_err(std::io::Error::other)?;
        }
        Ok(())
    };
    tokio::select! {
        _ = driver => Ok(()),
        answered = answers => answered,
    }
}
