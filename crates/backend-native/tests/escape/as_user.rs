//! Root runs every attempt a second time as an ordinary user: this program, restarted under setpriv(1).

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use agentkernel_model::Profile;
use libtest_mimic::{Failed, Trial};

/// A user that has nothing on this machine, not even a name: boxes with a single id.
const NOBODY: u32 = 61_357;

/// The trials of one attempt as ordinary users.
pub(crate) fn trials(name: &str, profile: Profile) -> Vec<Trial> {
    let trial = |kind: &str, id: u32| {
        let (full, name) = (format!("{kind}::{name}"), format!("user::{name}"));
        Trial::test(full, move || run(&name, id))
    };
    let mut trials = vec![trial("user", NOBODY)];
    // The ids make a difference to the root inside, the profile makes none to them.
    if profile == Profile::Moderate {
        trials.extend(with_subordinate_ids().map(|id| trial("user-with-subordinate-ids", id)));
    }
    trials
}

/// A user of this machine who was given ids for boxes of many users.
fn with_subordinate_ids() -> Option<u32> {
    let given = std::fs::read_to_string("/etc/subuid").ok()?;
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let id_of = |name: &str| {
        let fields: Vec<&str> =
            users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|f| f[0] == name)?;
        fields.get(2)?.parse::<u32>().ok().filter(|id| *id != 0)
    };
    given.lines().find_map(|line| id_of(line.split(':').next()?))
}

/// This program may lie where that user can't go.
fn make_reachable(program: &Path) -> std::io::Result<()> {
    let own = std::env::current_exe()?;
    // A link, where it can be one: a fresh copy is busy while another thread's child still has it open.
    if std::fs::hard_link(&own, program).is_ok() {
        return Ok(());
    }
    std::fs::copy(&own, program)?;
    std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755))
}

fn restart(name: &str, id: u32, program: &Path, home: &Path) -> std::io::Result<Output> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let output = Command::new("setpriv")
            .args([format!("--reuid={id}"), format!("--regid={id}")])
            .args(["--clear-groups", "--inh-caps=-all"])
            .arg(program)
            .args(["--exact", name, "--nocapture"])
            .env("HOME", home)
            .env_remove("XDG_RUNTIME_DIR")
            .current_dir(home)
            .output()?;
        let busy = String::from_utf8_lossy(&output.stderr).contains("Text file busy");
        if !busy || Instant::now() > deadline {
            return Ok(output);
        }
    }
}

/// Runs the trial `name` of this program as user `id`; its output becomes ours where it fails.
fn run(name: &str, id: u32) -> Result<(), Failed> {
    let folder = tempfile::Builder::new().prefix("agentkernel-user-").tempdir()?;
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
    let program = folder.path().join("escape");
    make_reachable(&program)?;
    let home = folder.path().join("home");
    std::fs::create_dir(&home)?;
    chown(&home, Some(id), Some(id))?;
    let output = restart(name, id, &program, &home);
    let output = match output {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            use std::io::Write;
            return writeln!(std::io::stderr(), "SKIPPED: {name}: setpriv (util-linux) is not installed")
                .map_err(Failed::from);
        }
        other => other?,
    };
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = format!("{}{errors}", String::from_utf8_lossy(&output.stdout));
    if !output.status.success() {
        return Err(Failed::from(text));
    }
    if !text.contains("1 passed") {
        return Err(Failed::from(format!("the trial was not run: {text}")));
    }
    for line in errors.lines().filter(|line| line.starts_with("SKIPPED")) {
        use std::io::Write;
        writeln!(std::io::stderr(), "{line}")?;
    }
    Ok(())
}
