//! The programs of a fake box.

use agentkernel_backend::FileKind;
use agentkernel_model::{ByteString, CannotExec};
use tokio::sync::mpsc;

use super::machine::Sandbox;
use super::shell::Shell;
use super::tree::{Content, Node, TreeError, join, name};

/// What `/bin` holds.
pub(super) const NAMES: [&str; 26] = [
    "[", "cat", "chmod", "date", "echo", "env", "false", "head", "id", "kill", "ln", "ls", "mkdir", "mkfifo",
    "mv", "printf", "pwd", "rm", "seq", "sh", "sleep", "test", "touch", "true", "wc", "yes",
];

/// `sh -c SCRIPT tcp-echo PORT` is an echo server here whatever the script says: the suite's scripts pick one of several
/// languages for it, none of which the fake speaks.
pub(super) const TCP_ECHO: &[u8] = b"tcp-echo";

/// What a name in argv leads to.
pub(super) enum Program {
    BuiltIn(String),
    Script(Vec<u8>),
}

/// Looks `program` up as execvp(3) does.
pub(super) fn find(
    sandbox: &Sandbox,
    env: &[(Vec<u8>, Vec<u8>)],
    cwd: &[u8],
    uid: u32,
    program: &[u8],
) -> Result<Program, CannotExec> {
    let missing = || CannotExec::NotFound { program: ByteString(program.to_vec()) };
    if program.is_empty() {
        return Err(missing());
    }
    let path = if program.contains(&b'/') {
        join(cwd, program)
    } else {
        let search =
            env.iter().find(|(name, _)| name == b"PATH").map_or(&b"/bin:/usr/bin"[..], |(_, value)| value);
        let mut places = search.split(|byte| *byte == b':').map(|folder| join(folder, program));
        places.find(|place| sandbox.files(|tree| tree.get(place, true).is_ok())).ok_or_else(missing)?
    };
    let denied =
        |why: &str| CannotExec::NotExecutable { program: ByteString(program.to_vec()), why: why.to_owned() };
    sandbox.files(|tree| {
        let (at, node) = match tree.get(&path, true) {
            Ok(found) => found,
            Err(TreeError::NotFound) => return Err(missing()),
            Err(error) => return Err(denied(&error.to_string())),
        };
        match &node.content {
            Content::File(_) if node.mode & 0o111 == 0 || tree.may(&at, uid, 0o1).is_err() => {
                Err(denied("Permission denied"))
            }
            Content::File(bytes) if bytes.starts_with(b"\x7fELF") => {
                Ok(Program::BuiltIn(String::from_utf8_lossy(name(&at)).into_owned()))
            }
            Content::File(bytes) if bytes.starts_with(b"#!/bin/sh\n") => {
                Ok(Program::Script(bytes[10..].to_vec()))
            }
            Content::File(_) => Err(denied("Exec format error")),
            _ => Err(denied("Permission denied")),
        }
    })
}

/// What a file holds for a process: the tree's files, and the few of `/proc` that tests look at.
pub(super) fn open(shell: &Shell, path: &[u8]) -> Result<Vec<u8>, TreeError> {
    match path {
        b"/proc/self/environ" => {
            Ok(shell.env.iter().flat_map(|(name, value)| [name, &b"="[..], value, b"\0"].concat()).collect())
        }
        b"/proc/self/status" => Ok(format!("Groups:\t{}\n", shell.gid).into_bytes()),
        b"/proc/sys/kernel/hostname" => Ok(format!("{}\n", shell.sandbox.spec.hostname).into_bytes()),
        b"/proc/sys/kernel/random/uuid" => {
            let mut random = [0; 16];
            rustix::rand::getrandom(&mut random[..], rustix::rand::GetRandomFlags::empty())
                .map_err(|_| TreeError::Invalid)?;
            Ok(format!("{:032x}\n", u128::from_ne_bytes(random)).into_bytes())
        }
        b"/proc/net/dev" => Ok(b"Inter-|   Receive\n face |bytes\n    lo:       0\n".to_vec()),
        b"/proc/net/route" => Ok(b"Iface\tDestination\tGateway\n".to_vec()),
        _ => shell.sandbox.files(|tree| {
            tree.may(path, shell.uid, 0o4)?;
            tree.read(path)
        }),
    }
}

