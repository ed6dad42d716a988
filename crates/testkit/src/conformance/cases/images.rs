//! What OCI images are in a box. The images are the test bed's (`cargo xtask test-bed`); a backend that doesn't have them
//! skips these cases. Entrypoint, environment, working folder and user of an image are the engine's to apply.

use agentkernel_backend::{BackendError, Guest};
use agentkernel_model::{ImageId, ImageRef, Outcome};

use super::super::ask::{request, run, script, shell};
use super::super::scene::{GRACE, Scene};

/// What the test bed puts into its images in two layers (`xtask/src/test_bed/images/layered.rs`).
const LAYERED: &str = "busybox";

/// A box of a test bed image; `None` where the backend doesn't have it.
async fn guest(scene: &Scene, name: &str) -> Option<std::sync::Arc<dyn Guest>> {
    let (image, id) = scene.bed_image(name).await?;
    let guest = scene.guest_with(|spec| {
        spec.image = image;
        spec.image_id = Some(id);
    });
    Some(guest.await)
}

pub(in super::super) async fn are_found_by_name_and_id(scene: &Scene) {
    let Some((image, id)) = scene.bed_image(LAYERED).await else { return };
    let images = scene.backend().images().expect("a backend with images");
    for text in ["agentkernel-test/busybox:1", "docker.io/agentkernel-test/busybox:1", id.as_str()] {
        let named: ImageRef = text.parse().expect("an image");
        let found = images.find(&named).await.expect("an answer");
        assert_eq!(found.map(|ready| ready.id), Some(id.clone()), "{text}");
    }
    for text in ["agentkernel-test/busybox:2", "agentkernel-test/busy:1", "agentkernel-test/no-such:1"] {
        let named: ImageRef = text.parse().expect("an image");
        assert_eq!(images.find(&named).await.expect("an answer"), None, "{text}");
    }
    let config = images.find(&image).await.expect("an answer").expect("found before").config;
    assert!(config.env.iter().any(|var| var.name.to_lossy() == "FROM_IMAGE"), "{config:?}");
}

pub(in super::super) async fn start_from_their_id(scene: &Scene) {
    let Some((_, id)) = scene.bed_image(LAYERED).await else { return };
    // The name of something else, and a name of nothing.
    for text in ["agentkernel-test/static:1", "agentkernel-test/gone:1"] {
        let guest = scene.guest_with(|spec| {
            spec.image = text.parse().expect("an image");
            spec.image_id = Some(id.clone());
        });
        assert_eq!(shell(&*guest.await, "cat /layered/kept").await, "lower\n", "{text}");
    }
}

pub(in super::super) async fn unknown_ids(scene: &Scene) {
    let Some((image, _)) = scene.bed_image(LAYERED).await else { return };
    let id: ImageId = format!("sha256:{}", "0123456789abcdef".repeat(4)).parse().expect("an id");
    let mut spec = scene.spec();
    spec.image = image;
    spec.image_id = Some(id);
    match scene.backend().launch(&spec).await.map(drop) {
        Err(
            BackendError::NotFound { .. }
            | BackendError::NoImage { .. }
            | BackendError::Unavailable { .. }
            | BackendError::Invalid { .. },
        ) => {}
        other => panic!("{other:?}"),
    }
}

pub(in super::super) async fn layers_are_in_order(scene: &Scene) {
    let Some(guest) = guest(scene, LAYERED).await else { return };
    let text = "cd /layered; cat replaced folder-to-file file-to-folder/new; ls opaque merged; \
                cat merged/old merged/new; for f in removed removed-folder .wh.removed opaque/.wh..wh..opq; do \
                test -e $f && echo $f is there; done; ls -a | grep '^[.]wh' ; ls -a opaque | grep '^[.]wh'; true";
    let expected = "upper\nupper\nupper\nmerged:\nnew\nold\n\nopaque:\nnew\nlower\nupper\n";
    assert_eq!(shell(&*guest, text).await, expected);
    // What the second layer has replaced by a link is a link, and was not written through it.
    let text = "readlink /layered/link-to-file; cat /layered/link-to-file | head -n 1";
    assert_eq!(shell(&*guest, text).await, "/etc/passwd\nroot:x:0:0:root:/root:/bin/sh\n");
    // What an upper layer hides can be made anew and is then empty.
    let text = "cd /layered; mkdir removed-folder; ls -A removed-folder; rm -r opaque merged; mkdir opaque merged; \
                ls -A opaque merged; echo new > removed; cat removed";
    assert_eq!(shell(&*guest, text).await, "merged:\n\nopaque:\nnew\n");
}

pub(in super::super) async fn odd_files_are_whole(scene: &Scene) {
    let Some(guest) = guest(scene, LAYERED).await else { return };
    let text = "cd /layered; test $(stat -c %i hard-a) = $(stat -c %i hard-b) && stat -c %h hard-a; \
                cat absolute relative; stat -c '%a %n' replaced sticky program; cat with*newline";
    let expected = "2\nlower\nlower\n644 replaced\n1777 sticky\n755 program\nodd name\n";
    assert_eq!(shell(&*guest, text).await, expected);
    let text = "cd /layered; echo more >> hard-a; cat hard-a | wc -l; stat -c %Y kept";
    assert_eq!(shell(&*guest, text).await, "2\n1767225600\n");
}

