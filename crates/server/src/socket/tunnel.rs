//! `ports/{port}`: a connection to a TCP port inside, as binary messages both ways.

use agentkernel_api::{ClientMessage, ErrorCode};
use agentkernel_backend::TcpStreamInside;
use axum::extract::ws::{WebSocket, close_code};
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, ReadHalf};

use super::connection::{Gone, Heard, Incoming, Listener, Speaker, split, unexpected};
use super::input::{InputSender, input};
use crate::answer::Refusal;

/// How much is read at a time.
const CHUNK_BYTES: usize = 64 * 1024;

type Inside = Box<dyn TcpStreamInside>;

/// Carries bytes until one side ends. The client's `eof` ends only its own direction.
pub(crate) async fn serve_tunnel(socket: WebSocket, inside: Inside) {
    let heard = Heard::new();
    let (mut speaker, mut listener) = split(socket, &heard);
    let (mut from, to) = tokio::io::split(inside);
    let (mut sender, feed) = input(Some(Box::new(to)));
    let feed = async {
        feed.await;
        std::future::pending::<()>().await;
    };
    let end = tokio::select! {
        end = bring(&mut speaker, &heard, &mut from) => end,
        end = take(&mut listener, &mut sender) => end.map(Err),
        () = feed => Err(Gone),
    };
    match end {
        Ok(Ok(())) => speaker.finish(listener, None, close_code::NORMAL).await,
        Ok(Err(refusal)) => speaker.fail(listener, &refusal).await,
        Err(Gone) => {}
    }
}

async fn bring(
    speaker: &mut Speaker,
    heard: &Heard,
    from: &mut ReadHalf<Inside>,
) -> Result<Result<(), Refusal>, Gone> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(CHUNK_BYTES);
        tokio::select! {
            read = from.read_buf(&mut buffer) => match read {
                Ok(0) => return Ok(Ok(())),
                Ok(_) => speaker.bytes(buffer.split().freeze()).await?,
                Err(error) => {
                    let message = format!("the connection inside broke: {error}");
                    return Ok(Err(Refusal::new(ErrorCode::BoxFailed, message)));
                }
            },
            alive = speaker.keep_alive(heard) => alive?,
        }
    }
}

async fn take(listener: &mut Listener<'_>, sender: &mut InputSender) -> Result<Refusal, Gone> {
    loop {
        match listener.next().await? {
            Ok(Incoming::Bytes(bytes)) => sender.send(bytes).await,
            Ok(Incoming::Said(ClientMessage::Eof)) => sender.end(),
            Ok(Incoming::Said(_)) => return Ok(unexpected("only bytes and eof go to a port")),
            Err(refusal) => return Ok(refusal),
        }
    }
}
