//! The same program's output through a pipe to this process, and out of a sandbox through the server to this process.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Instant;

use agentkernel_sdk::{AgentKernel, Frame, RunRequest};
use anyhow::{Context, Result, bail};

use super::super::program::Program;
use super::process::Server;
use super::result::Throughput;

const ROUNDS: usize = 7;
const BYTES: u64 = 1 << 30;
const PRODUCER: [&str; 4] = ["dd", "if=/dev/zero", "bs=64k", "count=16384"];
/// As much as a pipe holds (pipe(7)).
const BUFFER_BYTES: usize = 64 << 10;

pub(super) async fn measure(agentkernel: &Program) -> Result<Throughput> {
    let server = Server::on_tcp(agentkernel.command(&[]), &agentkernel.folder("output.log")).await?;
    let (mut pipe_seconds, mut frames_seconds) = (Vec::new(), Vec::new());
    // The first round warms up and doesn't count.
    for round in 0..=ROUNDS {
        let (pipe, frames) = (through_a_pipe()?, through_the_server(&server.client).await?);
        if round > 0 {
            pipe_seconds.push(pipe);
            frames_seconds.push(frames);
        }
    }
    server.stop().await?;
    Ok(Throughput { bytes: BYTES, pipe_seconds, frames_seconds })
}

fn through_a_pipe() -> Result<f64> {
    let begun = Instant::now();
    let mut child = Command::new(PRODUCER[0])
        .args(&PRODUCER[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("start dd")?;
    let mut pipe = child.stdout.take().context("no pipe")?;
    let (mut buffer, mut total) = (vec![0; BUFFER_BYTES], 0);
    loop {
        match pipe.read(&mut buffer)? {
            0 => break,
            count => total += count as u64,
        }
    }
    child.wait()?;
    whole(total)?;
    Ok(begun.elapsed().as_secs_f64())
}

async fn through_the_server(client: &AgentKernel) -> Result<f64> {
    let begun = Instant::now();
    let mut frames = client.run_frames(&RunRequest::new(PRODUCER)).await?;
    let mut total = 0;
    while let Some(frame) = frames.next().await? {
        match frame {
            Frame::Stdout(bytes) => total += bytes.len() as u64,
            Frame::Stderr(_) => {}
            Frame::End(result) if result.exit_code == 0 => {}
            Frame::End(result) => bail!("dd ended with {} in the sandbox", result.exit_code),
        }
    }
    whole(total)?;
    Ok(begun.elapsed().as_secs_f64())
}

fn whole(total: u64) -> Result<()> {
    if total != BYTES {
        bail!("{total} bytes arrived of {BYTES}");
    }
    Ok(())
}
