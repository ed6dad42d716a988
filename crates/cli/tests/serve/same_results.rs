//! The command line with and without a daemon: the same bytes, the same codes, the same isolation.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::Value;

use crate::lab::shown;
use crate::place::Place;
use crate::process::wait_until;
use crate::server::Server;

/// Boxes that were taken from the pool so far.
fn hits(daemon: &Server) -> u64 {
    let pool = daemon.get("/pool").data();
    pool["templates"].as_array().unwrap().iter().filter_map(|template| template["hits"].as_u64()).sum()
}

/// Boxes that wait in the pool.
pub(crate) fn ready(daemon: &Server) -> u64 {
    let pool = daemon.get("/pool").data();
    pool["templates"].as_array().unwrap().iter().filter_map(|template| template["ready"].as_u64()).sum()
}

/// A daemon that has learned what kind of box `run` wants here, and has one ready.
pub(crate) fn warm_daemon(place: &Place) -> Server {
    let daemon = Server::daemon(place);
    place.ok(&["run", "true"]);
    wait_until("a box to be ready", || ready(&daemon) > 0);
    daemon
}

/// The outputs of all `cases` without a daemon and then with one.
fn both(place: &Place, run: impl Fn() -> Vec<Output>) {
    let without = run();
    let daemon = warm_daemon(place);
    let before = hits(&daemon);
    let with = run();
    assert!(hits(&daemon) > before, "the daemon was not asked: {}", daemon.get("/pool").text());
    assert_eq!(without.len(), with.len());
    for (n, (without, with)) in without.iter().zip(&with).enumerate() {
        assert_eq!(without, with, "case {n}\nwithout: {}\nwith: {}", shown(without), shown(with));
    }
}

#[test]
fn codes_are_the_same_with_a_daemon() {
    let Some(place) = Place::new("exit codes with a daemon") else { return };
    both(&place, || {
        (0..=255).map(|code: u32| place.output(&["run", "sh", "-c", &format!("exit {code}")])).collect()
    });
}

#[test]
fn ends_of_every_kind_are_the_same_with_a_daemon() {
    let Some(place) = Place::new("ends of commands with a daemon") else { return };
    let cases: [&[&str]; 16] = [
        &["sh", "-c", r"printf 'out\000\377'; printf 'err\001\376' >&2; exit 3"],
        &["no-such-program"],
        &["/etc"],
        &["/etc/passwd"],
        &["sh", "-c", "kill -TERM $$"],
        &["sh", "-c", "kill -KILL $$"],
        &["sh", "-c", "kill -SEGV $$"],
        &["--timeout", "300ms", "sleep", "1000"],
        &["--workdir", "/nowhere", "true"],
        &["--workdir", "/tmp", "pwd"],
        &["--user", "nobody-at-all", "true"],
        &["--env", "A=b c", "sh", "-c", "echo \"$A\"; env | sort | grep -v ^HOSTNAME"],
        &["--no-such-flag", "true"],
        &["--profile", "nonsense", "true"],
        &["sh", "-c", "hostname; id; echo $HOME $PATH"],
        &["head", "-c", "5000000", "/dev/zero"],
    ];
    both(&place, || cases.iter().map(|case| place.output(&[&["run"], *case].concat())).collect());
}

#[test]
fn input_and_signals_are_the_same_with_a_daemon() {
    let Some(place) = Place::new("input with a daemon") else { return };
    let input: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let fed = |arguments: &[&str]| -> Output {
        let mut command = place.command(arguments);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut stdin, input) = (child.stdin.take().unwrap(), input.clone());
        // The command may not want all of it.
        let feeder = std::thread::spawn(move || stdin.write_all(&input).ok());
        let output = child.wait_with_output().unwrap();
        feeder.join().unwrap();
        output
    };
    let signalled = || -> Output {
        // The shell itself may say that its sleep was terminated, or not.
        let script =
            "exec 2>/dev/null; trap 'echo caught; exit 41' TERM; echo ready; while :; do sleep 0.02; done";
        let mut command = place.command(&["run", "sh", "-c", script]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut word = [0; 6];
        child.stdout.as_mut().unwrap().read_exact(&mut word).unwrap();
        let pid = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        child.wait_with_output().unwrap()
    };
    both(&place, || vec![fed(&["run", "cat"]), fed(&["run", "head", "-c", "3"]), signalled()]);
}

