//! Channels over a pair of pipes in memory, with honest and with hostile other sides.

use std::time::Duration;

use agentkernel_protocol::{
    Accepted, Channel, ConnectionError, Event, Frame, Guest, Hello, Host, Kind, MAGIC, MAX_CHANNELS,
    MAX_PAYLOAD, Machine, Request, Role, State, Stream, WINDOW, encode,
};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

fn pair() -> (Host, Guest) {
    let (one, other) = tokio::io::duplex(10_000);
    let (host, host_driver) = Host::new(one, "host");
    let (guest, guest_driver) = Guest::new(other, "guest");
    tokio::spawn(host_driver);
    tokio::spawn(guest_driver);
    (host, guest)
}

async fn channels() -> (Channel, Channel, (Host, Guest)) {
    let (host, guest) = pair();
    let ours = host.open(&Request::Executions).await.unwrap();
    let Accepted { channel, request } = guest.accept().await.unwrap();
    assert_eq!(request, Ok(Request::Executions));
    (ours, channel, (host, guest))
}

#[tokio::test]
async fn both_sides_say_hello() {
    let (host, _guest) = pair();
    assert_eq!(host.ready().await.unwrap().software, "guest");
}

#[tokio::test]
async fn messages_and_streams_arrive_in_order() {
    let (ours, theirs, _ends) = channels().await;
    theirs.send(&Event::Done).await.unwrap();
    assert_eq!(ours.receive().await, Ok(Some(Event::Done)));
    let content: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 253) as u8).collect();
    let mut writer = theirs.writer(Stream::Output);
    let mut reader = ours.reader(Stream::Output);
    let sent = content.clone();
    let task = tokio::spawn(async move {
        writer.write_all(&sent).await.unwrap();
        writer.shutdown().await.unwrap();
    });
    let mut got = Vec::new();
    reader.read_to_end(&mut got).await.unwrap();
    assert!(got == content);
    task.await.unwrap();
    drop(theirs);
    assert_eq!(ours.receive::<Event>().await, Ok(None));
}

