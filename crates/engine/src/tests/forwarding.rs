//! Published ports.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agentkernel_model::{Phase, PublishedPort, SandboxName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Bench, name, plan, sh, spec};
use crate::forwarder::{ForwarderProgram, ForwarderSpawner, HeldForwarder, is_alive, serve};
use crate::{Engine, ErrorKind, ExecPlan, RunPlan};

const INSIDE: u16 = 7777;

fn port() -> PublishedPort {
    "0:7777".parse().unwrap()
}

/// The fake's echo server; runs until it is dropped.
fn echo_server() -> ExecPlan {
    ExecPlan::new(["sh", "-c", "the fake knows", "tcp-echo", "7777"])
}

async fn echo(address: SocketAddr, text: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Tries until the server inside listens.
async fn echo_soon(address: SocketAddr, text: &str) -> String {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        match echo(address, text).await {
            Ok(answer) if answer == text => return answer,
            other => assert!(tokio::time::Instant::now() < deadline, "{other:?}"),
        }
        tokio::task::yield_now().await;
    }
}

/// A spawner whose process is a `sleep` and whose listeners go to the test.
struct Caught {
    program: ForwarderProgram,
    listeners: Mutex<mpsc::Sender<Vec<(TcpListener, u16)>>>,
}

impl ForwarderSpawner for Caught {
    fn spawn(&self, name: &SandboxName) -> io::Result<HeldForwarder> {
        let held = self.program.spawn(name)?;
        let listeners = self.listeners.lock().unwrap().clone();
        let inner = held.release;
        let release = move |sockets: Vec<(TcpListener, u16)>| {
            let copies =
                sockets.iter().map(|(one, port)| Ok((one.try_clone()?, *port))).collect::<io::Result<_>>()?;
            listeners.send(copies).map_err(io::Error::other)?;
            inner(sockets)
        };
        Ok(HeldForwarder { process: held.process, release: Box::new(release) })
    }
}

fn with_spawner(bench: &Bench, script: &str) -> (Engine, mpsc::Receiver<Vec<(TcpListener, u16)>>) {
    let (send, receive) = mpsc::channel();
    let program = ForwarderProgram { program: "/bin/sh".into(), arguments: vec!["-c".into(), script.into()] };
    (bench.engine.clone().with_forwarders(Arc::new(Caught { program, listeners: Mutex::new(send) })), receive)
}

#[tokio::test]
async fn a_runs_ports_are_open_while_it_runs() {
    let bench = Bench::new();
    let mut published = spec();
    published.ports = vec![port()];
    let run = bench.engine.run(RunPlan { spec: published, ..plan(echo_server()) }).await.unwrap();
    let address = SocketAddr::new(run.published[0].address, run.published[0].host);
    assert_ne!(address.port(), 0);
    assert_eq!(echo_soon(address, "hello").await, "hello");
    let many: Vec<_> = (0..50).map(|n| tokio::spawn(echo_owned(address, n.to_string()))).collect();
    for (n, one) in many.into_iter().enumerate() {
        assert_eq!(one.await.unwrap().unwrap(), n.to_string());
    }
    run.finish().await.unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "closed with the run");
    bench.assert_nothing_left();
}

async fn echo_owned(address: SocketAddr, text: String) -> io::Result<String> {
    echo(address, &text).await
}

#[tokio::test]
async fn a_port_that_nobody_serves_inside_closes_the_connection() {
    let bench = Bench::new();
    let mut published = spec();
    published.ports = vec![port()];
    let run = bench.engine.run(RunPlan { spec: published, ..plan(sh("sleep 60")) }).await.unwrap();
    let address = SocketAddr::new(run.published[0].address, run.published[0].host);
    for _ in 0..3 {
        let answer = echo(address, "").await.unwrap_or_default();
        assert_eq!(answer, "");
    }
    run.finish().await.unwrap();
}

#[tokio::test]
async fn a_port_in_use_fails_before_the_sandbox_is_touched() {
    let bench = Bench::new();
    let (engine, _listeners) = with_spawner(&bench, "exec sleep 60");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut published = spec();
    published.ports = vec![PublishedPort { host: taken.local_addr().unwrap().port(), ..port() }];
    let error = engine.run(RunPlan { spec: published.clone(), ..plan(sh("true")) }).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains(&published.ports[0].host.to_string()), "{error}");
    engine.create(&name("a"), published, &[]).await.unwrap();
    assert!(engine.start(&name("a")).await.is_err());
    assert_eq!(engine.store().read(&name("a")).unwrap().phase, Phase::Stopped);
    drop(taken);
    engine.start(&name("a")).await.unwrap();
    engine.remove(&name("a"), true).await.unwrap();
    bench.assert_nothing_left();
    bench.fake.assert_clean();
}