/// `run -it` on a terminal of this size; what it showed.
fn on_a_terminal(mut command: Command) -> Output {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let theirs = rustix::fs::open(ptsname(&ours, Vec::new()).unwrap(), flags, Mode::empty()).unwrap();
    tcsetwinsize(&theirs, Winsize { ws_row: 33, ws_col: 111, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let stdio = || Stdio::from(theirs.try_clone().unwrap());
    let mut child = command.stdin(stdio()).stdout(stdio()).stderr(stdio()).spawn().unwrap();
    drop((theirs, command));
    let (mut ours, mut shown) = (File::from(ours), Vec::new());
    // EIO once nobody has the other end.
    ours.read_to_end(&mut shown).ok();
    Output { status: child.wait().unwrap(), stdout: shown, stderr: Vec::new() }
}

#[test]
fn terminals_are_the_same_with_a_daemon() {
    let Some(place) = Place::new("terminals with a daemon") else { return };
    let script = "stty size; tty >/dev/null && echo terminal; echo err >&2; exit 9";
    both(&place, || vec![on_a_terminal(place.command(&["run", "-it", "sh", "-c", script]))]);
}

/// All that a command can see of its isolation, without what has a number of its own in each box.
const LOOK: &str = "grep -E '^(NoNewPrivs|Seccomp|Seccomp_filters|Cap...|Uid|Gid|Groups):' /proc/self/status; \
    for map in /proc/self/?id_map; do while read inside outside count; do echo $inside $count; done < $map; done; ulimit -a; hostname; ls /sys /dev /proc/net; \
    sed -E 's/^[0-9]+ [0-9]+ [0-9]+:[0-9]+ //; s/(shared|master|propagate_from):[0-9]+//g; s/([ug]id)=[0-9]+/\\1=ID/g' /proc/self/mountinfo | sort; \
    cat /proc/1/oom_score_adj; cat /sys/fs/cgroup/*.max 2>/dev/null";

#[test]
fn the_isolation_is_the_same_with_a_daemon() {
    let Some(place) = Place::new("isolation with a daemon") else { return };
    for profile in ["moderate", "restrictive", "permissive"] {
        let flags = ["run", "--profile", profile, "--memory", "300", "--pids", "77", "sh", "-c", LOOK];
        let without = place.output(&flags);
        assert!(!without.stdout.is_empty(), "{}", shown(&without));
        let daemon = Server::daemon(&place);
        // Cold the first time, and then from the pool.
        assert_eq!(normal(&place.output(&flags)), normal(&without), "{profile}, cold");
        // A kind with mounts, as permissive has, is never kept ready.
        let pooled = daemon.get("/pool").data()["templates"].as_array().is_some_and(|all| !all.is_empty());
        if pooled {
            wait_until("a box to be ready", || ready(&daemon) > 0);
        }
        let before = hits(&daemon);
        assert_eq!(normal(&place.output(&flags)), normal(&without), "{profile}, warm");
        assert_eq!(hits(&daemon) > before, pooled, "{profile}");
    }
}

/// Boxes' own names in paths of mounts differ from box to box.
fn normal(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    let words = text.split_inclusive([' ', '/', '\n', ',', '=']).map(|word| {
        let is_id = word.len() > 8
            && word.trim_end_matches([' ', '/', '\n', ',', '=']).bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_id { "ID " } else { word }
    });
    format!("{}\n{}", words.collect::<String>(), String::from_utf8_lossy(&output.stderr))
}

/// What this daemon was asked is what it makes: no other kind serves in its place.
#[test]
fn a_box_of_another_kind_is_never_taken() {
    let Some(place) = Place::new("kinds of boxes") else { return };
    let daemon = warm_daemon(&place);
    let before = hits(&daemon);
    for flags in [
        &["--profile", "restrictive"][..],
        &["--memory", "200"],
        &["--pids", "50"],
        &["--read-only"],
        &["--open-files", "99"],
    ] {
        place.ok(&[&["run"], flags, &["true"]].concat());
        assert_eq!(hits(&daemon), before, "{flags:?}");
    }
    let seen = place.ok(&["run", "--open-files", "99", "sh", "-c", "ulimit -n"]);
    assert_eq!(seen, "99\n");
    let data: Value = daemon.get("/pool").data();
    assert!(data["templates"].as_array().unwrap().len() > 1, "{data}");
}