#[tokio::test]
async fn a_stuck_stream_waits_and_others_dont() {
    let (ours, theirs, _ends) = channels().await;
    let mut stuck = theirs.writer(Stream::Output);
    let written = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&written);
    let task = tokio::spawn(async move {
        while let Ok(length) = stuck.write(&[1; 50_000]).await {
            count.fetch_add(length, std::sync::atomic::Ordering::Relaxed);
        }
    });
    let mut other = theirs.writer(Stream::Error);
    let mut reader = ours.reader(Stream::Error);
    let writing = tokio::spawn(async move {
        other.write_all(&vec![3; 1_000_000]).await.unwrap();
        other.finish();
    });
    let mut got = Vec::new();
    reader.read_to_end(&mut got).await.unwrap();
    writing.await.unwrap();
    while written.load(std::sync::atomic::Ordering::Relaxed) < WINDOW as usize {
        tokio::task::yield_now().await;
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(written.load(std::sync::atomic::Ordering::Relaxed), WINDOW as usize);
    // Nobody will ever read it: the writer learns that.
    drop(ours.reader(Stream::Output));
    tokio::time::timeout(Duration::from_secs(10), task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_thousand_channels_at_once() {
    let (host, guest) = pair();
    let server = tokio::spawn(async move {
        while let Ok(Accepted { channel, .. }) = guest.accept().await {
            tokio::spawn(async move {
                let mut reader = channel.reader(Stream::Input);
                let mut writer = channel.writer(Stream::Output);
                tokio::io::copy(&mut reader, &mut writer).await.unwrap();
                writer.finish();
                channel.send(&Event::Ended(State::Exited(0))).await.unwrap();
            });
        }
    });
    let mut tasks = Vec::new();
    for number in 0..1000_u32 {
        let channel = host.open(&Request::Connect { port: 1 }).await.unwrap();
        tasks.push(tokio::spawn(async move {
            let mut writer = channel.writer(Stream::Input);
            let mut reader = channel.reader(Stream::Output);
            let content = number.to_le_bytes().repeat(2000);
            writer.write_all(&content).await.unwrap();
            writer.finish();
            let mut back = Vec::new();
            reader.read_to_end(&mut back).await.unwrap();
            assert!(back == content);
            assert_eq!(channel.receive().await, Ok(Some(Event::Ended(State::Exited(0)))));
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    drop(host);
    server.await.unwrap();
}

#[tokio::test]
async fn large_requests_travel_in_parts() {
    let (host, guest) = pair();
    let path = agentkernel_protocol::ByteVec::from(vec![b'a'; 2_000_000]);
    let request = Request::Stat { path };
    let (one, other) = (host.open(&request).await.unwrap(), host.open(&Request::Processes).await.unwrap());
    assert_eq!(guest.accept().await.unwrap().request, Ok(request));
    assert_eq!(guest.accept().await.unwrap().request, Ok(Request::Processes));
    let long = Request::Stat { path: vec![0; 5_000_000].into() };
    assert_eq!(host.open(&long).await.err(), Some(ConnectionError::RequestTooLong));
    drop((one, other));
}

#[tokio::test]
async fn an_unfinished_stream_is_not_taken_for_a_whole_one() {
    let (ours, theirs, _ends) = channels().await;
    let mut writer = theirs.writer(Stream::Output);
    writer.write_all(b"half").await.unwrap();
    drop(writer);
    let mut got = Vec::new();
    let error = ours.reader(Stream::Output).read_to_end(&mut got).await.unwrap_err();
    assert_eq!((got.as_slice(), error.kind()), (&b"half"[..], std::io::ErrorKind::ConnectionAborted));
}

#[tokio::test]
async fn the_end_of_a_side_ends_everything_of_the_other() {
    let (ours, theirs, (host, guest)) = channels().await;
    let mut reader = ours.reader(Stream::Output);
    drop((theirs, guest));
    let mut got = Vec::new();
    assert!(reader.read_to_end(&mut got).await.is_err());
    // The guest has closed the channel first; then the connection.
    tokio::time::timeout(Duration::from_secs(10), async {
        while host.closed().is_none() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert_eq!(host.open(&Request::Executions).await.err(), Some(ConnectionError::Closed));
}

/// A host whose guest is played by the test, byte by byte.
fn hostile() -> (Host, DuplexStream, tokio::task::JoinHandle<ConnectionError>) {
    let (one, other) = tokio::io::duplex(1 << 20);
    let (host, driver) = Host::new(one, "host");
    (host, other, tokio::spawn(driver))
}

fn hello(major: u32) -> Vec<u8> {
    let hello = Hello {
        magic: MAGIC.to_vec().into(),
        major,
        minor: 9,
        software: "evil".into(),
        max_payload: MAX_PAYLOAD as u32,
        window: WINDOW,
    };
    frame(0, Kind::Hello, &encode(&hello))
}

fn frame(channel: u32, kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Frame { channel, kind, payload }.encode(&mut bytes);
    bytes
}

async fn verdict(sent: Vec<u8>) -> ConnectionError {
    let (host, mut wire, driver) = hostile();
    let _channel = host.open(&Request::Executions).await.unwrap();
    wire.write_all(&sent).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), driver).await.unwrap().unwrap()
}

#[tokio::test]
async fn who_breaks_the_rules_is_cut_off() {
    let full = [0; MAX_PAYLOAD];
    let data = |kind| frame(1, kind, b"x");
    let output = Kind::Data(Stream::Output);
    let cases: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("unexpected", vec![frame(2, output, b"x")]),
        ("goes the other way", vec![data(Kind::Data(Stream::Input))]),
        ("more bytes", vec![frame(1, output, &full); 5]),
        ("ended stream", vec![frame(1, Kind::End(Stream::Output), b""), data(output)]),
        ("has ended", vec![frame(1, Kind::End(Stream::Output), b""); 2]),
        ("is closed", vec![frame(1, Kind::Close, b""), data(output)]),
        ("flooded", vec![frame(1, Kind::Message, &encode(&Event::Done)); 300]),
        ("flooded", vec![frame(1, Kind::Message, &full); 5]),
        ("beyond the window", vec![frame(1, Kind::Credit(Stream::Input), &1_u32.to_le_bytes())]),
        ("beyond the window", vec![frame(1, Kind::Credit(Stream::Input), b"")]),
        ("only a host", vec![frame(9, Kind::Open, b"")]),
        ("second hello", vec![hello(1)]),
        ("unknown kind", vec![vec![0, 0, 0, 0, 1, 0, 0, 0, 0xee]]),
        ("more than", vec![vec![0xff; 9]]),
    ];
    for (expected, frames) in cases {
        let error = verdict([hello(1), frames.concat()].concat()).await.to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
    assert_eq!(verdict(hello(2)).await, ConnectionError::Version { ours: 1, theirs: 2 });
    let other = verdict(b"HTTP/1.1 400 Bad Request\r\n".to_vec()).await;
    assert!(matches!(other, ConnectionError::Frame(_)), "{other}");
    assert_eq!(verdict(frame(1, Kind::Close, b"")).await, ConnectionError::NotOurs);
}

#[tokio::test]
async fn a_guest_that_opens_is_bounded_by_a_number() {
    let mut machine = Machine::new(Role::Guest, "guest");
    machine.receive(&hello(1)).unwrap();
    let request = encode(&Request::Executions);
    for channel in 1..=MAX_CHANNELS as u32 {
        machine.receive(&frame(channel, Kind::Open, &request)).unwrap();
        machine.accept().unwrap();
    }
    let one_more = machine.receive(&frame(MAX_CHANNELS as u32 + 1, Kind::Open, &request));
    assert_eq!(one_more, Err(ConnectionError::TooManyChannels));
}

#[tokio::test]
async fn a_guest_that_never_closes_does_not_fill_the_host() {
    let (host, mut wire, _driver) = hostile();
    wire.write_all(&hello(1)).await.unwrap();
    let reader = tokio::spawn(async move {
        let mut sink = vec![0; 1 << 16];
        while wire.read(&mut sink).await.is_ok_and(|length| length > 0) {}
    });
    let mut opened = 0;
    let error = loop {
        match host.open(&Request::Executions).await {
            Ok(channel) => drop(channel),
            Err(error) => break error,
        }
        opened += 1;
    };
    assert_eq!((opened, error), (MAX_CHANNELS, ConnectionError::TooManyChannels));
    drop(host);
    reader.await.unwrap();
}

proptest! {
    #[test]
    fn any_bytes_are_taken_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..500),
        kinds in prop::collection::vec((0_u32..4, any::<u8>(), prop::collection::vec(any::<u8>(), 0..20)), 0..50),
    ) {
        for role in [Role::Host, Role::Guest] {
            let mut machine = Machine::new(role, "x");
            machine.receive(&hello(1)).unwrap();
            if role == Role::Host {
                machine.open(b"").unwrap();
            }
            let mut wire = Vec::new();
            for (channel, number, payload) in &kinds {
                if let Some(kind) = Kind::from_number(*number) {
                    wire.extend(frame(*channel, kind, payload));
                }
            }
            let result = machine.receive(&wire).and_then(|_| machine.receive(&bytes));
            prop_assert!(result.is_err() || result.is_ok_and(|taken| taken <= bytes.len()));
        }
    }

    #[test]
    fn frames_may_be_cut_anywhere(cuts in prop::collection::vec(1_usize..50, 1..100)) {
        let mut host = Machine::new(Role::Host, "host");
        host.open(&encode(&Request::Stat { path: vec![7; 1000].into() })).unwrap();
        host.open(&encode(&Request::Processes)).unwrap();
        let wire = host.take_outgoing(Vec::new()).unwrap();
        let mut guest = Machine::new(Role::Guest, "guest");
        let (mut pending, mut rest) = (Vec::new(), wire.as_slice());
        for cut in cuts.iter().cycle() {
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            pending.extend_from_slice(now);
            let taken = guest.receive(&pending).unwrap();
            pending.drain(..taken);
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert!(pending.is_empty());
        prop_assert_eq!(guest.accept().map(|(id, _)| id), Some(1));
        prop_assert_eq!(guest.accept().map(|(id, _)| id), Some(2));
    }
}
