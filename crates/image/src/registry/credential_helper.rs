//! `docker-credential-*` programs: `get`, the server on standard input, the answer as JSON on standard output
//! (github.com/docker/docker-credential-helpers). Its output is bounded, and so is its time.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::error::{quoted, tame};
use crate::registry::credential::{Login, Secret};

const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// Helpers may ask their user something.
const TIME_MAX: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// What the helper `name` has for `server`; the error says which program failed and why, and never what it printed on
/// success.
pub(crate) async fn get(name: &str, server: &str, folders: &[PathBuf]) -> Result<Option<Login>, String> {
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(format!("credential helper {} has no valid name", quoted(name)));
    }
    let program = format!("docker-credential-{name}");
    let path = folders.iter().map(|folder| folder.join(&program)).find(|path| is_program(path));
    let path = path.ok_or_else(|| format!("{program} isn't in any folder of PATH"))?;
    match tokio::time::timeout(TIME_MAX, ask(&path, server)).await {
        Ok(answer) => answer.map_err(|why| format!("{program} {why}")),
        Err(_) => Err(format!("{program} didn't answer within {} seconds", TIME_MAX.as_secs())),
    }
}

fn is_program(path: &Path) -> bool {
    let metadata = path.is_absolute().then(|| path.metadata().ok()).flatten();
    metadata.is_some_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

async fn ask(path: &Path, server: &str) -> Result<Option<Login>, String> {
    let failed = |error: std::io::Error| format!("can't be run: {error}");
    let mut command = Command::new(path);
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().map_err(failed)?;
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err("has no standard input or output".to_owned());
    };
    // One that doesn't read what it is asked answers nonetheless, or fails by itself.
    if let Err(error) = stdin.write_all(server.as_bytes()).await {
        tracing::debug!(%error, "a credential helper doesn't read its input");
    }
    drop(stdin);
    let mut answer = Vec::new();
    stdout.take(ANSWER_BYTES_MAX + 1).read_to_end(&mut answer).await.map_err(failed)?;
    if answer.len() as u64 > ANSWER_BYTES_MAX {
        return Err("answers more than 64 KiB".to_owned());
    }
    let status = child.wait().await.map_err(failed)?;
    if !status.success() {
        let text = String::from_utf8_lossy(&answer);
        // The protocol's only way to say that there is nothing.
        if text.contains("credentials not found") {
            return Ok(None);
        }
        return Err(format!("failed ({status}): {}", tame(text.trim())));
    }
    let answer: Answer = serde_json::from_slice(&answer).map_err(|_| "gives no valid answer".to_owned())?;
    Ok(match answer {
        Answer { secret, .. } if secret.is_empty() => None,
        Answer { username, secret } if username == "<token>" => Some(Login::Identity(Secret(secret))),
        Answer { username, secret } => Some(Login::Password { user: username, password: Secret(secret) }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn helper(folder: &Path, name: &str, script: &str) {
        let path = folder.join(format!("docker-credential-{name}"));
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[tokio::test]
    async fn helpers_answer_fail_or_have_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let folders = [PathBuf::from("relative"), folder.path().to_owned()];
        helper(
            folder.path(),
            "good",
            r#"[ "$1" = get ] && printf '{"ServerURL":"x","Username":"u","Secret":"%s"}' "$(cat)""#,
        );
        helper(folder.path(), "token", r#"echo '{"Username":"<token>","Secret":"t"}'"#);
        helper(folder.path(), "none", "echo credentials not found in native keychain; exit 1");
        helper(folder.path(), "fails", "echo 'the keyring is locked'; exit 1");
        helper(folder.path(), "floods", "cat /dev/zero");
        helper(folder.path(), "nonsense", "echo secret-nonsense");

        let login = get("good", "reg.io:5000", &folders).await.unwrap();
        let password = Secret("reg.io:5000".into());
        assert_eq!(login, Some(Login::Password { user: "u".into(), password }));
        assert_eq!(get("token", "r", &folders).await.unwrap(), Some(Login::Identity(Secret("t".into()))));
        assert_eq!(get("none", "r", &folders).await.unwrap(), None);
        for (name, expected) in [
            ("fails", "docker-credential-fails failed (exit status: 1): the keyring is locked"),
            ("floods", "docker-credential-floods answers more than 64 KiB"),
            ("nonsense", "docker-credential-nonsense gives no valid answer"),
            ("absent", "docker-credential-absent isn't in any folder of PATH"),
            ("../good", "credential helper \"../good\" has no valid name"),
            ("", "credential helper \"\" has no valid name"),
        ] {
            assert_eq!(get(name, "r", &folders).await.unwrap_err(), expected);
        }
    }
}
