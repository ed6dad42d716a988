//! Connections to TCP ports of the box's loopback.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use agentkernel_protocol::{Channel, Event, Failure, FailureKind, Stream};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::failure::{failure, io};

/// Connects and moves bytes until both directions have ended, or the host is gone.
pub(crate) async fn connect(channel: &Channel, port: u16) -> Result<(), Failure> {
    if port == 0 {
        return Err(failure(FailureKind::Invalid, "port 0 can't be connected to"));
    }
    let stream = tokio::select! {
        stream = open(port) => stream?,
        _ = channel.receive::<Event>() => return Ok(()),
    };
    channel.send(&Event::Done).await.ok();
    let (mut from_port, mut to_port) = stream.into_split();
    let mut writer = channel.writer(Stream::Output);
    let mut reader = channel.reader(Stream::Input);
    let outward = async {
        // A reset is no proper end: the host sees an aborted stream.
        if tokio::io::copy(&mut from_port, &mut writer).await.is_ok() {
            writer.shutdown().await.ok();
        }
        drop(writer);
    };
    let inward = async {
        if tokio::io::copy(&mut reader, &mut to_port).await.is_ok() {
            to_port.shutdown().await.ok();
        }
        drop(reader);
    };
    tokio::select! {
        _ = async { tokio::join!(outward, inward) } => {}
        _ = channel.receive::<Event>() => {}
    }
    Ok(())
}

async fn open(port: u16) -> Result<TcpStream, Failure> {
    let v4 = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await;
    let error = match v4 {
        Ok(stream) => return Ok(stream),
        Err(error) => error,
    };
    match TcpStream::connect(SocketAddr::from((Ipv6Addr::LOCALHOST, port))).await {
        Ok(stream) => Ok(stream),
        // The first reason is the better known one.
        Err(_) => Err(match error.kind() {
            std::io::ErrorKind::ConnectionRefused => {
                failure(FailureKind::NotFound, format!("nothing listens on port {port}"))
            }
            _ => io(&format!("connecting to port {port}"), &error),
        }),
    }
}
