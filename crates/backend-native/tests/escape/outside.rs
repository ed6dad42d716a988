//! The side outside: bait that the host lays out, and attempts that need a hand there.

use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use agentkernel_model::{BoxPath, Outcome, Signal};
use agentkernel_testkit::conformance::{collect, read_until, within};
use tokio::io::AsyncReadExt;

use crate::attempt::Verdict;
use crate::inside::{MARK, raw};
use crate::stage::Stage;
use crate::trial::{Live, PROBE};

type Answer<'a> = Pin<Box<dyn Future<Output = Verdict> + 'a>>;

/// A device node in the shared folder: only root can lay it out.
pub(crate) fn plant_device(stage: &mut Stage) {
    let path = stage.shared().join("device");
    let path = std::ffi::CString::new(path.into_os_string().into_encoded_bytes()).expect("no NUL");
    let mode = (libc::S_IFCHR | 0o666) as usize;
    let zero = libc::makedev(1, 5) as usize;
    // Where it can't be made the attempt has nothing to go for, and says so.
    raw::whatever(libc::SYS_mknodat, [libc::AT_FDCWD as usize, path.as_ptr() as usize, mode, zero, 0, 0]);
}

/// This program, set-user-ID to its owner, in the shared folder.
pub(crate) fn plant_setuid(stage: &mut Stage) {
    let path = stage.shared().join("setuid");
    let program = std::env::current_exe().expect("this program's path");
    std::fs::copy(program, &path).expect("room for a copy");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o4755)).expect("our own file");
}

/// A System V segment of the host's.
pub(crate) fn make_shared_memory(stage: &mut Stage) {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let key =
        0x0a00_0000 | (NEXT.fetch_add(1, Ordering::Relaxed) << 16) | (std::process::id() as usize & 0xffff);
    let created = (libc::IPC_CREAT | libc::IPC_EXCL | 0o666) as usize;
    if let Ok(id) = raw::call(libc::SYS_shmget, [key, 4096, created, 0, 0, 0]) {
        stage.more_clues.push(("ESCAPE_MEMORY_KEY", key.to_string()));
        stage.at_end(Box::new(move || {
            raw::whatever(libc::SYS_shmctl, [id, libc::IPC_RMID as usize, 0, 0, 0, 0])
        }));
    }
}

pub(crate) fn still_alive<'a>(live: &'a Live<'a>) -> Answer<'a> {
    Box::pin(live.is_alive())
}

pub(crate) fn after_killing_all<'a>(live: &'a Live<'a>) -> Answer<'a> {
    Box::pin(async move {
        let text = "kill -KILL -1; true";
        live.run(&live.request(&["sh", "-c", text])).await?;
        live.is_alive().await
    })
}

/// The pattern of CVE-2019-5736: a program that is the agent's own file is executed, and written to while it runs.
pub(crate) fn exec_the_agent<'a>(live: &'a Live<'a>) -> Answer<'a> {
    Box::pin(async move {
        let prepare = "ln -s /proc/self/exe /tmp/link; printf '#!/proc/self/exe\\n' > /tmp/script; chmod 755 /tmp/script; \
                       printf '#!/proc/1/exe\\n' > /tmp/other; chmod 755 /tmp/other";
        live.run(&live.request(&["sh", "-c", prepare])).await?;
        let writer = "i=0; while [ $i -lt 200 ]; do for p in /proc/[0-9]*; do \
                      (echo evil >> $p/exe) 2>/dev/null && echo written $p; done; i=$((i+1)); done; echo finished";
        let writer = live.request(&["sh", "-c", writer]);
        let mut writing = live.guest.exec(&writer).await.map_err(|error| error.to_string())?;
        for program in ["/proc/self/exe", "/tmp/link", "/tmp/script", "/tmp/other"] {
            let mut request = live.request(&[program]);
            request.timeout = Some(Duration::from_secs(1));
            match within("a start", live.guest.exec(&request)).await {
                Ok(execution) => drop(collect(execution).await),
                // Refusing it is as good.
                Err(_) => continue,
            }
        }
        let output = read_until(&mut writing.stdout, "finished").await;
        collect(writing).await;
        let output = String::from_utf8_lossy(&output).into_owned();
        if output.contains("written") {
            return Err(format!("a running program's file was written: {output}"));
        }
        live.is_alive().await
    })
}