/// Runs a program; its exit status.
pub(super) async fn run(shell: &mut Shell, program: &str, argv: &[Vec<u8>]) -> u8 {
    let text: Vec<String> =
        argv.iter().skip(1).map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect();
    let first = text.first().map_or("", String::as_str);
    match program {
        "true" => 0,
        "false" => 1,
        "echo" => {
            let line = [argv[1..].join(&b' ').as_slice(), b"\n"].concat();
            shell.out(&line).await;
            0
        }
        "printf" => {
            let line =
                format_all(argv.get(1).map_or(&b""[..], Vec::as_slice), argv.get(2..).unwrap_or_default());
            shell.out(&line).await;
            0
        }
        "pwd" => {
            shell.out(&[shell.cwd.as_slice(), b"\n"].concat()).await;
            0
        }
        "env" => {
            let all: Vec<u8> =
                shell.env.iter().flat_map(|(name, value)| [name, &b"="[..], value, b"\n"].concat()).collect();
            shell.out(&all).await;
            0
        }
        "date" if first == "+%s" => {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            shell.out(format!("{}\n", now.as_secs()).as_bytes()).await;
            0
        }
        "id" => {
            let id = if first == "-u" { shell.uid } else { shell.gid };
            shell.out(format!("{id}\n").as_bytes()).await;
            0
        }
        "sleep" => match first.parse() {
            Ok(seconds) => {
                tokio::time::sleep(std::time::Duration::from_secs_f64(seconds)).await;
                0
            }
            Err(_) => 1,
        },
        "seq" => sequence(shell, &text).await,
        "yes" => loop {
            shell.out(&b"y\n".repeat(4096)).await;
        },
        "cat" => cat(shell, &argv[1..]).await,
        "head" | "wc" => count(shell, program, &text).await,
        "kill" => kill(shell, &text).await,
        "test" | "[" => u8::from(!test(shell, &text)),
        _ => files(shell, program, argv).await,
    }
}

async fn sequence(shell: &Shell, text: &[String]) -> u8 {
    let [from, to] = text else { return 1 };
    let (Ok(from), Ok(to)) = (from.parse::<u64>(), to.parse::<u64>()) else { return 1 };
    let mut piece = Vec::with_capacity(70_000);
    for number in from..=to {
        piece.extend_from_slice(number.to_string().as_bytes());
        piece.push(b'\n');
        if piece.len() > 65_536 {
            shell.out(&piece).await;
            piece.clear();
        }
    }
    shell.out(&piece).await;
    0
}

async fn cat(shell: &Shell, paths: &[Vec<u8>]) -> u8 {
    if paths.is_empty() {
        let mut buffer = vec![0; 65_536];
        loop {
            match shell.read(&mut buffer).await {
                0 => return 0,
                length => shell.out(&buffer[..length]).await,
            }
        }
    }
    let mut status = 0;
    for path in paths {
        match open(shell, &join(&shell.cwd, path)) {
            Ok(content) => shell.out(&content).await,
            Err(error) => {
                shell.complain(&format!("cat: {}: {error}", String::from_utf8_lossy(path))).await;
                status = 1;
            }
        }
    }
    status
}

/// `head -c N` and `wc -c`, of standard input.
async fn count(shell: &Shell, program: &str, text: &[String]) -> u8 {
    let limit = match (program, text) {
        ("head", [flag, number]) if flag == "-c" => number.parse().unwrap_or(0),
        ("wc", [flag]) if flag == "-c" => u64::MAX,
        _ => return 2,
    };
    let mut buffer = vec![0; 65_536];
    let mut total = 0;
    while total < limit {
        let want = (limit - total).min(65_536) as usize;
        match shell.read(&mut buffer[..want]).await {
            0 => break,
            length => {
                total += length as u64;
                if program == "head" {
                    shell.out(&buffer[..length]).await;
                }
            }
        }
    }
    if program == "wc" {
        shell.out(format!("{total}\n").as_bytes()).await;
    }
    0
}

