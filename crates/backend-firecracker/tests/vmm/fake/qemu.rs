//! The fake QEMU and the fake process of its vsock.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};

use super::plan::{Plan, Wrong};
use super::{guest, options, value};

const OPTIONS: [&str; 17] = [
    "-M", "-object", "-accel", "-cpu", "-m", "-smp", "-kernel", "-initrd", "-append", "-display", "-monitor",
    "-chardev", "-serial", "-device", "-drive", "-netdev", "-sandbox",
];

pub(crate) fn main(arguments: &[String]) -> Result<(), String> {
    let found = options(arguments, &OPTIONS, &["-nodefaults", "-no-user-config", "-no-reboot"])?;
    for name in ["-kernel", "-initrd"] {
        let path = value(&found, name)?;
        std::fs::File::open(path).map_err(|error| format!("could not open {path}: {error}"))?;
    }
    for (_, drive) in found.iter().filter(|(name, _)| name == "-drive") {
        let part = |name: &str| {
            drive.split(',').find_map(|part| part.strip_prefix(name)).ok_or(format!("{name} is missing"))
        };
        let writable = part("readonly=")? == "off";
        let opened = std::fs::File::options().read(true).write(writable).open(part("file=")?);
        opened.map_err(|error| format!("drive: {error}"))?;
    }
    if !value(&found, "-sandbox")?.starts_with("on,") {
        return Err("no sandbox".to_owned());
    }
    // As the real one: it needs the other side of its vsock at once.
    let mut vsock = UnixStream::connect("vhost.sock").map_err(|error| format!("vhost.sock: {error}"))?;
    vsock.write_all(b"hello").map_err(|error| error.to_string())?;
    let plan = Plan::read();
    if plan.fault_at("start") == Some(Wrong::Die) {
        return Err("\x1b[1mno such machine".to_owned());
    }
    forever(|| guest::boot(&plan, None))
}

pub(crate) fn vsock_main(arguments: &[String]) -> Result<(), String> {
    let found = options(arguments, &["--guest-cid", "--socket", "--uds-path"], &[])?;
    let plan = Plan::read();
    match plan.fault_at("vsock start") {
        Some(Wrong::Die) => return Err("\x1b[1mno memory".to_owned()),
        Some(_) => return forever(|| {}),
        None => {}
    }
    // It listens before it has its name: in between, whoever sees it would be refused.
    let bind = |name| {
        let path = value(&found, name)?;
        let new = format!("{path}.new");
        let bound = UnixListener::bind(&new).and_then(|bound| std::fs::rename(&new, path).map(|()| bound));
        bound.map_err(|error| format!("{name}: {error}"))
    };
    value(&found, "--guest-cid")?.parse::<u32>().map_err(|error| error.to_string())?;
    let ports = bind("--uds-path")?;
    let vmm = bind("--socket")?;
    let mut hello = [0; 5];
    let (mut stream, _) = vmm.accept().map_err(|error| error.to_string())?;
    stream.read_exact(&mut hello).map_err(|error| error.to_string())?;
    // It goes on when its VMM is gone; who ends it is the host's affair.
    forever(|| guest::listen(&plan, Some(ports)))
}

fn forever(begin: impl FnOnce()) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(async {
        begin();
        std::future::pending::<()>().await;
        Ok(())
    })
}
