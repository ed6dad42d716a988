//! What is kept of detached commands over a sandbox's stop and start.

use std::time::Duration;

use agentkernel_backend::{BoxRecord, ExecutionState};
use agentkernel_model::{ByteString, EnvVar, ExecRequest, Outcome};
use tokio::io::AsyncReadExt;

use crate::bed::{Bed, shell, spec};

#[tokio::test]
async fn logs_outlive_a_stop_and_nothing_that_root_puts_there_is_believed() {
    for bed in Bed::all() {
        let state = tempfile::tempdir().unwrap();
        let backend = bed.open(state.path());
        let dir = state.path().join("record");
        std::fs::create_dir(&dir).unwrap();
        let id = format!("{:08x}0000106f", std::process::id());
        let record = BoxRecord { name: "kept".parse().unwrap(), id, spec: spec(&*backend).await, dir };
        backend.create(&record).await.unwrap();
        backend.start(&record).await.unwrap();
        let guest = backend.connect(&record).await.unwrap();
        let request = ExecRequest {
            argv: ["sh", "-c", "seq 1 1000; echo err >&2; exit 5"].map(ByteString::from).into(),
            env: vec![EnvVar { name: "PATH".into(), value: "/usr/local/bin:/usr/bin:/bin".into() }],
            workdir: "/".parse().unwrap(),
            user: None,
            stdin: false,
            tty: None,
            timeout: None,
            detached_log_limit: Some(1 << 20),
        };
        let exec = guest.exec(&request).await.unwrap().id;
        assert_eq!(guest.wait(&exec).await.unwrap(), Outcome::Exited(5));
        // In a container the folder is root's own: what it plants is removed and harms nothing.
        let planted = "cd /.agentkernel/own/log && ln -s /dev/zero command-0123456789abcdef && \
                       mkfifo log-fedcba9876543210.1 && echo x > command-fedcba9876543210 && ls | wc -l";
        assert_eq!(shell(&*guest, planted).await.1, "5\n", "{}", bed.kind.name());
        drop(guest);
        backend.stop(&record, Duration::ZERO).await.unwrap();
        backend.start(&record).await.unwrap();
        let guest = backend.connect(&record).await.unwrap();
        let list = guest.executions().await.unwrap();
        assert_eq!(list.len(), 1, "{list:?}");
        assert_eq!((&list[0].id, list[0].state), (&exec, ExecutionState::Ended(Outcome::Exited(5))));
        let mut log = guest.logs(&exec, 0, true).await.unwrap();
        let (mut out, mut err) = (String::new(), String::new());
        log.stdout.read_to_string(&mut out).await.unwrap();
        log.stderr.read_to_string(&mut err).await.unwrap();
        let whole: String = (1..=1000).map(|number| format!("{number}\n")).collect();
        assert!(out == whole && err == "err\n", "{}", bed.kind.name());
        assert_eq!(shell(&*guest, "ls /.agentkernel/own/log | wc -l").await.1, "2\n");
        backend.remove(&record).await.unwrap();
    }
}
