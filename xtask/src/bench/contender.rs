//! Who is measured against whom.

use std::path::Path;

use super::docker::Docker;
use super::result::Skipped;
use crate::command;

/// One command line that prints `hello`.
pub(crate) struct Contender {
    pub(crate) id: &'static str,
    pub(crate) label: String,
    /// The isolation it gives.
    pub(crate) does: &'static str,
    pub(crate) argv: Vec<String>,
    /// Variables besides those of the program under test.
    pub(crate) env: Vec<(String, String)>,
}

impl Contender {
    pub(super) fn new(id: &'static str, does: &'static str, argv: &[&str]) -> Self {
        let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
        let program = argv[0].rsplit('/').next().unwrap_or_default();
        let label = std::iter::once(program)
            .chain(argv[1..].iter().map(String::as_str))
            .collect::<Vec<_>>()
            .join(" ");
        Self { id, label: format!("`{label}`"), does, argv, env: Vec::new() }
    }

    /// Fork and exec, for scale.
    pub(super) fn bare() -> Self {
        Self::new("bare", "none: fork and exec", &["/bin/echo", "hello"])
    }

    /// With a variable.
    pub(super) fn with(mut self, name: &str, value: String) -> Self {
        self.env.push((name.to_owned(), value));
        self
    }
}

const ALL_LAYERS: &str = "namespaces, own overlay root, masked /proc, seccomp, Landlock, no capabilities but the profile's, all limits";

/// A new box for one command.
pub(crate) fn run_contenders(
    agentkernel: &Path,
    docker: Option<&Docker>,
    skipped: &mut Vec<Skipped>,
) -> Vec<Contender> {
    let program = agentkernel.to_string_lossy();
    let mut contenders = vec![Contender::bare()];
    if command::find("bwrap").is_some() {
        let plain = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "/bin/echo", "hello"];
        contenders.push(Contender::new("bwrap", "namespaces only; the host's files readable", &plain));
        let usable = [
            "bwrap",
            "--unshare-all",
            "--ro-bind",
            "/",
            "/",
            "--proc",
            "/proc",
            "--dev",
            "/dev",
            "/bin/echo",
            "hello",
        ];
        contenders.push(Contender::new("bwrap-usable", "the same with its own /proc and /dev", &usable));
    } else {
        skipped.push(Skipped { what: "bubblewrap".to_owned(), why: "bwrap is not installed".to_owned() });
    }
    contenders.extend([
        Contender::new(
            "agentkernel",
            "moderate, the default: network through NAT, root writable",
            &[&program, "run", "--", "echo", "hello"],
        ),
        Contender::new(
            "agentkernel-no-network",
            ALL_LAYERS,
            &[&program, "run", "--no-network", "--", "echo", "hello"],
        ),
        Contender::new(
            "agentkernel-restrictive",
            "the same, root read-only, no capabilities at all",
            &[&program, "run", "--profile", "restrictive", "--", "echo", "hello"],
        ),
    ]);
    if let Some(docker) = docker {
        let run = |id, does, network: &[&str]| {
            let mut contender = Contender::new(id, does, &["docker", "run", "--rm"]);
            let rest =
                network.iter().chain(&[Docker::IMAGE, "/bin/echo", "hello"]).map(|word| (*word).to_owned());
            contender.argv.extend(rest);
            contender.label = format!("`{}`", contender.argv.join(" "));
            contender.argv.splice(..1, docker.client());
            contender
        };
        contenders.push(run("docker-none", "Docker's defaults without a network", &["--network", "none"]));
        contenders.push(run("docker", "Docker's defaults: bridge and NAT", &[]));
    }
    contenders
}

/// One more command in a box that runs already.
pub(crate) fn exec_contenders(
    agentkernel: &Path,
    sandbox: &str,
    container: Option<(&Docker, &str)>,
) -> Vec<Contender> {
    let program = agentkernel.to_string_lossy();
    let mut contenders = vec![
        Contender::bare(),
        Contender::new(
            "agentkernel-exec",
            "as the sandbox",
            &[&program, "exec", sandbox, "--", "echo", "hello"],
        ),
    ];
    if let Some((docker, container)) = container {
        let mut contender = Contender::new(
            "docker-exec",
            "as the container",
            &["docker", "exec", container, "/bin/echo", "hello"],
        );
        contender.label = "`docker exec CONTAINER /bin/echo hello`".to_owned();
        contender.argv.splice(..1, docker.client());
        contenders.push(contender);
    }
    contenders
}
