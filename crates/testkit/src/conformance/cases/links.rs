//! Symbolic links never lead out of the box, nor do removals follow them.

use agentkernel_backend::{BackendError, FileKind};

use super::super::ask::{content, path, read_all, shell, within};
use super::super::scene::Scene;

pub(in super::super) async fn are_followed_inside(scene: &Scene) {
    let guest = scene.guest().await;
    shell(&*guest, "echo inside > /tmp/target; ln -s target /tmp/near; ln -s /tmp/target /tmp/far").await;
    for link in ["/tmp/near", "/tmp/far"] {
        assert_eq!(
            read_all(guest.read_file(&path(link)).await.expect("a file")).await,
            b"inside\n",
            "{link}"
        );
        let info = guest.stat(&path(link)).await.expect("a link");
        assert_eq!(info.kind, FileKind::Symlink, "stat doesn't follow");
    }
    guest.write_file(&path("/tmp/near"), None, content("new")).await.expect("written through the link");
    assert_eq!(shell(&*guest, "cat /tmp/target; test -e /tmp/near && echo there").await, "newthere\n");
}

pub(in super::super) async fn end_at_the_box_root(scene: &Scene) {
    let guest = scene.guest().await;
    // A file that exists on the host only, and the same place inside.
    let outside = scene.host_folder().join("outside");
    std::fs::write(&outside, "the host's").expect("written");
    let up = "../".repeat(30);
    let outside = outside.to_string_lossy().into_owned();
    shell(&*guest, &format!("ln -s {outside} /tmp/a; ln -s {up}{} /tmp/b", &outside[1..])).await;
    for link in ["/tmp/a", "/tmp/b"] {
        let result = guest.read_file(&path(link)).await.map(drop);
        assert!(matches!(result, Err(BackendError::NotFound { .. })), "{link}: {result:?}");
        // The folder is missing inside, so writing fails; wherever it lands, it isn't on the host.
        drop(guest.write_file(&path(link), None, content("evil")).await);
        assert_eq!(std::fs::read(&outside).expect("still there"), b"the host's");
    }
}

pub(in super::super) async fn loops_end(scene: &Scene) {
    let guest = scene.guest().await;
    shell(&*guest, "ln -s loop /tmp/loop; ln -s nowhere /tmp/dangling").await;
    let looped = within("a loop", guest.read_file(&path("/tmp/loop"))).await.map(drop);
    assert!(matches!(looped, Err(BackendError::Invalid { .. })), "{looped:?}");
    let dangling = guest.read_file(&path("/tmp/dangling")).await.map(drop);
    assert!(matches!(dangling, Err(BackendError::NotFound { .. })), "{dangling:?}");
    assert_eq!(guest.stat(&path("/tmp/loop")).await.expect("a link").kind, FileKind::Symlink);
}

pub(in super::super) async fn are_removed_themselves(scene: &Scene) {
    let guest = scene.guest().await;
    shell(&*guest, "mkdir -p /tmp/keep /tmp/gone; echo x > /tmp/keep/f; ln -s /tmp/keep /tmp/gone/l; ln -s /tmp/keep /tmp/m").await;
    guest.remove_file(&path("/tmp/gone"), true).await.expect("removed");
    guest.remove_file(&path("/tmp/m"), true).await.expect("removed");
    assert_eq!(shell(&*guest, "cat /tmp/keep/f; test -e /tmp/gone || echo gone").await, "x\ngone\n");
}