async fn kill(shell: &Shell, text: &[String]) -> u8 {
    let (signal, pid) = match text {
        [pid] => ("TERM", pid),
        [flag, pid] => (flag.trim_start_matches('-'), pid),
        _ => return 2,
    };
    let Ok(pid) = pid.parse::<u32>() else { return 2 };
    if pid == shell.command.pid {
        shell.die(signal).await;
    }
    let processes = shell.sandbox.processes.lock().expect("no panic while locked");
    match processes.get(&pid) {
        Some(process) => {
            process.kill.send_replace(true);
            0
        }
        None => 1,
    }
}

fn test(shell: &Shell, text: &[String]) -> bool {
    let words: Vec<&str> = text.iter().map(String::as_str).filter(|word| *word != "]").collect();
    let kind = |path: &str| {
        let path = join(&shell.cwd, path.as_bytes());
        shell
            .sandbox
            .files(|tree| tree.get(&path, true).map(|(at, node)| super::tree::info(&at, node).kind))
            .ok()
    };
    match words.as_slice() {
        ["!", rest @ ..] => !test(shell, &rest.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()),
        ["-e", path] => kind(path).is_some(),
        ["-f", path] => kind(path) == Some(FileKind::File),
        ["-d", path] => kind(path) == Some(FileKind::Directory),
        ["-n", word] => !word.is_empty(),
        ["-z", word] => word.is_empty(),
        [left, "=", right] => left == right,
        [left, "!=", right] => left != right,
        [left, operator, right] => match (left.parse::<i64>(), *operator, right.parse::<i64>()) {
            (Ok(left), "-lt", Ok(right)) => left < right,
            (Ok(left), "-le", Ok(right)) => left <= right,
            (Ok(left), "-eq", Ok(right)) => left == right,
            (Ok(left), "-gt", Ok(right)) => left > right,
            _ => false,
        },
        [word] => !word.is_empty(),
        _ => false,
    }
}

/// The programs that only change or list files.
async fn files(shell: &Shell, program: &str, argv: &[Vec<u8>]) -> u8 {
    let flags: Vec<&[u8]> =
        argv[1..].iter().map(Vec::as_slice).filter(|word| word.starts_with(b"-")).collect();
    let paths: Vec<Vec<u8>> =
        argv[1..].iter().filter(|word| !word.starts_with(b"-")).map(|word| join(&shell.cwd, word)).collect();
    let new = |content, mode| Node { content, mode, uid: shell.uid, gid: shell.gid };
    let done = shell.sandbox.files(|tree| -> Result<Vec<u8>, TreeError> {
        match (program, paths.as_slice()) {
            ("ls", []) => Ok(tree
                .list(&shell.cwd)?
                .iter()
                .flat_map(|entry| [entry.name.as_bytes(), b"\n"].concat())
                .collect()),
            ("ls", [path, ..]) => Ok(tree
                .list(path)?
                .iter()
                .flat_map(|entry| [entry.name.as_bytes(), b"\n"].concat())
                .collect()),
            ("mkdir", paths) => {
                for path in paths {
                    if flags.contains(&&b"-p"[..]) {
                        tree.make_dir(path, None)?;
                    } else {
                        tree.add(path, new(Content::Directory, 0o755))?;
                    }
                }
                Ok(Vec::new())
            }
            ("mkfifo", [path]) => tree.add(path, new(Content::Special("pipe"), 0o644)).map(|()| Vec::new()),
            ("touch", paths) => {
                for path in paths {
                    let old = tree.read(path).unwrap_or_default();
                    tree.write(path, None, old, shell.uid)?;
                }
                Ok(Vec::new())
            }
            ("rm", paths) => {
                for path in paths {
                    match tree.remove(path, flags.iter().any(|flag| flag.contains(&b'r'))) {
                        Err(TreeError::NotFound) if flags.iter().any(|flag| flag.contains(&b'f')) => {}
                        other => other?,
                    }
                }
                Ok(Vec::new())
            }
            ("ln", [_, link]) => {
                // A link keeps its text, so that is taken unjoined.
                let target =
                    argv[1..].iter().find(|word| !word.starts_with(b"-")).cloned().unwrap_or_default();
                tree.add(link, new(Content::Link(target), 0o777)).map(|()| Vec::new())
            }
            ("chmod", [mode, path]) => {
                let mode = u32::from_str_radix(&String::from_utf8_lossy(name(mode)), 8);
                tree.set_mode(path, mode.map_err(|_| TreeError::Invalid)?).map(|()| Vec::new())
            }
            ("mv", [from, to]) => {
                let node = tree.get(from, false)?.1.clone();
                tree.remove(from, false)?;
                tree.add(to, node).map(|()| Vec::new())
            }
            _ => Err(TreeError::Invalid),
        }
    });
    match done {
        Ok(output) => {
            shell.out(&output).await;
            0
        }
        Err(error) => {
            let first =
                argv.last().map_or_else(String::new, |path| String::from_utf8_lossy(path).into_owned());
            shell.complain(&format!("{program}: {first}: {error}")).await;
            1
        }
    }
}