#[tokio::test]
async fn without_a_forwarder_a_lasting_sandbox_with_ports_is_refused() {
    let bench = Bench::new();
    let mut published = spec();
    published.ports = vec![port()];
    let error = bench.engine.create(&name("a"), published, &[]).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    bench.assert_nothing_left();
}

#[tokio::test]
async fn a_started_sandboxs_ports_are_served_until_it_stops() {
    let bench = Bench::new();
    let (engine, listeners) = with_spawner(&bench, "exec sleep 60");
    let mut published = spec();
    published.ports = vec![port()];
    engine.create(&name("a"), published, &[]).await.unwrap();
    let view = engine.start(&name("a")).await.unwrap();
    let process = engine.store().read(&name("a")).unwrap().forwarder.unwrap();
    assert!(is_alive(&process));
    let serving = {
        let (engine, listeners) = (engine.clone(), listeners.recv().unwrap());
        tokio::spawn(async move { serve(&engine, &name("a"), listeners).await })
    };
    let address = SocketAddr::new(view.published[0].address, view.published[0].host);
    let server = engine.exec(&name("a"), echo_server()).await.unwrap();
    assert_eq!(echo_soon(address, "hello").await, "hello");
    drop(server);
    engine.stop(&name("a"), Duration::ZERO).await.unwrap();
    assert!(!is_alive(&process), "stop ends the forwarder");
    assert!(engine.info(&name("a")).await.unwrap().published.is_empty());
    tokio::time::timeout(Duration::from_secs(20), serving).await.unwrap().unwrap().unwrap();
    engine.remove(&name("a"), false).await.unwrap();
    bench.assert_nothing_left();
}

#[tokio::test]
async fn a_dead_forwarder_is_replaced_by_start_and_a_live_one_ended_by_recovery() {
    let bench = Bench::new();
    let (engine, _listeners) = with_spawner(&bench, "exec sleep 60");
    let mut published = spec();
    published.ports = vec![port()];
    engine.create(&name("a"), published, &[]).await.unwrap();
    engine.start(&name("a")).await.unwrap();
    let first = engine.store().read(&name("a")).unwrap();
    crate::forwarder::end_forwarder(&first).unwrap();
    engine.start(&name("a")).await.unwrap();
    let second = engine.store().read(&name("a")).unwrap().forwarder.unwrap();
    assert!(is_alive(&second) && first.forwarder != Some(second.clone()));
    // Its box dies by itself: the next command ends the forwarder.
    let record = engine.box_record(&engine.store().read(&name("a")).unwrap());
    agentkernel_backend::Backend::stop(&bench.fake, &record, Duration::ZERO).await.unwrap();
    assert_eq!(engine.recover().await.unwrap().stopped, [name("a")]);
    assert!(!is_alive(&second));
}

#[tokio::test]
async fn a_forwarder_that_cant_be_started_fails_the_start_cleanly() {
    let bench = Bench::new();
    let program = ForwarderProgram { program: "/nope".into(), arguments: Vec::new() };
    let engine = bench.engine.clone().with_forwarders(Arc::new(program));
    let mut published = spec();
    published.ports = vec![port()];
    engine.create(&name("a"), published, &[]).await.unwrap();
    let error = engine.start(&name("a")).await.err().unwrap();
    assert!(error.to_string().contains("could not start the process"), "{error}");
    assert_eq!(engine.info(&name("a")).await.unwrap().phase, Phase::Stopped);
    bench.fake.assert_clean();
}

#[tokio::test]
async fn forward_ports_ends_with_the_box() {
    let bench = Bench::new();
    let run = bench.engine.run(plan(sh("sleep 60"))).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (engine, guest) = (bench.engine.clone(), run.guest.clone());
    let forwarding = tokio::spawn(async move { engine.forward_ports(guest, vec![(listener, INSIDE)]).await });
    run.finish().await.unwrap();
    // The fake notes the use of a box that ended; that it is noticed is the point here.
    drop(echo(address, "x").await);
    let ended = tokio::time::timeout(Duration::from_secs(20), forwarding).await.unwrap().unwrap();
    assert!(ended.is_err());
}
