//! Environment, working folder, host name, and what a box must have.

use agentkernel_backend::BackendError;
use agentkernel_model::{ByteString, CannotExec, EnvVar, Outcome};

use super::super::ask::{path, refused, request, run, script, shell};
use super::super::scene::Scene;

pub(in super::super) async fn exact(scene: &Scene) {
    let guest = scene.guest().await;
    let mut wish = request(&["/bin/cat", "/proc/self/environ"]);
    let awkward: [(&str, &[u8]); 5] =
        [("A", b"1"), ("EMPTY", b""), ("SPACES", b" a  b\n"), ("EQUALS", b"a=b=c"), ("BYTES", b"\xff\xfe")];
    wish.env = awkward
        .iter()
        .map(|(name, value)| EnvVar { name: (*name).into(), value: ByteString(value.to_vec()) })
        .collect();
    let done = run(&*guest, &wish).await;
    let mut seen: Vec<&[u8]> = done.stdout.split(|byte| *byte == 0).filter(|var| !var.is_empty()).collect();
    let mut expected: Vec<Vec<u8>> =
        awkward.iter().map(|(name, value)| [name.as_bytes(), b"=", value].concat()).collect();
    seen.sort_unstable();
    expected.sort_unstable();
    assert_eq!(seen, expected, "the whole environment is what was asked for");
}

pub(in super::super) async fn can_be_empty(scene: &Scene) {
    let guest = scene.guest().await;
    let mut wish = request(&["/bin/cat", "/proc/self/environ"]);
    wish.env.clear();
    let done = run(&*guest, &wish).await;
    assert_eq!((done.outcome, done.stdout.len()), (Outcome::Exited(0), 0), "{:?}", done.stdout);
}

pub(in super::super) async fn bad_names(scene: &Scene) {
    let guest = scene.guest().await;
    for name in ["", "A=B"] {
        let mut wish = request(&["true"]);
        wish.env.push(EnvVar { name: name.into(), value: "x".into() });
        let error = refused(&*guest, &wish).await;
        assert!(matches!(error, BackendError::Invalid { .. }), "{name:?}: {error:?}");
    }
}

pub(in super::super) async fn secrets_stay_out_of_argv(scene: &Scene) {
    let guest = scene.guest().await;
    let secret = format!("secret-{}-{:p}", std::process::id(), &guest);
    let mut wish = request(&["sleep", "1000"]);
    wish.env.push(EnvVar { name: "TOKEN".into(), value: secret.as_str().into() });
    let execution = guest.exec(&wish).await.expect("started");
    let mut looked_at = 0;
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        // Processes come and go while this looks.
        let Ok(arguments) = std::fs::read(entry.path().join("cmdline")) else { continue };
        looked_at += 1;
        assert!(!contains(&arguments, secret.as_bytes()), "{} shows the secret", entry.path().display());
    }
    assert!(looked_at > 0);
    drop(execution);
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

pub(in super::super) async fn workdir(scene: &Scene) {
    let guest = scene.guest().await;
    shell(&*guest, "mkdir -p '/tmp/a b/c'").await;
    for folder in ["/", "/tmp", "/tmp/a b/c", "/workspace"] {
        let mut wish = script("pwd");
        wish.workdir = path(folder);
        assert_eq!(run(&*guest, &wish).await.text(), format!("{folder}\n"));
    }
}

pub(in super::super) async fn workdir_missing(scene: &Scene) {
    let guest = scene.guest().await;
    for folder in ["/no/such/folder", "/etc/passwd"] {
        let mut wish = script("pwd");
        wish.workdir = path(folder);
        match refused(&*guest, &wish).await {
            BackendError::CannotExec(error @ CannotExec::Workdir { .. }) => {
                assert_eq!(error.exit_code(), 126)
            }
            other => panic!("{folder}: {other:?}"),
        }
    }
}

pub(in super::super) async fn hostname(scene: &Scene) {
    let guest = scene.guest_with(|spec| spec.hostname = "a-name-of-its-own".to_owned()).await;
    assert_eq!(shell(&*guest, "cat /proc/sys/kernel/hostname").await, "a-name-of-its-own\n");
}

pub(in super::super) async fn essentials(scene: &Scene) {
    let guest = scene.guest().await;
    let text = "for d in /tmp /dev /proc /etc /workspace /root /home; do test -d $d || echo no $d; done; \
                echo lost > /dev/null && cat /dev/null; echo kept > /tmp/f && cat /tmp/f";
    assert_eq!(shell(&*guest, text).await, "kept\n");
}
