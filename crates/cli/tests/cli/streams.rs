//! Standard streams: apart, whole, at once, and in bounded memory.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use crate::lab::{EASY, Lab, PROGRAM, code, errors, shown};

/// More than any buffer between the two ends.
const LARGE: usize = 64 * 1024 * 1024;

#[test]
fn both_outputs_stay_apart_and_keep_every_byte() {
    let Some(lab) = Lab::new("streams") else { return };
    let output = lab.run(&["sh", "-c", r"printf 'out\000\377'; printf 'err\001\376' >&2"]);
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"out\0\xff"[..], &b"err\x01\xfe"[..]));
}

#[test]
fn input_passes_through_to_its_end() {
    let Some(lab) = Lab::new("standard input") else { return };
    let arguments = [&["run"], &EASY[..], &["cat"]].concat();
    let input: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let output = lab.with_input(&arguments, &input);
    assert!(output.stdout == input, "{} bytes of {}", output.stdout.len(), input.len());
    assert_eq!(lab.with_input(&arguments, b"").stdout, b"");
    // A command that doesn't want its input isn't held up by it.
    let arguments = [&["run"], &EASY[..], &["head", "-c", "3"]].concat();
    let output = lab.with_input(&arguments, &input);
    assert_eq!((code(&output), &output.stdout[..]), (0, &input[..3]));
}

#[test]
fn output_comes_at_once_and_not_at_the_end() {
    let Some(lab) = Lab::new("streaming") else { return };
    let mut child = lab
        .command([&["run"], &EASY[..], &["sh", "-c", "echo first; read line; echo second"]].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    assert_eq!(line, "first\n");
    drop(child.stdin.take());
    line.clear();
    lines.read_line(&mut line).unwrap();
    assert_eq!(line, "second\n");
    assert!(child.wait().unwrap().success());
}

#[test]
fn large_output_is_whole_and_memory_stays_small() {
    let Some(lab) = Lab::new("large output") else { return };
    let count = LARGE.to_string();
    let mut child = lab
        .command([&["run"], &EASY[..], &["head", "-c", &count, "/dev/zero"]].concat())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let (mut total, mut buffer, mut peak_kib) = (0, vec![0; 1 << 20], 0);
    let status = format!("/proc/{}/status", child.id());
    loop {
        let count = stdout.read(&mut buffer).unwrap();
        if count == 0 {
            break;
        }
        assert!(buffer[..count].iter().all(|byte| *byte == 0));
        total += count;
        peak_kib = peak_kib.max(resident_kib(&status));
    }
    assert!(child.wait().unwrap().success());
    assert_eq!(total, LARGE);
    assert!(peak_kib < 48 * 1024, "{peak_kib} KiB resident");
}

/// VmHWM of proc_pid_status(5); 0 once the process is gone.
fn resident_kib(status: &str) -> usize {
    let text = std::fs::read_to_string(status).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[test]
fn a_closed_reader_ends_the_command_quietly() {
    let Some(lab) = Lab::new("closed standard output") else { return };
    let mut child = lab
        .command([&["run"], &EASY[..], &["yes"]].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut start = [0; 4];
    child.stdout.take().unwrap().read_exact(&mut start).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 141, "{}", shown(&output));
    assert!(output.stderr.is_empty(), "{}", shown(&output));
}

/// The program with a descriptor closed by the shell that starts it.
fn with_closed(lab: &Lab, redirection: &str, arguments: &[&str]) -> std::process::Output {
    let mut shell = std::process::Command::new("/bin/sh");
    shell.args(["-c", &format!("exec \"$0\" \"$@\" {redirection}"), PROGRAM]).args(arguments);
    for (name, value) in lab.command([""; 0]).get_envs() {
        shell.env(name, value.unwrap());
    }
    shell.output().unwrap()
}

#[test]
fn closed_standard_output_is_an_error_as_soon_as_something_is_written() {
    let lab = Lab::without_sandboxes();
    for arguments in [&["list", "--json"][..], &["--help"], &["version"], &["setup", "--check"]] {
        let output = with_closed(&lab, ">&-", arguments);
        assert_eq!(code(&output), 125, "{arguments:?}");
        assert!(errors(&output).contains("standard output is closed"), "{}", shown(&output));
    }
    let output = with_closed(&lab, ">&-", &["info", "nobody", "--json"]);
    assert!(errors(&output).contains("nobody"), "an error is told anyway: {}", shown(&output));
    assert_eq!(code(&with_closed(&lab, ">/dev/null", &["list", "--json"])), 0);
}

#[test]
fn a_command_whose_output_nobody_can_get_is_ended() {
    let Some(lab) = Lab::new("closed descriptors") else { return };
    let run = |redirection, command: &[&str]| {
        with_closed(&lab, redirection, &[&["run"], &EASY[..], command].concat())
    };
    let output = run(">&-", &["yes"]);
    assert_eq!(code(&output), 125, "{}", shown(&output));
    assert!(errors(&output).contains("standard output is closed"), "{}", shown(&output));
    assert_eq!(code(&run(">&-", &["sh", "-c", "exit 3"])), 3, "one that writes nothing misses nothing");
    assert_eq!(code(&run("2>&-", &["sh", "-c", "echo lost >&2; exit 4"])), 4, "messages may be lost");
    let output = run("<&-", &["cat"]);
    assert_eq!((code(&output), output.stdout.len()), (0, 0), "{}", shown(&output));
}

#[test]
fn what_a_command_leaves_behind_does_not_hold_the_caller() {
    let Some(lab) = Lab::new("left-over processes") else { return };
    let output = lab.run(&["sh", "-c", "sleep 300 & echo done"]);
    assert_eq!(output.stdout, b"done\n", "{}", shown(&output));
    lab.sandbox("server");
    let output = lab.output(["exec", "server", "sh", "-c", "sleep 300 & echo done"]);
    assert_eq!(output.stdout, b"done\n", "{}", shown(&output));
}

#[test]
fn a_file_is_written_where_it_was_opened_to() {
    let Some(lab) = Lab::new("output to a file") else { return };
    let path = lab.project().join("log");
    std::fs::write(&path, "before\n").unwrap();
    let file = std::fs::File::options().append(true).open(&path).unwrap();
    let status =
        lab.command([&["run"], &EASY[..], &["echo", "after"]].concat()).stdout(file).status().unwrap();
    assert!(status.success());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "before\nafter\n");
}
