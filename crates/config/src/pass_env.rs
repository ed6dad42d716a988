//! Which of the caller's variables a sandbox sees.

use agentkernel_model::{ByteString, EnvVar, PassEnv};

use crate::Environment;
use crate::overrides::is_env_name;

/// The variables that `pass_env = true` leaves out: they describe the host's session (its paths, sockets, screens and
/// loader) and would mislead or expose what runs in the sandbox. A name that ends in `*` stands for all that begin so.
/// A variable that is named singly is passed even so.
pub const HOST_SESSION_VARIABLES: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "PWD",
    "OLDPWD",
    "HOSTNAME",
    "HOST",
    "MAIL",
    "SHLVL",
    "_",
    "TMPDIR",
    "TMP",
    "TEMP",
    "TERM",
    "TTY",
    "TMUX*",
    "STY",
    "WINDOWID",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "DESKTOP_SESSION",
    "SESSION_MANAGER",
    "XDG_*",
    "DBUS_*",
    "SSH_*",
    "GPG_AGENT_INFO",
    "GPG_TTY",
    "SUDO_*",
    "LD_*",
    "BASH_FUNC_*",
    "BASH_ENV",
    "ENV",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LISTEN_*",
    "NOTIFY_SOCKET",
    "MANAGERPID",
    "SYSTEMD_*",
    "DOCKER_HOST",
    "CONTAINER_HOST",
    "AGENTKERNEL_*",
];

/// The caller's variables that `pass` lets through, in the caller's order; names that aren't set are left out.
pub fn passed_variables(pass: &PassEnv, environment: &Environment) -> Vec<EnvVar> {
    let wanted = |name: &[u8]| match pass {
        PassEnv::None => false,
        PassEnv::All => is_env_name(name) && !is_of_the_host_session(name),
        PassEnv::Names(names) => names.iter().any(|wanted| wanted.as_bytes() == name),
    };
    let vars = environment.vars.iter().map(|(name, value)| EnvVar {
        name: ByteString::from(name.clone()),
        value: ByteString::from(value.clone()),
    });
    vars.filter(|var| wanted(var.name.as_bytes())).collect()
}

fn is_of_the_host_session(name: &[u8]) -> bool {
    HOST_SESSION_VARIABLES.iter().any(|listed| match listed.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix.as_bytes()),
        None => name == listed.as_bytes(),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::testing::environment;

    fn names(pass: &PassEnv) -> Vec<String> {
        let vars = [
            ("PATH", "/bin"),
            ("SSH_AUTH_SOCK", "/s"),
            ("LD_PRELOAD", "/x.so"),
            ("XDG_RUNTIME_DIR", "/run"),
            ("AGENTKERNEL_API_KEY", "k"),
            ("LANG", "C"),
            ("PATHOLOGY", "1"),
        ];
        let passed = passed_variables(pass, &environment(Path::new("/"), &vars));
        passed.iter().map(|var| var.name.to_lossy()).collect()
    }

    #[test]
    fn all_leaves_the_hosts_session_out_and_names_are_exact() {
        assert_eq!(names(&PassEnv::All), ["LANG", "PATHOLOGY"]);
        assert_eq!(names(&PassEnv::Names(vec!["PATH".into(), "UNSET".into()])), ["PATH"]);
        assert!(names(&PassEnv::None).is_empty());
    }
}
