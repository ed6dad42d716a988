//! What a client does, and what it checks: every byte that it can foretell.

use agentkernel_sdk::{
    AgentKernel, CreateRequest, DirectoryRequest, Error, ErrorCode, ExecRequest, Frame, KillRequest,
    RunRequest, StopRequest, StreamEvent,
};

use super::tally::Trouble;
use crate::bench::Docker;

/// One kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Run,
    RunFails,
    Stream,
    Frames,
    Disconnect,
    Sandbox,
    Detached,
    Look,
    Wrong,
}

/// What is chosen from: what stands here often is done often.
pub(super) const VERBS: &[Verb] = &[
    Verb::Run,
    Verb::Run,
    Verb::Run,
    Verb::Run,
    Verb::Run,
    Verb::Run,
    Verb::RunFails,
    Verb::RunFails,
    Verb::Stream,
    Verb::Stream,
    Verb::Frames,
    Verb::Disconnect,
    Verb::Sandbox,
    Verb::Detached,
    Verb::Look,
    Verb::Look,
    Verb::Wrong,
];

impl Verb {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::RunFails => "run that fails",
            Self::Stream => "run as events",
            Self::Frames => "run as frames",
            Self::Disconnect => "run, disconnected",
            Self::Sandbox => "sandbox and files",
            Self::Detached => "detached, logs resumed",
            Self::Look => "list, stats, events",
            Self::Wrong => "wrong requests",
        }
    }
}

const LINES: usize = 200;
const FRAME_BYTES: u64 = 4 << 20;
const LOG_LINES: usize = 3000;

/// The image of a backend: one of few files, so that the server is what is loaded.
pub(super) fn image(backend: &str) -> Option<String> {
    (backend == "docker").then(|| Docker::IMAGE.to_owned())
}

/// One client.
pub(super) struct Worker {
    client: AgentKernel,
    backend: String,
    number: u64,
    /// Of a generator that is the same in each run (xorshift64).
    random: u64,
    made: u64,
}

fn wrong(what: impl Into<String>) -> Trouble {
    Trouble::Wrong(what.into())
}

impl Worker {
    pub(super) fn new(client: AgentKernel, backend: &str, number: u64) -> Self {
        let random = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self { client, backend: backend.to_owned(), number, random, made: 0 }
    }

