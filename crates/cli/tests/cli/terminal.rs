//! A terminal inside a terminal: raw while it lasts, as before afterwards.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::Stdio;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::lab::{EASY, Lab, wait_until};

/// Both ends of a pseudo-terminal.
fn pty() -> (File, OwnedFd) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let theirs =
        rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    tcsetwinsize(&theirs, Winsize { ws_row: 33, ws_col: 111, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    (File::from(ours), theirs)
}

fn stdio(terminal: &OwnedFd) -> Stdio {
    terminal.try_clone().unwrap().into()
}

/// Reads until `word` has come; returns all of it.
fn read_until(terminal: &mut File, word: &str) -> String {
    let (mut text, mut buffer) = (String::new(), [0; 1024]);
    while !text.contains(word) {
        let count = terminal.read(&mut buffer).unwrap();
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    text
}

#[test]
fn a_shell_on_a_terminal_has_its_size_and_leaves_it_as_it_was() {
    let Some(lab) = Lab::new("terminal") else { return };
    let (mut ours, theirs) = pty();
    let before = tcgetattr(&theirs).unwrap();
    let mut child = lab
        .command([&["run"], &EASY[..], &["-it", "sh"]].concat())
        .env("TERM", "xterm-test")
        .stdin(stdio(&theirs))
        .stdout(stdio(&theirs))
        .stderr(stdio(&theirs))
        .spawn()
        .unwrap();
    wait_until("the terminal to be raw", || {
        !tcgetattr(&theirs).unwrap().local_modes.contains(LocalModes::ICANON)
    });
    ours.write_all(b"stty size; echo $TERM; tty\r").unwrap();
    let text = read_until(&mut ours, "/dev/");
    assert!(text.contains("33 111") && text.contains("xterm-test"), "{text}");
    tcsetwinsize(&theirs, Winsize { ws_row: 44, ws_col: 99, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    // The terminal isn't the program's controlling one here, so the kernel doesn't tell it.
    let pid = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::WINCH).unwrap();
    ours.write_all(b"until [ \"$(stty size)\" = '44 99' ]; do :; done; echo re''sized; exit 4\r").unwrap();
    read_until(&mut ours, "resized");
    assert_eq!(child.wait().unwrap().code(), Some(4));
    let after = tcgetattr(&theirs).unwrap();
    assert_eq!(
        (after.local_modes, after.input_modes, after.output_modes),
        (before.local_modes, before.input_modes, before.output_modes)
    );
}

#[test]
fn control_c_goes_to_the_command_inside() {
    let Some(lab) = Lab::new("Ctrl-C in a terminal") else { return };
    let (mut ours, theirs) = pty();
    let mut child = lab
        .command([&["run"], &EASY[..], &["-it", "sh", "-c", "echo up; exec sleep 60"]].concat())
        .stdin(stdio(&theirs))
        .stdout(stdio(&theirs))
        .stderr(stdio(&theirs))
        .spawn()
        .unwrap();
    read_until(&mut ours, "up");
    wait_until("the terminal to be raw", || {
        !tcgetattr(&theirs).unwrap().local_modes.contains(LocalModes::ICANON)
    });
    ours.write_all(b"\x03").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
