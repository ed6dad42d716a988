//! An ordinary image's root: what is the image's, what is ours, what is kept.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use agentkernel_model::Access;

use super::image_world::{World, runtime};

#[test]
fn the_topmost_layer_wins_and_the_box_writes_above_it() {
    let Some(mut world) = World::new() else { return };
    let first = world.layer();
    std::fs::write(first.join("both"), "first").unwrap();
    std::fs::write(first.join("lowest"), "first").unwrap();
    let second = world.layer();
    std::fs::write(second.join("both"), "second").unwrap();
    let said = world.run(
        |_| {},
        "cat /both /lowest; echo changed > /both; echo new > /new; cat /both /new; rm /lowest; ls /lowest 2>&1; \
         mkdir /a /a/b && mv /a /c && ls -d /c/b",
    );
    assert_eq!(said, "secondfirstchanged\nnew\nls: /lowest: No such file or directory\n/c/b\n");
    assert_eq!(std::fs::read_to_string(second.join("both")).unwrap(), "second");
    assert!(first.join("lowest").exists() && !first.join("new").exists());
}

#[test]
fn the_box_has_its_own_names_devices_and_process_files() {
    let Some(world) = World::new() else { return };
    let said = world.run(
        |_| {},
        "cat /etc/hostname; test -s /etc/hosts && test -f /etc/resolv.conf && test -c /dev/null && echo x > /dev/null \
         && test -d /dev/shm && touch /dev/shm/x && test -c /dev/tty && test -c /dev/ptmx && test -r /proc/self/status \
         && test -h /dev/stdin && echo there; ls /sys; ls /; stat -c %a /tmp /etc /proc /root; cat /proc/interrupts; \
         stat -c %u:%g / /bin/busybox /workspace",
    );
    let expected = "imagebox\nthere\nbin\ndev\netc\nhome\nproc\nroot\nsys\ntmp\nworkspace\n1777\n755\n555\n755\n\
                    0:0\n0:0\n0:0\n";
    assert_eq!(said, expected);
    let said = world.try_run(|_| {}, "echo x > /sys/x; echo y > /proc/sys/kernel/hostname");
    assert_eq!(said.matches("Read-only file system").count(), 2, "{said}");
}

#[test]
fn a_read_only_root_has_writable_temporary_folders_alone() {
    let Some(world) = World::new() else { return };
    let shared = world.host_folder("shared");
    let said = world.run(
        |spec| {
            spec.read_only_root = true;
            spec.mounts = vec![World::mount(&shared, "/work/deep/shared", Access::ReadWrite)];
        },
        "for place in / /etc /dev /workspace /bin /work/deep /sys; do \
           (echo x > $place/x) 2>/dev/null && echo written: $place; \
         done; for place in /tmp /dev/shm /work/deep/shared; do echo x > $place/x || echo not: $place; done; \
         echo x > /dev/null; cat /etc/hostname",
    );
    assert_eq!(said, "imagebox\n");
    assert!(shared.join("x").exists());
}

#[test]
fn owners_of_the_image_are_those_of_the_box() {
    let Some(mut world) = World::new() else { return };
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: only root can give files to others");
        return;
    }
    let layer = world.layer();
    std::fs::create_dir(layer.join("home")).unwrap();
    std::fs::create_dir(layer.join("home/node")).unwrap();
    std::fs::write(layer.join("home/node/file"), "x").unwrap();
    std::os::unix::fs::chown(layer.join("home/node"), Some(1000), Some(1000)).unwrap();
    std::os::unix::fs::chown(layer.join("home/node/file"), Some(1000), Some(65_535)).unwrap();
    let said = world.run(
        |_| {},
        "stat -c %u:%g /home/node /home/node/file; echo y > /home/node/file; stat -c %u:%g /home/node/file",
    );
    assert_eq!(said, "1000:1000\n1000:65535\n1000:65535\n");
    let meta = std::fs::metadata(layer.join("home/node/file")).unwrap();
    assert_eq!((meta.uid(), meta.gid(), meta.len()), (1000, 65_535, 1));
}

#[test]
fn files_survive_a_stop_and_made_files_are_made_again() {
    let Some(mut world) = World::new() else { return };
    let layer = world.layer();
    std::fs::write(layer.join("image-file"), "image").unwrap();
    runtime().block_on(async {
        let record = world.create().await;
        let said = world
            .session(
                &record,
                "echo kept > /kept; rm /image-file; echo gone > /etc/hosts; echo x > /dev/shm/x; mkdir /dev/old; \
                 echo mine > /etc/mine; cat /etc/hostname",
            )
            .await;
        assert_eq!(said, "imagebox\n");
        let said = world
            .session(
                &record,
                "cat /kept /etc/mine /etc/hostname; ls /image-file /dev/old 2>&1; cat /etc/hosts | grep -c localhost",
            )
            .await;
        assert!(said.starts_with("kept\nmine\nimagebox\n"), "{said}");
        world.remove(&record).await;
    });
}

#[test]
fn a_box_that_replaced_its_own_places_starts_again_inside_of_its_root() {
    let Some(world) = World::new() else { return };
    let outside = world.host_folder("outside");
    std::fs::set_permissions(&outside, std::fs::Permissions::from_mode(0o777)).unwrap();
    runtime().block_on(async {
        let record = world.create().await;
        let target = outside.display();
        let said = world
            .session(
                &record,
                &format!(
                    "rm -r /etc /workspace; ln -s {target} /etc; ln -s {target} /workspace; mv /tmp /old; \
                     ln -s / /tmp; cd /dev; rm -rf ./shm/* ./fd ./stdin; mkdir fd; echo done"
                ),
            )
            .await;
        assert_eq!(said, "done\n");
        let said =
            world.session(&record, "cat /etc/hostname; test -d /tmp && test -h /dev/fd && echo fine").await;
        assert_eq!(said, "imagebox\nfine\n");
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
        world.remove(&record).await;
    });
}

#[test]
fn as_many_layers_as_an_image_may_have_are_laid_over_each_other() {
    let Some(mut world) = World::new() else { return };
    for number in 1..127 {
        let layer = world.layer();
        std::fs::write(layer.join("topmost"), number.to_string()).unwrap();
        std::fs::write(layer.join(format!("layer-{number}")), "").unwrap();
    }
    let said = world.run(|_| {}, "cat /topmost; set -- /layer-*; echo \" $#\"");
    assert_eq!(said, "126 126\n");
}
