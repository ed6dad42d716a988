//! The task that owns one terminal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agentkernel_backend::InputStream;
use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::attached::{Hold, Typed};
use super::ring::Ring;
use super::table::{Order, Terminals};
use super::{Attached, TerminalEvent, TerminalInput};
use crate::{CommandControl, OutputEvent, OutputEvents, ServiceError};

/// Pieces that wait for the client.
const PIECES: usize = 8;

/// How long a terminal waits for its first client at least.
const FIRST_CLIENT: Duration = Duration::from_secs(30);

/// A terminal.
pub(super) struct Owner {
    id: String,
    table: Terminals,
    /// `None` once the command has ended.
    output: Option<OutputEvents>,
    control: CommandControl,
    ring: Ring,
    keep: Duration,
    orders: mpsc::Receiver<Order>,
    typed: mpsc::Sender<Typed>,
    current: Arc<AtomicU64>,
    client: Option<Client>,
    /// What the client is to be told next.
    pending: Option<TerminalEvent>,
    ended: Option<TerminalEvent>,
    /// When it ends for want of a client.
    deadline: Instant,
}

struct Client {
    events: mpsc::Sender<TerminalEvent>,
    hold: watch::Sender<Hold>,
}

/// What happened.
enum Happening {
    Order(Option<Order>),
    Output(Result<Option<OutputEvent>, ServiceError>),
    Sent,
    ClientGone,
    OutOfTime,
}

impl Owner {
    pub(super) fn new(
        id: String,
        table: Terminals,
        output: OutputEvents,
        input: Option<InputStream>,
        keep: Duration,
        orders: mpsc::Receiver<Order>,
    ) -> Self {
        let current = Arc::new(AtomicU64::new(0));
        let (typed, typing) = mpsc::channel(PIECES);
        if let Some(input) = input {
            tokio::spawn(type_into(input, typing, Arc::clone(&current)));
        }
        Self {
            id,
            table,
            control: output.control(),
            output: Some(output),
            ring: Ring::default(),
            keep,
            orders,
            typed,
            current,
            client: None,
            pending: None,
            ended: None,
            deadline: Instant::now() + keep.max(FIRST_CLIENT),
        }
    }

    /// Serves until the terminal is no more.
    pub(super) async fn serve(mut self) {
        while self.turn().await {}
        self.table.remove(&self.id);
        tracing::debug!(terminal = self.id, "terminal closed");
    }

    /// One turn; `false` where it was the last.
    async fn turn(&mut self) -> bool {
        match self.next().await {
            Happening::Order(None | Some(Order::Close)) | Happening::OutOfTime => false,
            Happening::Order(Some(Order::Attach(reply))) => {
                self.attach(reply);
                true
            }
            Happening::Output(result) => self.show(result),
            // The last word was said, and heard.
            Happening::Sent => self.ended.is_none() || self.pending.is_some(),
            Happening::ClientGone => {
                self.detach();
                true
            }
        }
    }

    async fn next(&mut self) -> Happening {
        let Self { output, orders, client, pending, deadline, .. } = self;
        tokio::select! {
            order = orders.recv() => Happening::Order(order),
            result = next_output(output), if pending.is_none() => Happening::Output(result),
            sent = send(client, pending) => match sent {
                true => Happening::Sent,
                false => Happening::ClientGone,
            },
            () = gone(client) => Happening::ClientGone,
            // sleep: a deadline beside what is waited for.
            () = tokio::time::sleep_until(*deadline), if client.is_none() => Happening::OutOfTime,
        }
    }

    /// Takes what the command did; `false` where its box broke.
    fn show(&mut self, result: Result<Option<OutputEvent>, ServiceError>) -> bool {
        match result {
            Ok(Some(OutputEvent::Stdout(bytes) | OutputEvent::Stderr(bytes))) => {
                self.ring.push(&bytes);
                self.tell(TerminalEvent::Output(bytes));
                true
            }
            Ok(Some(OutputEvent::End(result))) => {
                self.table.change(&self.id, |info| info.exit_code = Some(result.exit_code));
                self.output = None;
                let ended = TerminalEvent::Ended(result);
                self.ended = Some(ended.clone());
                self.tell(ended);
                // Without a client, one that comes yet may see how it ended.
                self.deadline = Instant::now() + self.keep;
                true
            }
            Ok(None) => false,
            Err(error) => {
                tracing::debug!(terminal = self.id, %error, "a terminal's sandbox ended");
                false
            }
        }
    }

    fn tell(&mut self, event: TerminalEvent) {
        if self.client.is_some() {
            self.pending = Some(event);
        }
    }

    fn attach(&mut self, reply: oneshot::Sender<Attached>) {
        let number = self.current.fetch_add(1, Ordering::AcqRel) + 1;
        if let Some(old) = self.client.take() {
            old.hold.send_replace(Hold::Taken);
        }
        let (events, receiver) = mpsc::channel(PIECES);
        let (hold, held) = watch::channel(Hold::Held);
        let (scrollback, dropped) = self.ring.snapshot();
        let control = self.control.clone();
        let input = TerminalInput {
            client: number,
            current: Arc::clone(&self.current),
            typed: self.typed.clone(),
            control,
        };
        let attached = Attached {
            id: self.id.clone(),
            dropped,
            scrollback,
            events: receiver,
            hold: held,
            input,
            over: false,
        };
        self.client = Some(Client { events, hold });
        // What the last client had not got is in the scrollback.
        self.pending = self.ended.clone();
        self.table.change(&self.id, |info| info.attached = true);
        if reply.send(attached).is_err() {
            self.detach();
        }
    }

    fn detach(&mut self) {
        self.client = None;
        self.pending = None;
        self.deadline = Instant::now() + self.keep;
        self.table.change(&self.id, |info| info.attached = false);
    }
}

async fn next_output(output: &mut Option<OutputEvents>) -> Result<Option<OutputEvent>, ServiceError> {
    match output {
        Some(output) => output.next().await,
        None => std::future::pending().await,
    }
}

/// Gives what is pending to the client; whether it took it. Never ready where there is neither.
async fn send(client: &Option<Client>, pending: &mut Option<TerminalEvent>) -> bool {
    let (Some(client), true) = (client, pending.is_some()) else { return std::future::pending().await };
    match (client.events.reserve().await, pending.take()) {
        (Ok(permit), Some(event)) => {
            permit.send(event);
            true
        }
        _ => false,
    }
}

/// Waits until the client has gone.
async fn gone(client: &Option<Client>) {
    match client {
        Some(client) => client.events.closed().await,
        None => std::future::pending().await,
    }
}

/// Passes on what is typed, as long as who typed it is the one who is attached.
async fn type_into(mut input: InputStream, mut typing: mpsc::Receiver<Typed>, current: Arc<AtomicU64>) {
    while let Some(Typed { client, bytes }) = typing.recv().await {
        if current.load(Ordering::Acquire) != client {
            continue;
        }
        if let Err(error) = write(&mut input, &bytes).await {
            tracing::debug!(%error, "a terminal takes no more input");
            return;
        }
    }
}

async fn write(input: &mut InputStream, bytes: &Bytes) -> std::io::Result<()> {
    input.write_all(bytes).await?;
    input.flush().await
}
