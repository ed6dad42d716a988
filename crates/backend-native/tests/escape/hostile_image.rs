//! An image made to get out: busybox, and at each place that makes a box what it is something else.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use agentkernel_backend_native::{NativeSettings, image_store};
use agentkernel_image::{ImportRequest, ImportSource, PruneRequest, unpack_main};
use agentkernel_model::{ImageConfig, SandboxSpec};

use crate::stage::Stage;

/// What it is called.
const NAME: &str = "escape/hostile:1";

/// Where it has this program, set-user-id.
pub(crate) const SETUID: &str = "/opt/setuid";

/// The first argument of this program as the unpacker of layers.
const UNPACK: &str = "internal-unpack";

/// Where this program unpacks for users with subordinate ids.
pub(crate) fn settings() -> NativeSettings {
    let internal_unpack = std::env::current_exe().unwrap_or_default();
    NativeSettings { internal_unpack, ..NativeSettings::default() }
}

/// Unpacks, where this program was started for that.
pub(crate) fn main() -> Option<std::process::ExitCode> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if arguments.first()? != UNPACK {
        return None;
    }
    use std::io::Write;
    let told = match unpack_main(&arguments[1..]) {
        Ok(report) => writeln!(std::io::stdout(), "{}", serde_json::to_string(&report).unwrap_or_default()),
        Err(error) => writeln!(std::io::stderr(), "{error}"),
    };
    Some(if told.is_ok() { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE })
}

/// Makes it, imports it and lets `spec` start from it; `with_program` puts this program into it. Why it can't be, where
/// it can't.
pub(crate) fn prepare(
    state_dir: &Path,
    stage: &Stage,
    spec: &mut SandboxSpec,
    with_program: bool,
) -> Result<(), String> {
    let root = stage.folder().join("hostile");
    let archive = stage.folder().join("hostile.tar");
    fill(&root, stage).map_err(|error| error.to_string())?;
    if with_program {
        let program = root.join(&SETUID[1..]);
        std::env::current_exe()
            .and_then(|own| std::fs::copy(own, &program))
            .and_then(|_| std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o6755)))
            .map_err(|error| error.to_string())?;
    }
    let packed = Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&archive).arg(".").status();
    if !packed.is_ok_and(|status| status.success()) {
        return Err("tar could not make an archive".to_owned());
    }
    let request = ImportRequest {
        source: ImportSource::Path(archive),
        names: vec![NAME.parse().map_err(|error| format!("{error}"))?],
        config: ImageConfig::default(),
        platform: None,
    };
    let imported = image_store(state_dir, &settings()).import(request).map_err(|error| error.to_string())?;
    spec.image = NAME.parse().map_err(|error| format!("{error}"))?;
    spec.image_id = imported.into_iter().next().map(|image| image.id);
    Ok(())
}

/// Removes what was unpacked: it may belong to ids that only its own unpacker can touch.
pub(crate) fn remove(state_dir: &Path) -> Result<(), String> {
    let all = PruneRequest { all: true, ..PruneRequest::default() };
    image_store(state_dir, &settings()).prune(&all).map(drop).map_err(|error| error.to_string())
}

fn fill(root: &Path, stage: &Stage) -> std::io::Result<()> {
    for folder in [
        "", "bin", "dev", "home", "media", "opt", "proc", "root", "run", "srv", "sys", "usr", "usr/bin",
        "var", "var/tmp",
    ] {
        std::fs::create_dir(root.join(folder))?;
    }
    std::fs::copy("/bin/busybox", root.join("bin/busybox"))?;
    for applet in ["cat", "echo", "head", "ln", "mkdir", "printf", "sh", "sleep"] {
        symlink("busybox", root.join("bin").join(applet))?;
    }
    std::fs::hard_link(root.join("bin/busybox"), root.join("usr/bin/env"))?;
    let trap = stage.trap();
    symlink(&trap, root.join("etc"))?;
    symlink(&trap, root.join("tmp"))?;
    symlink(Path::new("/proc/1/root").join(&trap[1..]), root.join("workspace"))?;
    // What is there is hidden by ours, or is met by our own steps.
    std::fs::create_dir(root.join("dev/null"))?;
    symlink(Path::new(&trap).join("new"), root.join("dev/zero"))?;
    symlink(&trap, root.join("dev/shm"))?;
    std::fs::write(root.join("dev/mem"), stage.secret())?;
    std::fs::create_dir(root.join("proc/self"))?;
    symlink("/", root.join("proc/self/root"))?;
    symlink(&trap, root.join("proc/sys"))?;
    std::fs::write(root.join("sys/trap"), "trap")?;
    // What is the image's own to have leads nowhere but into the box.
    symlink(stage.secret_path(), root.join("opt/absolute"))?;
    symlink(
        Path::new(&"../".repeat(40)).join(&stage.secret_path().to_string_lossy()[1..]),
        root.join("opt/up"),
    )?;
    symlink("/proc/1/root", root.join("opt/root"))
}