    /// A number below `most`.
    pub(super) fn choose(&mut self, most: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % most as u64) as usize
    }

    pub(super) async fn perform(&mut self, verb: Verb) -> Result<(), Trouble> {
        match verb {
            Verb::Run => self.run().await,
            Verb::RunFails => self.run_that_fails().await,
            Verb::Stream => self.stream().await,
            Verb::Frames => self.frames().await,
            Verb::Disconnect => self.disconnect().await,
            Verb::Sandbox => self.sandbox().await,
            Verb::Detached => self.detached().await,
            Verb::Look => self.look().await,
            Verb::Wrong => self.wrong_requests().await,
        }
    }

    fn request(&self, script: &str) -> RunRequest {
        let mut request = RunRequest::new(["sh", "-c", script]);
        request.backend = Some(self.backend.clone());
        request.image = image(&self.backend);
        request
    }

    async fn run(&mut self) -> Result<(), Trouble> {
        let chosen = self.choose(1 << 20);
        let word = format!("{}-{chosen}", self.number);
        let result = self.client.run(&self.request(&format!("echo {word}; echo e >&2"))).await?;
        if result.stdout != format!("{word}\n") || result.stderr != "e\n" || result.exit_code != 0 {
            return Err(wrong(format!("{:?} {:?} {}", result.stdout, result.stderr, result.exit_code)));
        }
        Ok(())
    }

    async fn run_that_fails(&self) -> Result<(), Trouble> {
        let mut request = self.request("cat; exit 7");
        request.stdin = Some("from the caller".to_owned());
        let result = self.client.run(&request).await?;
        if result.stdout != "from the caller" || result.exit_code != 7 {
            return Err(wrong(format!("{:?} {}", result.stdout, result.exit_code)));
        }
        Ok(())
    }

    async fn stream(&self) -> Result<(), Trouble> {
        let script = format!("i=0; while [ $i -lt {LINES} ]; do echo line $i; i=$((i+1)); done; exit 3");
        let mut events = self.client.run_stream(&self.request(&script)).await?;
        let (mut text, mut code) = (String::new(), None);
        while let Some(event) = events.next().await? {
            match event {
                StreamEvent::Output { data, .. } => text.push_str(&data),
                StreamEvent::Done { exit_code, .. } => code = Some(exit_code),
                StreamEvent::Error { code: ErrorCode::Busy | ErrorCode::ShuttingDown, .. } => {
                    return Err(Trouble::Refused);
                }
                StreamEvent::Error { message, .. } => return Err(wrong(message)),
                StreamEvent::Started { .. } | StreamEvent::Progress { .. } => {}
            }
        }
        let expected: String = (0..LINES).map(|number| format!("line {number}\n")).collect();
        if text != expected || code != Some(3) {
            return Err(wrong(format!("{} bytes, exit code {code:?}", text.len())));
        }
        Ok(())
    }

    async fn frames(&self) -> Result<(), Trouble> {
        let head = if self.backend == "docker" { "busybox head" } else { "head" };
        let request = self.request(&format!("{head} -c {FRAME_BYTES} /dev/zero"));
        let mut frames = self.client.run_frames(&request).await?;
        let mut total = 0;
        while let Some(frame) = frames.next().await? {
            match frame {
                Frame::Stdout(bytes) => total += bytes.len() as u64,
                Frame::Stderr(bytes) => return Err(wrong(String::from_utf8_lossy(&bytes))),
                Frame::End(result) if result.exit_code == 0 => {}
                Frame::End(result) => return Err(wrong(format!("exit code {}", result.exit_code))),
            }
        }
        if total == FRAME_BYTES { Ok(()) } else { Err(wrong(format!("{total} bytes"))) }
    }

    /// The command would run for a long time: what ends it is that nobody listens any more.
    async fn disconnect(&self) -> Result<(), Trouble> {
        let mut frames = self.client.run_frames(&self.request("echo begun; exec sleep 1000")).await?;
        match frames.next().await? {
            Some(Frame::Stdout(_)) => Ok(()),
            other => Err(wrong(format!("{other:?} instead of output"))),
        }
    }

    fn create(&mut self) -> CreateRequest {
        self.made += 1;
        let chosen = self.choose(1 << 30);
        let mut request = CreateRequest::new(format!("soak-{}-{}-{chosen}", self.number, self.made));
        request.backend = Some(self.backend.clone());
        request.image = image(&self.backend);
        request.labels.insert("for".to_owned(), "soak".to_owned());
        request
    }

    async fn sandbox(&mut self) -> Result<(), Trouble> {
        let request = self.create();
        let made = self.client.create_sandbox(&request).await?;
        let done = self.files_of(&made.name).await;
        self.client.remove_sandbox(&made.name).await?;
        done
    }

    async fn files_of(&self, name: &str) -> Result<(), Trouble> {
        let sandbox = self.client.sandbox(name);
        let content: Vec<u8> = (0..100_000_u32).map(|byte| (byte % 251) as u8).collect();
        let folder = DirectoryRequest { path: "/tmp/a b/c".to_owned(), mode: None };
        sandbox.make_directory(&folder).await?;
        sandbox.write_file("/tmp/a b/c/ü", content.clone()).await?;
        if sandbox.read_file("/tmp/a b/c/ü").await? != content {
            return Err(wrong("the file reads otherwise than it was written"));
        }
        if sandbox.stat("/tmp/a b/c/ü").await?.size != 100_000 || sandbox.list("/tmp/a b").await?.len() != 1
        {
            return Err(wrong("the file has another size, or its folder other entries"));
        }
        let archive = sandbox.archive("/tmp/a b").await?.read_to_end(1 << 20).await?;
        if archive.len() < content.len() {
            return Err(wrong(format!("an archive of {} bytes", archive.len())));
        }
        sandbox.stop(&StopRequest { grace_ms: Some(100) }).await?;
        sandbox.start().await?;
        let counted =
            sandbox.exec(&ExecRequest::new(["sh", "-c", "echo $(cat '/tmp/a b/c/ü' | wc -c)"])).await;
        let counted = match (self.backend.as_str(), counted) {
            // Its image has no wc.
            ("docker", counted) => counted.map(drop),
            (_, counted) => counted.map(|result| drop(result.stdout)),
        };
        counted?;
        sandbox.delete_file("/tmp/a b", true).await?;
        match sandbox.stat("/tmp/a b").await {
            Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(_) => Err(wrong("a file that was removed is there")),
        }
    }

    async fn detached(&mut self) -> Result<(), Trouble> {
        let request = self.create();
        let made = self.client.create_sandbox(&request).await?;
        let done = self.logs_of(&made.name).await;
        self.client.remove_sandbox(&made.name).await?;
        done
    }

    async fn logs_of(&self, name: &str) -> Result<(), Trouble> {
        let sandbox = self.client.sandbox(name);
        let script = format!("i=0; while [ $i -lt {LOG_LINES} ]; do echo line $i; i=$((i+1)); done");
        let started = sandbox.exec_detached(&ExecRequest::new(["sh", "-c", &script])).await?;
        let expected: String = (0..LOG_LINES).map(|number| format!("line {number}\n")).collect();
        let mut log = sandbox.logs(&started.id, 0, true).await?;
        let mut bytes = log.next().await?.map(|chunk| chunk.bytes).unwrap_or_default();
        // As after a client's death: from where it had read.
        log.resume().await?;
        while let Some(chunk) = log.next().await? {
            bytes.extend(chunk.bytes);
        }
        if bytes != expected.as_bytes() {
            return Err(wrong(format!("a log of {} bytes instead of {}", bytes.len(), expected.len())));
        }
        let sleeper = sandbox.exec_detached(&ExecRequest::new(["sleep", "1000"])).await?;
        sandbox.kill(&sleeper.id, &KillRequest::default()).await?;
        let mut log = sandbox.logs(&sleeper.id, 0, true).await?;
        match log.next().await? {
            None => Ok(()),
            Some(chunk) => Err(wrong(format!("{} bytes of a silent command", chunk.bytes.len()))),
        }
    }

    async fn look(&self) -> Result<(), Trouble> {
        let events = self.client.events(None).await?;
        let (listed, stats) =
            (self.client.list_sandboxes(&[("for", "soak")]).await?, self.client.stats().await?);
        let metrics = self.client.metrics().await?;
        drop(events);
        if stats.open_files == 0
            || !metrics.contains("agentkernel_")
            || listed.iter().any(|it| it.name.is_empty())
        {
            return Err(wrong(format!("{stats:?}")));
        }
        Ok(())
    }

    async fn wrong_requests(&self) -> Result<(), Trouble> {
        let refused = [
            self.client.get_sandbox("no-such").await.map(drop),
            self.client.sandbox("no-such").read_file("/etc/passwd").await.map(drop),
            self.client.get_sandbox("../..").await.map(drop),
            self.client
                .run(&RunRequest { profile: Some("none".into()), ..RunRequest::new(["x"]) })
                .await
                .map(drop),
        ];
        for (number, answer) in refused.into_iter().enumerate() {
            match answer {
                Err(Error::NotFound { .. } | Error::Validation { .. }) => {}
                Err(error) => return Err(error.into()),
                Ok(()) => return Err(wrong(format!("wrong request {number} was taken"))),
            }
        }
        let mut missing = self.request("");
        missing.command = vec!["/no/such/program".to_owned()];
        match self.client.run(&missing).await?.exit_code {
            127 => Ok(()),
            code => Err(wrong(format!("exit code {code} for a program that isn't there"))),
        }
    }
}
