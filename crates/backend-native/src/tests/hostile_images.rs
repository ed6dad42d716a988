//! Images made to get out of the box, or to keep it from starting: whatever they have at the places that make a box what
//! it is, the box starts, has these places, and nothing of the host is touched.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use agentkernel_model::Access;

use super::image_world::World;

/// What every box must have, whatever the image is.
const PLACES: &str = "test -c /dev/null && echo x > /dev/null && test -d /dev/pts && test -h /dev/fd && test -d /proc/self \
                      && test -r /proc/self/status && test ! -e /sys/trap && cat /etc/hostname && test -f /etc/resolv.conf \
                      && test ! -h /etc && test -d /tmp && echo x > /tmp/x && test ! -h /tmp && mount | cat > /dev/null \
                      && echo whole";

/// Prepares a layer; `outside` is a folder of the host that nothing may happen to.
type Trap = fn(layer: &Path, outside: &Path);

fn folder(path: &Path) {
    std::fs::create_dir(path).unwrap();
}

fn file(path: &Path) {
    std::fs::write(path, "trap").unwrap();
}

fn closed_file(path: &Path) {
    file(path);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o000)).unwrap();
}

const TRAPS: [(&str, Trap); 24] = [
    ("/etc is a link to /", |layer, _| symlink("/", layer.join("etc")).unwrap()),
    ("/etc is a link to a folder of the host", |layer, outside| symlink(outside, layer.join("etc")).unwrap()),
    ("/etc is a link up", |layer, outside| {
        symlink(
            Path::new("../../../../../../../../..").join(outside.strip_prefix("/").unwrap()),
            layer.join("etc"),
        )
        .unwrap();
    }),
    ("/etc is a file", |layer, _| file(&layer.join("etc"))),
    ("/dev is a file", |layer, _| closed_file(&layer.join("dev"))),
    ("/dev is a link to the host's", |layer, _| symlink("/proc/1/root/dev", layer.join("dev")).unwrap()),
    ("/dev has folders for devices and files for folders", |layer, outside| {
        folder(&layer.join("dev"));
        folder(&layer.join("dev/null"));
        file(&layer.join("dev/pts"));
        symlink(outside, layer.join("dev/shm")).unwrap();
        symlink(outside.join("new"), layer.join("dev/zero")).unwrap();
    }),
    ("/proc is a link", |layer, outside| symlink(outside, layer.join("proc")).unwrap()),
    ("/proc is a link to itself", |layer, _| symlink("proc", layer.join("proc")).unwrap()),
    ("/proc is a file", |layer, _| file(&layer.join("proc"))),
    ("/proc has what the kernel's has", |layer, outside| {
        folder(&layer.join("proc"));
        folder(&layer.join("proc/self"));
        symlink("/", layer.join("proc/self/root")).unwrap();
        symlink(outside, layer.join("proc/sys")).unwrap();
        symlink(outside.join("new"), layer.join("proc/kcore")).unwrap();
    }),
    ("/sys is a link", |layer, outside| symlink(outside, layer.join("sys")).unwrap()),
    ("/sys is full", |layer, _| {
        folder(&layer.join("sys"));
        file(&layer.join("sys/trap"));
    }),
    ("/etc/resolv.conf is a link into /proc", |layer, _| {
        folder(&layer.join("etc"));
        symlink("/proc/1/root/etc/resolv.conf", layer.join("etc/resolv.conf")).unwrap();
    }),
    ("/etc/hosts is a link out", |layer, outside| {
        folder(&layer.join("etc"));
        symlink(outside.join("new"), layer.join("etc/hosts")).unwrap();
        symlink(outside.join("new"), layer.join("etc/hostname")).unwrap();
    }),
    ("/etc/hosts is a folder", |layer, _| {
        folder(&layer.join("etc"));
        folder(&layer.join("etc/hosts"));
        file(&layer.join("etc/hosts/file"));
        closed_file(&layer.join("etc/hostname"));
    }),
    ("/etc is closed", |layer, _| {
        folder(&layer.join("etc"));
        std::fs::set_permissions(layer.join("etc"), std::fs::Permissions::from_mode(0o000)).unwrap();
    }),
    ("/tmp is a closed file", |layer, _| closed_file(&layer.join("tmp"))),
    ("/tmp is a link", |layer, outside| symlink(outside, layer.join("tmp")).unwrap()),
    ("/workspace is a link out", |layer, outside| symlink(outside, layer.join("workspace")).unwrap()),
    ("/workspace is a link to a descriptor", |layer, _| {
        symlink("/proc/self/fd/5", layer.join("workspace")).unwrap();
    }),
    ("/workspace is a link to /", |layer, _| symlink("/", layer.join("workspace")).unwrap()),
    ("/workspace is a link to /etc", |layer, _| symlink("/etc", layer.join("workspace")).unwrap()),
    ("/workspace is a file", |layer, _| closed_file(&layer.join("workspace"))),
];

#[test]
fn every_box_has_its_places_whatever_the_image_says() {
    for (name, trap) in TRAPS {
        let Some(mut world) = World::new() else { return };
        let outside = world.host_folder("outside");
        std::fs::set_permissions(&outside, std::fs::Permissions::from_mode(0o777)).unwrap();
        trap(&world.layer(), &outside);
        let shared = world.host_folder("shared");
        std::fs::set_permissions(&shared, std::fs::Permissions::from_mode(0o777)).unwrap();
        for (mounted, read_only) in [(false, false), (true, false), (true, true)] {
            let said = world.run(
                |spec| {
                    spec.read_only_root = read_only;
                    if mounted {
                        spec.mounts = vec![World::mount(&shared, "/workspace", Access::ReadWrite)];
                    }
                },
                &match mounted {
                    true => format!("{PLACES} && cd /workspace && echo x > here && test -e /workspace/here"),
                    false => PLACES.to_owned(),
                },
            );
            assert_eq!(said, "imagebox\nwhole\n", "{name}, mounted: {mounted}, read-only: {read_only}");
            assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0, "{name}: the host was changed");
        }
        assert_eq!(std::fs::read_to_string(shared.join("here")).unwrap(), "x\n", "{name}");
        let names: Vec<_> =
            std::fs::read_dir(&shared).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["here"], "{name}: files of ours in a folder of the user's");
    }
}

#[test]
fn nothing_in_a_folder_of_the_users_is_replaced_by_way_of_an_image() {
    let Some(mut world) = World::new() else { return };
    symlink("/workspace", world.layer().join("also")).unwrap();
    let shared = world.host_folder("shared");
    symlink("nowhere", shared.join("link")).unwrap();
    file(&shared.join("file"));
    let other = world.host_folder("other");
    for target in ["/also/link", "/also/file", "/workspace/link", "/workspace/file"] {
        let started = super::image_world::runtime().block_on(async {
            let mounts = vec![
                World::mount(&shared, "/workspace", Access::ReadWrite),
                World::mount(&other, target, Access::ReadOnly),
            ];
            match world.launch(|spec| spec.mounts = mounts).await {
                Ok(made) => agentkernel_backend::EphemeralBox::destroy(Box::new(made)).await.map(|()| true),
                Err(error) => Ok(error.to_string().is_empty()),
            }
        });
        started.unwrap();
        assert_eq!(std::fs::read_link(shared.join("link")).unwrap(), Path::new("nowhere"), "{target}");
        assert_eq!(std::fs::read_to_string(shared.join("file")).unwrap(), "trap", "{target}");
    }
}
