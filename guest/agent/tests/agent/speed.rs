//! How fast bytes and short commands go through the agent. Run by hand, in release:
//! `cargo test --release -p agentkernel-guest-agent -- --ignored --nocapture speed`.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use agentkernel_backend::Guest;
use agentkernel_model::Outcome;
use tokio::io::AsyncReadExt;

use crate::{TestBox, request};

const BYTES: usize = 1 << 30;
const ROUNDS: usize = 5;

fn report(what: &str, mut times: Vec<Duration>, bytes: Option<usize>) {
    times.sort();
    let (best, median) = (times[0], times[times.len() / 2]);
    match bytes {
        Some(bytes) => {
            let rate = |time: Duration| bytes as f64 / time.as_secs_f64() / 1e9;
            println!("{what}: {:.2} GB/s at best, {:.2} in the middle", rate(best), rate(median));
        }
        None => println!("{what}: {best:.0?} at best, {median:.0?} in the middle"),
    }
}

/// Processor time of a process so far: what a busy machine doesn't blur.
fn processor_time(pid: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

fn source() -> Vec<String> {
    vec!["head".to_owned(), "-c".to_owned(), BYTES.to_string(), "/dev/zero".to_owned()]
}

fn plain_pipe() -> Duration {
    let words = source();
    let begun = Instant::now();
    let mut child = Command::new(&words[0]).args(&words[1..]).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let (mut buffer, mut total) = (vec![0; 64 * 1024], 0);
    loop {
        match stdout.read(&mut buffer).unwrap() {
            0 => break,
            length => total += length,
        }
    }
    assert_eq!(total, BYTES);
    child.wait().unwrap();
    begun.elapsed()
}

async fn through_the_agent(test: &TestBox) -> Duration {
    let words = source();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let begun = Instant::now();
    let mut execution = test.guest.exec(&request(&words)).await.unwrap();
    let (mut buffer, mut total) = (vec![0; 64 * 1024], 0);
    loop {
        match execution.stdout.read(&mut buffer).await.unwrap() {
            0 => break,
            length => total += length,
        }
    }
    assert_eq!(total, BYTES);
    assert_eq!(execution.control.wait().await.unwrap(), Outcome::Exited(0));
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn throughput() {
    let Some(test) = TestBox::start().await else { return };
    let (mut plain, mut agent) = (Vec::new(), Vec::new());
    let pid = test.agent_pid();
    let (mut host, mut guest) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        plain.push(tokio::task::spawn_blocking(plain_pipe).await.unwrap());
        let before = (processor_time("self"), processor_time(&pid));
        agent.push(through_the_agent(&test).await);
        host.push(processor_time("self") - before.0);
        guest.push(processor_time(&pid) - before.1);
    }
    report("a plain pipe", plain, Some(BYTES));
    report("through the agent", agent, Some(BYTES));
    report("the agent's processor time", guest, Some(BYTES));
    report("the host's processor time", host, Some(BYTES));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn log_throughput() {
    let Some(test) = TestBox::start().await else { return };
    let (mut written, mut followed, mut read) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..3 {
        let words = source();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut wish = request(&words);
        wish.detached_log_limit = Some(3 << 30);
        let begun = Instant::now();
        let id = test.guest.exec(&wish).await.unwrap().id;
        test.guest.wait(&id).await.unwrap();
        written.push(begun.elapsed());
        let begun = Instant::now();
        let mut log = test.guest.ordered_log(&id, 0, false).await.unwrap();
        let mut total = 0;
        while let Some(chunk) = log.chunks.next().await.unwrap() {
            total += chunk.bytes.len();
        }
        assert_eq!(total, BYTES);
        read.push(begun.elapsed());
        let begun = Instant::now();
        let log = test.guest.logs(&id, 0, false).await.unwrap();
        let (mut out, mut err) = (log.stdout, log.stderr);
        let (mut sink, mut none) = (tokio::io::sink(), tokio::io::sink());
        let copied = tokio::join!(tokio::io::copy(&mut out, &mut sink), tokio::io::copy(&mut err, &mut none));
        assert_eq!((copied.0.unwrap(), copied.1.unwrap()), (BYTES as u64, 0));
        followed.push(begun.elapsed());
    }
    report("into a log", written, Some(BYTES));
    report("a log in order", read, Some(BYTES));
    report("a log's streams", followed, Some(BYTES));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn latency() {
    let Some(test) = TestBox::start().await else { return };
    let (mut plain, mut agent) = (Vec::new(), Vec::new());
    for _ in 0..500 {
        let begun = Instant::now();
        let spawned = Command::new("/bin/true").stdin(Stdio::null()).stdout(Stdio::piped()).output().unwrap();
        assert!(spawned.status.success());
        plain.push(begun.elapsed());
        let begun = Instant::now();
        let (outcome, _, _) = crate::collect(test.guest.exec(&request(&["/bin/true"])).await.unwrap()).await;
        assert_eq!(outcome, Outcome::Exited(0));
        agent.push(begun.elapsed());
    }
    report("fork and exec", plain, None);
    report("through the agent", agent, None);
}
