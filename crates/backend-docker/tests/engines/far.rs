//! Engines that can't see this machine's files: the bed's, reached by TCP.

use std::sync::Arc;
use std::time::Duration;

use agentkernel_backend::{Backend, BoxRecord, Probe};
use agentkernel_backend_docker::{DockerBackend, EngineEnvironment, EngineKind, EngineSettings};
use agentkernel_model::{Access, BoxPath, Mount, NetworkAccess, Profile};
use bollard::query_parameters::RemoveVolumeOptions;
use tokio::net::{TcpListener, UnixStream};

use crate::bed::{Bed, shell, spec};

/// A port that leads to the socket of `bed`, for as long as the runtime lives.
async fn port(bed: &Bed) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let socket = bed.socket.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut engine = UnixStream::connect(&socket).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut engine).await.ok() });
        }
    });
    port
}

fn open(bed: &Bed, port: u16, state: &std::path::Path) -> Arc<dyn Backend> {
    let mut environment = EngineEnvironment::default();
    let host = Some(format!("tcp://127.0.0.1:{port}"));
    match bed.kind {
        EngineKind::Docker => environment.docker_host = host,
        EngineKind::Podman => environment.container_host = host,
    }
    Arc::new(DockerBackend::open(bed.kind, state, environment, EngineSettings::default()))
}

/// The volumes that a state folder of a test has left in the engine.
async fn remove_volumes(bed: &Bed, state: &std::path::Path) {
    let markers = std::fs::read_dir(state.join(bed.kind.name())).into_iter().flatten().flatten();
    for marker in markers {
        if let Some(volume) = marker.file_name().to_str().and_then(|name| name.strip_suffix(".filled")) {
            bed.engine().remove_volume(volume, None::<RemoveVolumeOptions>).await.unwrap();
        }
    }
}

#[tokio::test]
async fn boxes_of_a_far_engine_are_like_others() {
    for bed in Bed::all() {
        let state = tempfile::tempdir().unwrap();
        let backend = open(&bed, port(&bed).await, state.path());
        match backend.probe().await {
            Probe::Ready { detail } => assert!(detail.contains("another machine"), "{detail}"),
            other => panic!("{other:?}"),
        }
        for (profile, network) in
            [(Profile::Moderate, NetworkAccess::On), (Profile::Restrictive, NetworkAccess::None)]
        {
            let mut spec = spec(&*backend).await;
            (spec.profile, spec.network) = (profile, network);
            spec.read_only_root = profile == Profile::Restrictive;
            let made = backend.launch(&spec).await.unwrap();
            let (_, text) =
                shell(&*made.guest(), "echo a; grep -E 'NoNewPrivs|Seccomp:' /proc/self/status").await;
            assert_eq!(text, "a\nNoNewPrivs:\t1\nSeccomp:\t2\n", "{}", bed.kind.name());
            made.destroy().await.unwrap();
        }
        let mut mounted = spec(&*backend).await;
        let target = BoxPath::new("/data").unwrap();
        mounted.mounts = vec![Mount { source: "/tmp".into(), target, access: Access::ReadOnly }];
        let error = backend.launch(&mounted).await.map(drop).unwrap_err().to_string();
        assert!(error.contains("agentkernel cp"), "{error}");
        assert_eq!(std::fs::read_dir(state.path().join(bed.kind.name()).join("leases")).unwrap().count(), 0);
        remove_volumes(&bed, state.path()).await;
    }
}

#[tokio::test]
async fn sandboxes_of_a_far_engine_are_like_others() {
    for bed in Bed::all() {
        let state = tempfile::tempdir().unwrap();
        let port = port(&bed).await;
        let backend = open(&bed, port, state.path());
        let dir = state.path().join("record");
        std::fs::create_dir(&dir).unwrap();
        let id = format!("{:08x}0000fa41", std::process::id());
        let record = BoxRecord { name: "far".parse().unwrap(), id, spec: spec(&*backend).await, dir };
        backend.create(&record).await.unwrap();
        backend.start(&record).await.unwrap();
        let guest = backend.connect(&record).await.unwrap();
        shell(&*guest, "echo kept > /root/f").await;
        backend.stop(&record, Duration::from_secs(1)).await.unwrap();
        let other = open(&bed, port, state.path());
        assert!(other.running(&record).await.unwrap().is_none(), "{}", bed.kind.name());
        assert!(other.connect(&record).await.is_err());
        other.start(&record).await.unwrap();
        let guest = other.connect(&record).await.unwrap();
        let (_, text) = shell(&*guest, "cat /root/f; python3 -c 'print(\"x\"*300000)' | wc -c").await;
        assert_eq!(text, "kept\n300001\n");
        // What runs in the box is no visitor: the agent's own socket turns it away.
        let script = "python3 -c 'import socket; s=socket.socket(socket.AF_UNIX); s.settimeout(5); \
                      s.connect(\"/.agentkernel/own/socket\"); print(s.recv(1))'";
        assert_eq!(shell(&*guest, script).await.1, "b''\n", "{}", bed.kind.name());
        other.remove(&record).await.unwrap();
        assert!(!bed.has_container(&record.id).await);
        assert_eq!(std::fs::read_dir(&record.dir).unwrap().count(), 0);
        remove_volumes(&bed, state.path()).await;
    }
}
