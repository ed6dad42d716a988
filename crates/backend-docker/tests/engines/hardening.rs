//! What a container of ours really has, read from inside.

use std::net::TcpListener;

use agentkernel_backend::{BackendError, Lifetime, refuse_unsupported};
use agentkernel_backend_docker::EngineSettings;
use agentkernel_model::{Access, BoxPath, Cpus, Mib, Mount, NetworkAccess, Outcome, Profile};

use crate::bed::{Bed, shell, spec};

/// Lines of /proc/self/status.
const STATUS: &str =
    "grep -E '^(CapEff|CapPrm|CapBnd|CapInh|CapAmb|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t\\n'";

#[tokio::test]
async fn commands_have_what_the_profile_grants_and_no_more() {
    for bed in Bed::all() {
        let state = tempfile::tempdir().unwrap();
        let backend = bed.open(state.path());
        for (profile, network, capabilities) in [
            (Profile::Moderate, NetworkAccess::None, "00000000000004fb"),
            (Profile::Moderate, NetworkAccess::On, "00000000000004fb"),
            (Profile::Restrictive, NetworkAccess::None, "0000000000000000"),
        ] {
            let mut spec = spec(&*backend).await;
            (spec.profile, spec.network) = (profile, network);
            let made = backend.launch(&spec).await.unwrap();
            let guest = made.guest();
            let (_, status) = shell(&*guest, STATUS).await;
            let none = "0000000000000000";
            let expected = format!(
                "CapInh:{none}CapPrm:{capabilities}CapEff:{capabilities}CapBnd:{capabilities}CapAmb:{none}NoNewPrivs:1Seccomp:2"
            );
            assert_eq!(status, expected, "{} {profile} {network:?}", bed.kind.name());
            // The agent itself has given up what it needed for its set-up.
            let (_, agent) = shell(&*guest, "grep CapBnd /proc/1/status").await;
            let bounding = u64::from_str_radix(agent.split_whitespace().nth(1).unwrap(), 16).unwrap();
            assert_eq!(
                bounding & (1 << 12 | 1 << 13 | 1 << 21),
                0,
                "CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN: {agent}"
            );
            // What the table refuses with another errno than an engine would.
            let (_, refused) = shell(&*guest, "unshare -U true; unshare -n true").await;
            assert!(refused.contains("Operation not permitted"), "{refused}");
            made.destroy().await.unwrap();
        }
    }
}

#[tokio::test]
async fn limits_are_the_users_and_not_the_profiles() {
    for bed in Bed::all() {
        let state = tempfile::tempdir().unwrap();
        let backend = bed.open(state.path());
        let mut spec = spec(&*backend).await;
        spec.profile = Profile::Restrictive;
        spec.resources.memory = Some(Mib(1024));
        spec.resources.pids = Some(99);
        spec.resources.cpus = Cpus::from_millis(700);
        spec.resources.open_files = Some(512);
        if let Err(refused) =
            refuse_unsupported(backend.name(), backend.capabilities(), &spec, Lifetime::Ephemeral)
        {
            eprintln!("SKIPPED: {refused}");
            continue;
        }
        let made = backend.launch(&spec).await.unwrap();
        let guest = made.guest();
        let script = "cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max; \
                      cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes; ulimit -n; ulimit -c";
        let (_, text) = shell(&*guest, script).await;
        let numbers: Vec<&str> = text.lines().filter(|line| line.parse::<u64>().is_ok()).collect();
        assert_eq!(numbers, ["99", "1073741824", "512", "0"], "{}: {text}", bed.kind.name());
        made.destroy().await.unwrap();
    }
}

#[tokio::test]
async fn a_read_only_root_has_a_writable_tmp() {
    for bed in Bed::all() {
        let state = tempfile::tempdir().unwrap();
        let backend = bed.open(state.path());
        let mut spec = spec(&*backend).await;
        spec.profile = Profile::Restrictive;
        spec.read_only_root = true;
        let made = backend.launch(&spec).await.unwrap();
        let script = "echo x > /tmp/f && cat /tmp/f; echo x > /f || echo no; \
                      printf '#!/bin/sh\\necho ran' > /tmp/p; chmod +x /tmp/p; /tmp/p";
        let (_, text) = shell(&*made.guest(), script).await;
        assert!(text.starts_with("x\n") && text.contains("no\nran\n"), "{}: {text}", bed.kind.name());
        made.destroy().await.unwrap();
    }
}

/// What a box says when it tries to connect: python3 of the bed's Debian.
fn connect(address: &str, port: u16) -> String {
    format!(
        "python3 -c 'import socket; s=socket.socket(); s.settimeout(5); s.connect((\"{address}\",{port})); print(\"in\")' | tail -1"
    )
}

