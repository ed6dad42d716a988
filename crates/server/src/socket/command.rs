//! `exec/connect`: one command with its input, output and signals.

use std::time::Duration;

use agentkernel_api::{ClientMessage, ExecRequest, RunResult, ServerMessage};
use agentkernel_backend::InputStream;
use agentkernel_model::{SandboxName, TtySize};
use agentkernel_service::{Caller, CommandControl, ExecExtra, Input, OutputEvent, OutputEvents, Service};
use axum::extract::ws::{WebSocket, close_code};
use bytes::Buf;

use super::connection::{Gone, Heard, Incoming, Listener, Speaker, split, unexpected};
use super::input::{InputSender, input};
use crate::answer::Refusal;

/// How long a client may take to say what to run.
const FIRST_WORD: Duration = Duration::from_secs(30);

/// Standard input, as the first byte of a binary message.
const STDIN: u8 = 0;

/// How a conversation ended.
enum End {
    /// The command has.
    Command(Box<RunResult>),
    /// Something is wrong with what was asked or with the box.
    Refused(Refusal),
}

/// Serves one command. When the client goes away, the command is killed.
pub(crate) async fn serve_command(socket: WebSocket, service: Service, caller: Caller, name: SandboxName) {
    let heard = Heard::new();
    let (mut speaker, mut listener) = split(socket, &heard);
    match conversation(&mut speaker, &mut listener, &heard, (service, caller, name)).await {
        Ok(End::Command(result)) => {
            speaker.finish(listener, Some(&ServerMessage::Exit { result }), close_code::NORMAL).await;
        }
        Ok(End::Refused(refusal)) => speaker.fail(listener, &refusal).await,
        Err(Gone) => {}
    }
}

async fn conversation(
    speaker: &mut Speaker,
    listener: &mut Listener<'_>,
    heard: &Heard,
    (service, caller, name): (Service, Caller, SandboxName),
) -> Result<End, Gone> {
    let (exec, tty) = match tokio::time::timeout(FIRST_WORD, first_word(listener)).await {
        Ok(word) => match word? {
            Ok(asked) => asked,
            Err(refusal) => return Ok(End::Refused(refusal)),
        },
        Err(_) => return Ok(End::Refused(Refusal::invalid("nothing was asked for in time"))),
    };
    let mut started =
        match service.exec(&caller, name.as_str(), exec, ExecExtra { input: Input::Open, tty }).await {
            Ok(started) => started,
            Err(error) => return Ok(End::Refused(error.into())),
        };
    let stdin = started.take_stdin();
    if started.is_running() {
        speaker.say(&ServerMessage::Started { id: started.info().id.clone() }).await?;
    }
    let control = started.control();
    let mut events = started.into_stream();
    // Dropped at the end of this function, whoever ends first: that kills a command that still runs.
    talk(speaker, listener, heard, &mut events, stdin, &control).await
}

async fn talk(
    speaker: &mut Speaker,
    listener: &mut Listener<'_>,
    heard: &Heard,
    events: &mut OutputEvents,
    stdin: Option<InputStream>,
    control: &CommandControl,
) -> Result<End, Gone> {
    let (mut sender, feed) = input(stdin);
    let feed = async {
        feed.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        end = bring_output(speaker, heard, events) => end,
        end = take_input(listener, &mut sender, control) => end.map(End::Refused),
        () = feed => Err(Gone),
    }
}

/// What to run: the client's first message.
async fn first_word(
    listener: &mut Listener<'_>,
) -> Result<Result<(ExecRequest, Option<TtySize>), Refusal>, Gone> {
    Ok(match listener.next().await? {
        Ok(Incoming::Said(ClientMessage::Exec { exec, tty })) => {
            Ok((exec, tty.map(|(rows, columns)| TtySize { rows, columns })))
        }
        Ok(_) => Err(unexpected("the first one says what to run: {\"type\":\"exec\",\"exec\":{...}}")),
        Err(refusal) => Err(refusal),
    })
}

async fn bring_output(speaker: &mut Speaker, heard: &Heard, events: &mut OutputEvents) -> Result<End, Gone> {
    loop {
        tokio::select! {
            event = events.next() => match event {
                Ok(Some(OutputEvent::Stdout(bytes))) => speaker.output(1, &bytes).await?,
                Ok(Some(OutputEvent::Stderr(bytes))) => speaker.output(2, &bytes).await?,
                Ok(Some(OutputEvent::End(result))) => return Ok(End::Command(result)),
                Ok(None) => return Err(Gone),
                Err(error) => return Ok(End::Refused(error.into())),
            },
            alive = speaker.keep_alive(heard) => alive?,
        }
    }
}

/// Passes the client's messages on until one of them is wrong.
async fn take_input(
    listener: &mut Listener<'_>,
    sender: &mut InputSender,
    control: &CommandControl,
) -> Result<Refusal, Gone> {
    loop {
        let done = match listener.next().await? {
            Ok(Incoming::Bytes(mut bytes)) if bytes.first() == Some(&STDIN) => {
                bytes.advance(1);
                sender.send(bytes).await;
                Ok(())
            }
            Ok(Incoming::Bytes(_)) => Err(unexpected("binary messages begin with a 0, for standard input")),
            Ok(Incoming::Said(ClientMessage::Eof)) => {
                sender.end();
                Ok(())
            }
            Ok(Incoming::Said(ClientMessage::Signal { signal })) => {
                control.signal(&signal).await.map_err(Refusal::from)
            }
            Ok(Incoming::Said(ClientMessage::Resize { rows, columns })) => {
                control.resize(TtySize { rows, columns }).await.map_err(Refusal::from)
            }
            Ok(Incoming::Said(ClientMessage::Exec { .. })) => Err(unexpected("the command runs already")),
            Err(refusal) => Err(refusal),
        };
        match done {
            // The command may have ended before the client knew: its end is on the way.
            Err(refusal) if refusal.code == agentkernel_api::ErrorCode::NotFound => {}
            Err(refusal) => return Ok(refusal),
            Ok(()) => {}
        }
    }
}
