//! The root filesystem.

use agentkernel_model::Outcome;

use super::super::ask::{run, script, shell};
use super::super::scene::Scene;

pub(in super::super) async fn is_writable_and_private(scene: &Scene) {
    let guest = scene.guest().await;
    let name = format!("agentkernel-case-{}", std::process::id());
    let text = format!(
        "for d in /etc /usr /root /var /; do echo x > $d/{name} || echo no $d; done; cat /etc/{name}"
    );
    assert_eq!(shell(&*guest, &text).await, "x\n");
    for folder in ["/etc", "/usr", "/root", "/var", "/"] {
        let outside = std::path::Path::new(folder).join(&name);
        assert!(!outside.exists(), "{} was written on the host", outside.display());
    }
}

pub(in super::super) async fn can_be_read_only(scene: &Scene) {
    let guest = scene.guest_with(|spec| spec.read_only_root = true).await;
    for folder in ["/", "/etc", "/usr", "/root", "/var", "/home"] {
        let done = run(&*guest, &script(&format!("echo x > {folder}/written"))).await;
        assert_ne!(done.outcome, Outcome::Exited(0), "{folder} can be written");
        assert!(!done.stderr.is_empty());
    }
    assert_eq!(shell(&*guest, "for d in /tmp /dev/shm; do echo x > $d/f && cat $d/f; done").await, "x\nx\n");
    let removed = run(&*guest, &script("rm -f /etc/passwd; cat /etc/passwd")).await;
    assert!(!removed.stdout.is_empty(), "a file of the root was removed");
}
