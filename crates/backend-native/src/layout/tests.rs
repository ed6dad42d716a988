//! What the plan says, without making anything.

use std::path::{Path, PathBuf};

use agentkernel_model::Access;
use agentkernel_sys::steps::Step;

use super::{Backing, Base, ImageFolders, Layout, UserMount};

fn layout(base: &Base, fresh: bool, read_only: bool, shifts_owners: bool) -> Layout<'_> {
    let mount = |target: &str, is_folder| UserMount {
        source: "/srv/shared".into(),
        target: target.into(),
        access: Access::ReadWrite,
        is_folder,
    };
    Layout {
        base,
        agent: Path::new("/state/agent"),
        backing: Backing::Folder("/state/layers".into()),
        fresh,
        read_only,
        stage: Path::new("/state/stage"),
        go: 9,
        cgroup_entries: vec!["/sys/fs/cgroup/pids/agentkernel/x/tasks".into()],
        hostname: "box",
        resolv_conf: Vec::new(),
        workdir: Path::new("/srv/app"),
        many_ids: true,
        shifts_owners,
        mounts: vec![mount("/workspace", true), mount("/opt/deep/file", false)],
    }
}

fn image() -> Base {
    let layers = ["/images/layers/root/aa", "/images/layers/root/bb"].map(PathBuf::from);
    Base::Image(ImageFolders::of(&layers).unwrap())
}

fn position(steps: &[Step], what: impl Fn(&Step) -> bool) -> usize {
    steps.iter().position(what).unwrap()
}

#[test]
fn layers_are_named_from_the_folder_they_share_topmost_first() {
    let of = |paths: &[&str]| {
        let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
        let found = ImageFolders::of(&paths)?;
        let layers: Vec<_> = found.layers.iter().map(|layer| layer.display().to_string()).collect();
        Some((found.common.display().to_string(), layers.join(" ")))
    };
    let expected = |common: &str, layers: &str| Some((common.to_owned(), layers.to_owned()));
    assert_eq!(of(&["/i/l/root/aa"]), expected("/i/l/root", "aa"));
    assert_eq!(of(&["/i/l/root/aa", "/i/l/root/bb"]), expected("/i/l/root", "bb aa"));
    assert_eq!(of(&["/i/l/a/x", "/i/l/b/y"]), expected("/i/l", "b/y a/x"));
    assert_eq!(of(&["/i/l/a", "/i/l/a/b"]), expected("/i/l", "a/b a"));
    assert_eq!(of(&[]), None);
}

#[test]
fn what_an_earlier_tenant_has_written_is_met_in_the_box_only() {
    for read_only in [false, true] {
        let base = image();
        let steps = layout(&base, false, read_only, true).steps();
        let entered = position(&steps, |step| matches!(step, Step::PivotInto { .. }));
        for step in &steps[..entered] {
            let path = match step {
                Step::Directory { path, .. }
                | Step::File { path, .. }
                | Step::FileOnce { path, .. }
                | Step::Symlink { path, .. }
                | Step::MountPoint(path)
                | Step::OwnFile(path)
                | Step::OwnFolder { path, .. }
                | Step::Rename { from: path, .. } => path.to_str().unwrap(),
                _ => continue,
            };
            assert!(!path.starts_with("upper") && !path.starts_with("work/"), "{step}");
            // Beside the root, where no box gets, or in what has just been emptied.
            assert!(!path.starts_with('/'), "{step}");
        }
        let emptied = position(
            &steps,
            |step| matches!(step, Step::EmptyFolder { path, .. } if path.as_c_str() == c"dev"),
        );
        let filled =
            position(&steps, |step| matches!(step, Step::MountPoint(path) if path.as_c_str() == c"dev/null"));
        assert!(emptied < filled && filled < entered);
    }
}

#[test]
fn the_users_mounts_come_after_our_files_and_before_the_process_files() {
    for base in [image(), Base::Host] {
        for fresh in [true, false] {
            let steps = layout(&base, fresh, false, true).steps();
            let user = |step: &Step| matches!(step, Step::Attach { target, .. } if target.as_c_str() == c"/workspace");
            let ours = |step: &Step| match step {
                Step::File { path, .. } => path.to_bytes().ends_with(b"etc/resolv.conf"),
                _ => false,
            };
            let process =
                |step: &Step| matches!(step, Step::Attach { target, .. } if target.as_c_str() == c"/proc");
            let mounted = position(&steps, user);
            assert!(position(&steps, ours) < mounted && mounted < position(&steps, process));
        }
    }
}

#[test]
fn nothing_is_replaced_once_the_first_of_the_users_folders_is_there() {
    let base = image();
    let steps = layout(&base, true, false, true).steps();
    let first = position(
        &steps,
        |step| matches!(step, Step::Attach { target, .. } if target.as_c_str() == c"/workspace"),
    );
    let replaces =
        |step: &&Step| matches!(step, Step::OwnFolder { .. } | Step::OwnFile(_) | Step::File { .. });
    assert_eq!(steps[first..].iter().filter(replaces).count(), 0);
    assert_eq!(steps[..first].iter().filter(|step| matches!(step, Step::OwnFile(_))).count(), 1);
}

#[test]
fn mounts_with_shifted_owners_are_awaited_once_and_in_order() {
    for (base, expected) in [(image(), 3), (Base::Host, 2)] {
        let steps = layout(&base, true, false, true).steps();
        let awaited: Vec<usize> = steps
            .iter()
            .filter_map(|step| match step {
                Step::AwaitTrees { slots, .. } => Some(slots.clone()),
                _ => None,
            })
            .flatten()
            .collect();
        assert_eq!(awaited.len(), expected);
        assert!(awaited.is_sorted());
        let own = layout(&base, true, false, false).steps();
        assert!(!own.iter().any(|step| matches!(step, Step::AwaitTrees { .. })));
    }
}
