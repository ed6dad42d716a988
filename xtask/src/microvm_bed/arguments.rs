//! `cargo xtask microvm-bed KIND VERB`.

use anyhow::{Result, bail};

use super::parts::Parts;
use super::{check, svm};
use crate::test_bed::Variables;
use crate::workspace::Workspace;

const USAGE: &str = "cargo xtask microvm-bed qemu|firecracker-svm start|env|check|stop, \
                     cargo xtask microvm-bed firecracker-svm run COMMAND";

/// Does what the words say.
pub(crate) fn run(workspace: &Workspace, words: &[&str]) -> Result<bool> {
    match words {
        ["qemu", "check"] => check::run(&Parts::ensure(workspace)?),
        ["qemu", "stop"] => {
            println!("microvm-bed: nothing of it runs: each test starts its machines and ends them");
            Ok(true)
        }
        ["firecracker-svm", "start"] => {
            let parts = Parts::ensure(workspace)?;
            svm::start()?;
            tell(&parts)
        }
        ["firecracker-svm", "run", command @ ..] if !command.is_empty() => {
            let status =
                svm::run_command(&command.join(" "), &exports(&Parts::find(workspace)?.variables()))?;
            if status != 0 {
                eprintln!("microvm-bed: exit status {status}");
            }
            Ok(status == 0)
        }
        ["firecracker-svm", "check"] => {
            let parts = Parts::ensure(workspace)?;
            svm::start()?;
            svm::check(&exports(&parts.variables()))
        }
        ["firecracker-svm", "stop"] => svm::stop().map(|()| true),
        ["qemu", "start"] => tell(&Parts::ensure(workspace)?),
        ["qemu" | "firecracker-svm", "env"] => tell(&Parts::find(workspace)?),
        _ => bail!("unknown words {:?}: {USAGE}", words.join(" ")),
    }
}

fn tell(parts: &Parts) -> Result<bool> {
    print!("{}", exports(&parts.variables()));
    Ok(true)
}

/// For `source <(cargo xtask microvm-bed qemu env)`. Values are paths.
fn exports(variables: &Variables) -> String {
    variables.iter().map(|(name, value)| format!("export {name}='{value}'\n")).collect()
}