/// A hostile box leaves links where the user's `cp` writes: the agent must not write into itself.
pub(crate) fn write_through_links<'a>(live: &'a Live<'a>) -> Answer<'a> {
    Box::pin(async move {
        let link = BoxPath::new("/tmp/out").expect("a path");
        for target in
            ["/proc/self/mem", "/proc/1/mem", "/proc/self/fd/3", "/proc/self/fd/4", "/proc/self/exe"]
        {
            let text = format!("ln -sfn {target} /tmp/out");
            live.run(&live.request(&["sh", "-c", &text])).await?;
            let content: agentkernel_backend::OutputStream = Box::new(std::io::Cursor::new(vec![0x41; 4096]));
            let written = within("an answer", live.guest.write_file(&link, None, content)).await;
            if written.is_ok() {
                return Err(format!("the agent wrote through a link to {target}"));
            }
            if let Ok(mut stream) = within("an answer", live.guest.read_file(&link)).await {
                let mut bytes = vec![0; 65_536];
                let length = within("some bytes", stream.read(&mut bytes)).await.unwrap_or(0);
                if String::from_utf8_lossy(&bytes[..length]).contains(live.stage.secret()) {
                    return Err(format!("{target} of the agent holds the host's secret"));
                }
            }
        }
        live.is_alive().await
    })
}

/// What `cp` would read: the box's own files, whatever links say.
pub(crate) fn copy_out<'a>(live: &'a Live<'a>) -> Answer<'a> {
    Box::pin(async move {
        let secret = live.stage.secret_path();
        let text = format!(
            "ln -sfn {0} /tmp/a; ln -sfn {1}{0} /tmp/b; ln -sfn /proc/1/root{0} /tmp/c; mkdir -p /tmp/d; ln -sfn / /tmp/d/l",
            secret.display(),
            "../".repeat(40)
        );
        live.run(&live.request(&["sh", "-c", &text])).await?;
        for name in [
            "/tmp/a",
            "/tmp/b",
            "/tmp/c",
            "/mnt/shared/absolute-link",
            "/mnt/shared/relative-link",
            "/proc/self/environ",
        ] {
            let path = BoxPath::new(name).expect("a path");
            let Ok(stream) = within("an answer", live.guest.read_file(&path)).await else { continue };
            let mut bytes = Vec::new();
            // An error in the middle is a denial too.
            drop(within("the end", stream.take(1 << 20).read_to_end(&mut bytes)).await);
            if String::from_utf8_lossy(&bytes).contains(live.stage.secret()) {
                return Err(format!("{name} leads to the host's secret"));
            }
        }
        let stream = within("an answer", live.guest.tar_out(&BoxPath::new("/tmp/d").expect("a path"))).await;
        let mut archive = Vec::new();
        let stream = stream.map_err(|error| error.to_string())?;
        drop(within("the end", stream.take(1 << 20).read_to_end(&mut archive)).await);
        if archive.len() > 100_000 {
            return Err("an archive follows links".to_owned());
        }
        Ok("what is read is the box's own".to_owned())
    })
}

pub(crate) fn setuid_program<'a>(live: &'a Live<'a>) -> Answer<'a> {
    who_it_runs_as(live, "/mnt/shared/setuid")
}

pub(crate) fn setuid_program_of_an_image<'a>(live: &'a Live<'a>) -> Answer<'a> {
    who_it_runs_as(live, crate::hostile_image::SETUID)
}

fn who_it_runs_as<'a>(live: &'a Live<'a>, program: &'static str) -> Answer<'a> {
    Box::pin(async move {
        let mut request = live.request(&[program, MARK, "who-am-i"]);
        request.user = Some("1000:1000".parse().expect("a user"));
        let done = live.run(&request).await?;
        match String::from_utf8_lossy(&done.stdout).trim() {
            "HELD: 1000 1000" => Ok("it runs as its caller".to_owned()),
            other => Err(format!("it runs as {other}")),
        }
    })
}