pub(in super::super) async fn owners(scene: &Scene) {
    let Some(guest) = guest(scene, LAYERED).await else { return };
    let text = "cd /layered; stat -c '%u:%g %a %n' owned owned-folder far-owner kept";
    let expected =
        "1000:1000 640 owned\n1000:1000 700 owned-folder\n65534:65534 600 far-owner\n0:0 644 kept\n";
    assert_eq!(shell(&*guest, text).await, expected);
    for (user, may) in [("1000:1000", true), ("1234:1234", false), ("1234:1000", true)] {
        let mut wish = request(&["cat", "/layered/owned"]);
        wish.user = Some(user.parse().expect("a user"));
        let done = run(&*guest, &wish).await;
        assert_eq!(done.outcome == Outcome::Exited(0), may, "{user}: {done:?}");
    }
    let mut wish = script("echo mine > /layered/owned-folder/file && cat /layered/owned-folder/file");
    wish.user = Some("user".parse().expect("a user"));
    assert_eq!(run(&*guest, &wish).await.text(), "mine\n");
}

pub(in super::super) async fn setuid_is_inert(scene: &Scene) {
    let Some(guest) = guest(scene, LAYERED).await else { return };
    let mut wish = request(&["/layered/setuid", "tell"]);
    wish.user = Some("1000:1000".parse().expect("a user"));
    let told = run(&*guest, &wish).await.text().to_owned();
    assert!(told.contains("user: 1000:1000 effective 1000:1000\n"), "{told}");
}

pub(in super::super) async fn can_be_read_only(scene: &Scene) {
    let Some((image, id)) = scene.bed_image(LAYERED).await else { return };
    let guest = scene.guest_with(|spec| {
        spec.image = image;
        spec.image_id = Some(id);
        spec.read_only_root = true;
    });
    let guest = guest.await;
    let text = "for f in /layered/kept /layered/opaque/new /etc/passwd; do \
                echo x > $f && echo wrote $f; rm -f $f && echo removed $f; done 2>/dev/null; \
                for f in /new /bin/new /root/new /layered/new; do echo x > $f && echo made $f; done 2>/dev/null; \
                cat /layered/kept /layered/opaque/new; echo x > /tmp/f && cat /tmp/f";
    assert_eq!(shell(&*guest, text).await, "lower\nupper\nx\n");
}

pub(in super::super) async fn stay_as_they_are(scene: &Scene) {
    let Some(first) = guest(scene, LAYERED).await else { return };
    let Some(beside) = guest(scene, LAYERED).await else { return };
    let text = "echo changed > /layered/kept; rm -r /layered/merged; echo x > /etc/added; chmod 600 /layered/program";
    shell(&*first, text).await;
    let look = "cat /layered/kept /layered/merged/old; stat -c %a /layered/program; test -e /etc/added && echo added; \
                true";
    assert_eq!(shell(&*beside, look).await, "lower\nlower\n755\n");
    let Some(after) = guest(scene, LAYERED).await else { return };
    assert_eq!(shell(&*after, look).await, "lower\nlower\n755\n");
}

pub(in super::super) async fn without_a_shell(scene: &Scene) {
    let Some(guest) = guest(scene, "static").await else { return };
    let mut wish = request(&["/program", "tell", "a b"]);
    wish.env.clear();
    let told = run(&*guest, &wish).await.text().to_owned();
    let expected =
        "argument 0: /program\nargument 1: tell\nargument 2: a b\nfolder: /\nuser: 0:0 effective 0:0\n";
    assert_eq!(told, expected);
    assert_eq!(run(&*guest, &request(&["/program", "exit", "7"])).await.outcome, Outcome::Exited(7));
    for folder in ["/tmp", "/workspace", "/data/work"] {
        let mut wish = request(&["/program"]);
        wish.workdir = super::super::ask::path(folder);
        assert!(run(&*guest, &wish).await.text().contains(&format!("folder: {folder}\n")), "{folder}");
    }
}

pub(in super::super) async fn other_libraries(scene: &Scene) {
    let Some(guest) = guest(scene, "musl").await else { return };
    let told = run(&*guest, &request(&["program", "tell", "x"])).await.text().to_owned();
    assert!(told.starts_with("argument 0: program\nargument 1: tell\nargument 2: x\n"), "{told}");
}

pub(in super::super) async fn survive_a_restart(scene: &Scene) {
    let Some((image, id)) = scene.bed_image(LAYERED).await else { return };
    let record = scene.record_with(|spec| {
        spec.image = image;
        spec.image_id = Some(id);
    });
    let backend = scene.backend();
    backend.create(&record).await.expect("created");
    backend.start(&record).await.expect("started");
    let guest = backend.connect(&record).await.expect("connected");
    let text = "cd /layered; echo mine > kept; rm replaced; rm -r merged; mkdir merged; echo x > merged/x; \
                rm -r opaque; mv owned moved";
    shell(&*guest, text).await;
    drop(guest);
    backend.stop(&record, GRACE).await.expect("stopped");
    backend.start(&record).await.expect("started again");
    let guest = backend.connect(&record).await.expect("connected");
    let text = "cd /layered; cat kept moved; ls merged; for f in replaced opaque owned removed; do \
                test -e $f && echo $f is there; done; true";
    assert_eq!(shell(&*guest, text).await, "mine\nowned\nx\n");
}