/// printf(1): `%s`, `%%` and the backslash escapes; the format is used again while arguments are left.
fn format_all(format: &[u8], arguments: &[Vec<u8>]) -> Vec<u8> {
    let mut output = Vec::new();
    let mut rest = arguments.iter();
    loop {
        let before = rest.len();
        let mut bytes = format.iter().copied().peekable();
        while let Some(byte) = bytes.next() {
            match (byte, bytes.peek()) {
                (b'%', Some(b's')) => {
                    bytes.next();
                    output.extend(rest.next().cloned().unwrap_or_default());
                }
                (b'%', Some(b'%')) => {
                    bytes.next();
                    output.push(b'%');
                }
                (b'\\', Some(b'0'..=b'7')) => {
                    let mut value = 0u32;
                    for _ in 0..3 {
                        let Some(digit) = bytes.next_if(|digit| (b'0'..=b'7').contains(digit)) else { break };
                        value = value * 8 + u32::from(digit - b'0');
                    }
                    output.push(value as u8);
                }
                (b'\\', Some(next)) => {
                    output.push(match next {
                        b'n' => b'\n',
                        b't' => b'\t',
                        b'r' => b'\r',
                        other => *other,
                    });
                    bytes.next();
                }
                _ => output.push(byte),
            }
        }
        if rest.len() == 0 || rest.len() == before {
            return output;
        }
    }
}

/// A TCP server that sends back what it gets and closes after the other end has.
pub(super) async fn tcp_echo(shell: &Shell, port: Option<&Vec<u8>>) -> u8 {
    let port = port.and_then(|port| String::from_utf8_lossy(port).parse::<u16>().ok());
    let Some(port) = port else { return 2 };
    let (listener, mut connections) = mpsc::unbounded_channel();
    shell.sandbox.ports.lock().expect("no panic while locked").insert(port, listener);
    while let Some(connection) = connections.recv().await {
        let sandbox = std::sync::Arc::clone(&shell.sandbox);
        tokio::spawn(async move {
            let (mut from, mut to) = tokio::io::split(connection);
            // A client that goes away ends its connection, not the server.
            drop(sandbox.in_its_time(tokio::io::copy(&mut from, &mut to)).await);
            drop(tokio::io::AsyncWriteExt::shutdown(&mut to).await);
        });
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printf_repeats_its_format() {
        assert_eq!(format_all(b"[%s]", &[b"a b".to_vec(), b"".to_vec()]), b"[a b][]");
        assert_eq!(format_all(b"\\000\\377%%\\n", &[]), b"\x00\xff%\n");
    }
}