#[tokio::test]
async fn the_host_cannot_be_reached() {
    for bed in Bed::all() {
        let state = tempfile::tempdir().unwrap();
        let backend = bed.open(state.path());
        let mut spec = spec(&*backend).await;
        spec.network = NetworkAccess::On;
        let made = backend.launch(&spec).await.unwrap();
        let guest = made.guest();
        // Somebody listens on every address of this machine, the bridge's among them.
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        listener.set_nonblocking(true).unwrap();
        let (_, routes) = shell(&*guest, "cat /proc/net/route").await;
        let gateway = routes.lines().find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            (fields.get(1) == Some(&"00000000")).then(|| u32::from_str_radix(fields[2], 16).unwrap())
        });
        let gateway = std::net::Ipv4Addr::from(gateway.expect("a default route").to_le_bytes());
        for address in [gateway.to_string(), "169.254.169.254".to_owned(), "100.100.100.200".to_owned()] {
            let (_, text) = shell(&*guest, &connect(&address, port)).await;
            assert!(
                !text.contains("in\n") && !text.is_empty(),
                "{} reached {address}: {text}",
                bed.kind.name()
            );
        }
        assert!(listener.accept().is_err(), "{}: somebody connected", bed.kind.name());
        // The same question to a listener inside, so that the questions above were right.
        let script = "python3 -c 'import socket; s=socket.socket(); s.bind((\"127.0.0.1\",0)); s.listen(); \
                      c=socket.create_connection(s.getsockname()); print(\"in\")'";
        assert_eq!(shell(&*guest, script).await.1, "in\n");
        made.destroy().await.unwrap();
    }
}

/// As on an engine that has never had a box, or whose unused networks were removed.
#[tokio::test]
async fn the_network_is_made_where_it_is_missing() {
    for bed in Bed::all() {
        let state = tempfile::tempdir().unwrap();
        let backend = bed.open(state.path());
        // In use by another test just now: then there is nothing to see here.
        bed.engine().remove_network("agentkernel").await.ok();
        let mut spec = spec(&*backend).await;
        spec.network = NetworkAccess::On;
        let made = backend.launch(&spec).await.unwrap();
        assert_eq!(shell(&*made.guest(), "echo a").await.1, "a\n");
        made.destroy().await.unwrap();
    }
}

#[tokio::test]
async fn boxes_cannot_reach_each_other() {
    for bed in Bed::all() {
        let state = tempfile::tempdir().unwrap();
        let backend = bed.open(state.path());
        let mut spec = spec(&*backend).await;
        spec.network = NetworkAccess::On;
        let one = backend.launch(&spec).await.unwrap();
        let other = backend.launch(&spec).await.unwrap();
        let listen = "python3 -c 'import socket; s=socket.socket(); s.bind((\"0.0.0.0\",4711)); s.listen(); s.settimeout(30); s.accept()' \
                      >/dev/null 2>&1 & hostname -I 2>/dev/null || cat /proc/net/fib_trie";
        let (_, text) = shell(&*one.guest(), listen).await;
        let address = text
            .split_whitespace()
            .filter_map(|word| word.parse::<std::net::Ipv4Addr>().ok())
            .find(|address| !address.is_loopback() && address.octets()[3] > 1 && address.octets()[3] < 255)
            .expect("an address");
        let (_, text) = shell(&*other.guest(), &connect(&address.to_string(), 4711)).await;
        assert!(!text.contains("in\n"), "{}: {text}", bed.kind.name());
        one.destroy().await.unwrap();
        other.destroy().await.unwrap();
    }
}

#[tokio::test]
async fn what_cannot_be_honoured_is_refused_by_name() {
    for bed in Bed::all() {
        let state = tempfile::tempdir().unwrap();
        let settings =
            EngineSettings { runtime: Some("no-such-runtime".to_owned()), ..EngineSettings::default() };
        let backend = bed.open_with(state.path(), settings);
        let plain = bed.open(state.path());
        let error = backend.launch(&spec(&*plain).await).await.map(drop).unwrap_err();
        let text = error.to_string();
        assert!(
            matches!(error, BackendError::Unavailable { .. }) && text.contains("no-such-runtime"),
            "{text}"
        );
        let mut disk = spec(&*plain).await;
        disk.resources.disk = Some(Mib(16));
        let text = plain.launch(&disk).await.map(drop).unwrap_err().to_string();
        assert!(text.contains("a disk limit"), "{text}");
        let mut over = spec(&*plain).await;
        let target = BoxPath::new("/.agentkernel/door").unwrap();
        over.mounts =
            vec![Mount { source: state.path().canonicalize().unwrap(), target, access: Access::ReadOnly }];
        assert!(plain.launch(&over).await.map(drop).unwrap_err().to_string().contains("agentkernel's own"));
        assert_eq!(
            std::fs::read_dir(state.path().join(bed.kind.name())).map_or(0, Iterator::count),
            0,
            "nothing was made"
        );
    }
}

#[tokio::test]
async fn an_image_of_one_program_runs_as_its_configuration_says() {
    for bed in Bed::all() {
        let state = tempfile::tempdir().unwrap();
        let backend = bed.open(state.path());
        let (image, ready) = crate::bed::image(&*backend, "static").await;
        let mut spec = spec(&*backend).await;
        (spec.image, spec.image_id) = (image, Some(ready.id));
        if let Some(workdir) = ready.config.workdir.clone() {
            spec.workdir = workdir;
        }
        let made = backend.launch(&spec).await.unwrap();
        let request = agentkernel_model::ExecRequest {
            argv: ready.config.argv(None, &[]),
            env: ready.config.env.clone(),
            workdir: spec.workdir.clone(),
            user: ready.config.user.clone(),
            stdin: false,
            tty: None,
            timeout: None,
            detached_log_limit: None,
        };
        let execution = made.guest().exec(&request).await.expect("started");
        let outcome = execution.control.wait().await.unwrap();
        assert!(matches!(outcome, Outcome::Exited(_)), "{outcome:?}");
        made.destroy().await.unwrap();
    }
}
