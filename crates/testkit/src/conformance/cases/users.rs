//! Who runs a command.

use agentkernel_backend::BackendError;
use agentkernel_model::{CannotExec, Outcome};

use super::super::ask::{refused, request, run, script, shell};
use super::super::scene::Scene;

pub(in super::super) async fn root_by_default(scene: &Scene) {
    let guest = scene.guest().await;
    assert_eq!(run(&*guest, &request(&["id", "-u"])).await.text(), "0\n");
    assert_eq!(run(&*guest, &request(&["id", "-g"])).await.text(), "0\n");
}

pub(in super::super) async fn root_by_name(scene: &Scene) {
    let guest = scene.guest().await;
    for user in ["root", "0", "0:0", "root:root"] {
        let mut wish = request(&["id", "-u"]);
        wish.user = Some(user.parse().expect("a user"));
        assert_eq!(run(&*guest, &wish).await.text(), "0\n", "{user}");
    }
}

pub(in super::super) async fn by_number(scene: &Scene) {
    let guest = scene.guest().await;
    for (user, uid, gid) in [("1234:2345", "1234\n", "2345\n"), ("65534:65534", "65534\n", "65534\n")] {
        for (flag, expected) in [("-u", uid), ("-g", gid)] {
            let mut wish = request(&["id", flag]);
            wish.user = Some(user.parse().expect("a user"));
            assert_eq!(run(&*guest, &wish).await.text(), expected, "{user}");
        }
    }
}

pub(in super::super) async fn by_name(scene: &Scene) {
    let guest = scene.guest().await;
    let passwd = run(&*guest, &request(&["cat", "/etc/passwd"])).await.text().to_owned();
    let fields: Vec<Vec<&str>> = passwd.lines().map(|line| line.split(':').collect()).collect();
    let Some(user) = fields.iter().find(|fields| fields.len() > 3 && fields[2] != "0") else {
        panic!("/etc/passwd has no user but root: {passwd}");
    };
    let mut wish = request(&["id", "-u"]);
    wish.user = Some(user[0].parse().expect("a user"));
    assert_eq!(run(&*guest, &wish).await.text(), format!("{}\n", user[2]));
    wish.argv[1] = "-g".into();
    assert_eq!(run(&*guest, &wish).await.text(), format!("{}\n", user[3]));
}

pub(in super::super) async fn unknown(scene: &Scene) {
    let guest = scene.guest().await;
    for user in ["no-such-user", "root:no-such-group"] {
        let mut wish = request(&["true"]);
        wish.user = Some(user.parse().expect("a user"));
        match refused(&*guest, &wish).await {
            BackendError::CannotExec(error @ CannotExec::User { .. }) => assert_eq!(error.exit_code(), 126),
            other => panic!("{user}: {other:?}"),
        }
    }
}

pub(in super::super) async fn are_not_root(scene: &Scene) {
    let guest = scene.guest().await;
    shell(&*guest, "echo secret > /tmp/secret; chmod 600 /tmp/secret").await;
    let mut wish = script("cat /tmp/secret");
    wish.user = Some("1234:2345".parse().expect("a user"));
    let done = run(&*guest, &wish).await;
    assert!(done.outcome != Outcome::Exited(0) && done.stdout.is_empty(), "{done:?}");
    let mut groups = request(&["cat", "/proc/self/status"]);
    groups.user = wish.user;
    let status = run(&*guest, &groups).await.text().to_owned();
    let line = status.lines().find(|line| line.starts_with("Groups:")).expect("a line of groups");
    assert!(!line.split_whitespace().skip(1).any(|group| group == "0"), "still in root's group: {line}");
}