pub(crate) fn system_files_unchanged<'a>(_: &'a Live<'a>) -> Answer<'a> {
    Box::pin(async {
        for path in ["/usr/bin/env", "/etc/passwd", "/usr/lib/os-release"] {
            let content = std::fs::read(path).unwrap_or_default();
            if content.ends_with(b"evil") {
                return Err(format!("the host's {path} was written"));
            }
        }
        Ok("the host's system is unchanged".to_owned())
    })
}

pub(crate) fn memory_bomb<'a>(live: &'a Live<'a>) -> Answer<'a> {
    Box::pin(async move {
        let done = live.run(&live.request(&[PROBE, MARK, "take-memory"])).await?;
        if done.stdout.starts_with(b"THROUGH") || done.outcome == Outcome::TimedOut {
            return Err(format!("{done:?}"));
        }
        live.is_alive().await
    })
}

pub(crate) fn hold_terminals<'a>(live: &'a Live<'a>) -> Answer<'a> {
    Box::pin(async move {
        let mut holder = live
            .guest
            .exec(&live.request(&[PROBE, MARK, "hold-terminals"]))
            .await
            .map_err(|error| error.to_string())?;
        let held = read_until(&mut holder.stdout, "HOLDING").await;
        let host = std::fs::OpenOptions::new().read(true).write(true).open("/dev/ptmx");
        let verdict = match host {
            Ok(_) => Ok(format!("the host still has terminals: {}", String::from_utf8_lossy(&held))),
            Err(error) => Err(format!("the host has no terminal left: {error}")),
        };
        holder.control.signal(Signal::KILL).await.map_err(|error| error.to_string())?;
        collect(holder).await;
        verdict
    })
}

/// Instances of inotify, which the kernel counts per user of the host: what is left to the user who made the box.
pub(crate) fn hold_watches<'a>(live: &'a Live<'a>) -> Answer<'a> {
    Box::pin(async move {
        // Where boxes take from their maker, each user inside may take half: SECURITY.md says so.
        let attempt = match rustix::process::geteuid().is_root() {
            true => "hold-watches-as-many",
            false => "hold-watches",
        };
        let mut holder = live
            .guest
            .exec(&live.request(&[PROBE, MARK, attempt]))
            .await
            .map_err(|error| error.to_string())?;
        let held = read_until(&mut holder.stdout, "HOLDING").await;
        let held = String::from_utf8_lossy(&held).into_owned();
        let host = raw::call(libc::SYS_inotify_init1, [libc::IN_CLOEXEC as usize, 0, 0, 0, 0, 0]);
        holder.control.signal(Signal::KILL).await.map_err(|error| error.to_string())?;
        collect(holder).await;
        match host {
            Ok(descriptor) => {
                raw::whatever(libc::SYS_close, [descriptor, 0, 0, 0, 0, 0]);
                Ok(format!("its maker still has watches: {held}"))
            }
            Err(errno) => Err(format!("its maker can't watch files any more: errno {errno}; {held}")),
        }
    })
}

pub(crate) fn flood_log<'a>(live: &'a Live<'a>) -> Answer<'a> {
    const LIMIT: u64 = 1 << 20;
    Box::pin(async move {
        let mut request = live.request(&["head", "-c", "1073741824", "/dev/zero"]);
        request.detached_log_limit = Some(LIMIT);
        let execution =
            within("a start", live.guest.exec(&request)).await.map_err(|error| error.to_string())?;
        let id = execution.id.clone();
        drop(execution);
        let outcome = within("the end", live.guest.wait(&id)).await.map_err(|error| error.to_string())?;
        if outcome != Outcome::Exited(0) {
            return Err(format!("1 GiB into a log ended as {outcome:?}"));
        }
        let log =
            within("the log", live.guest.logs(&id, 0, false)).await.map_err(|error| error.to_string())?;
        let mut kept = Vec::new();
        within("the log's end", log.stdout.take(1 << 30).read_to_end(&mut kept))
            .await
            .map_err(|error| error.to_string())?;
        if kept.len() as u64 > LIMIT {
            return Err(format!("{} bytes were kept of a log of {LIMIT}", kept.len()));
        }
        live.is_alive().await
    })
}
