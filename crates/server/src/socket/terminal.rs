//! One client of a terminal.

use agentkernel_api::{ClientMessage, ErrorCode, RunResult, ServerMessage};
use agentkernel_model::TtySize;
use agentkernel_service::{Attached, TerminalEvent, TerminalInput};
use axum::extract::ws::{WebSocket, close_code};
use bytes::Buf;

use super::connection::{Gone, Heard, Incoming, Listener, Speaker, split, unexpected};
use crate::answer::Refusal;

/// Input, as the first byte of a binary message.
const STDIN: u8 = 0;
/// What a terminal shows.
const SHOWN: u8 = 1;
/// The most that is sent in one message.
const MESSAGE_BYTES: usize = 256 * 1024;

/// How the client's hold ended.
enum End {
    Command(Box<RunResult>),
    Taken,
    Refused(Refusal),
}

/// Serves one client. When it goes away, the terminal lives on.
pub(crate) async fn serve_terminal(socket: WebSocket, mut attached: Attached) {
    let heard = Heard::new();
    let (mut speaker, mut listener) = split(socket, &heard);
    let input = attached.input();
    let end = tokio::select! {
        end = show(&mut speaker, &heard, &mut attached) => end,
        end = take_input(&mut listener, &input) => end.map(End::Refused),
    };
    match end {
        Ok(End::Command(result)) => {
            speaker.finish(listener, Some(&ServerMessage::Exit { result }), close_code::NORMAL).await;
        }
        Ok(End::Taken) => speaker.finish(listener, Some(&ServerMessage::Taken), close_code::NORMAL).await,
        Ok(End::Refused(refusal)) => speaker.fail(listener, &refusal).await,
        Err(Gone) => {}
    }
}

async fn show(speaker: &mut Speaker, heard: &Heard, attached: &mut Attached) -> Result<End, Gone> {
    speaker.say(&ServerMessage::Attached { id: attached.id.clone(), dropped: attached.dropped }).await?;
    let scrollback = std::mem::take(&mut attached.scrollback);
    for piece in scrollback.chunks(MESSAGE_BYTES) {
        speaker.output(SHOWN, piece).await?;
    }
    loop {
        tokio::select! {
            event = attached.next() => match event {
                TerminalEvent::Output(bytes) => speaker.output(SHOWN, &bytes).await?,
                TerminalEvent::Ended(result) => return Ok(End::Command(result)),
                TerminalEvent::Taken => return Ok(End::Taken),
                TerminalEvent::Closed => {
                    return Ok(End::Refused(Refusal::new(ErrorCode::NotFound, "the terminal was closed")));
                }
            },
            alive = speaker.keep_alive(heard) => alive?,
        }
    }
}

/// Passes the client's messages on until one of them is wrong.
async fn take_input(listener: &mut Listener<'_>, input: &TerminalInput) -> Result<Refusal, Gone> {
    loop {
        let done = match listener.next().await? {
            Ok(Incoming::Bytes(mut bytes)) if bytes.first() == Some(&STDIN) => {
                bytes.advance(1);
                input.send(bytes).await.map_err(Refusal::from)
            }
            Ok(Incoming::Bytes(_)) => Err(unexpected("binary messages begin with a 0, for input")),
            Ok(Incoming::Said(ClientMessage::Signal { signal })) => {
                input.signal(&signal).await.map_err(Refusal::from)
            }
            Ok(Incoming::Said(ClientMessage::Resize { rows, columns })) => {
                input.resize(TtySize { rows, columns }).await.map_err(Refusal::from)
            }
            Ok(Incoming::Said(_)) => Err(unexpected("a terminal takes input, resize and signal")),
            Err(refusal) => Err(refusal),
        };
        match done {
            // It has ended, or somebody else has it, before the client knew: the word is on the way.
            Err(refusal) if matches!(refusal.code, ErrorCode::NotFound | ErrorCode::Conflict) => {}
            Err(refusal) => return Ok(refusal),
            Ok(()) => {}
        }
    }
}
