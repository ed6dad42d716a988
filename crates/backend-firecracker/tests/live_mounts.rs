//! Folders of the host in a machine: real work on them, and their end.

#![expect(clippy::unwrap_used, reason = "a test's own failures, and why there is none")]

mod bed;

use std::path::Path;

use agentkernel_backend::{Backend, EphemeralBox};
use agentkernel_model::{Access, BoxPath, Mib, Mount, Outcome, Resources, SandboxSpec};
use agentkernel_testkit::conformance::{eventually, run, script, shell};
use agentkernel_testkit::plain_spec;

/// What a build does to a folder, in little; it says how far it is, since emulated machines are slow.
const WORK: &str = r#"
set -e
cd /data
mkdir -p a/b/c
i=0; while [ $i -lt 12 ]; do echo "$i" > "a/b/file-$i"; i=$((i+1)); done
echo many files
head -c 500000 /dev/urandom > large
echo one
cp large copy
echo two
cmp large copy
echo large files
tar -cf - a | (mkdir out; cd out; tar -xf -)
echo packed
test "$(find out -type f | wc -l)" = 12
rm -r out
echo trees
for writer in 1 2 3 4; do
    (i=0; while [ $i -lt 5 ]; do echo "$writer $i" >> "written-$writer"; i=$((i+1)); done) &
done
wait
echo at once
ln -s large link
test "$(readlink link)" = large
ln large hard
echo names
mv a/b/file-7 a/b/c/moved
chmod 755 copy
test -x copy
echo some > held; exec 5<held; rm held; test "$(cat <&5)" = some
: > large
test ! -s hard
cat from-host
"#;

async fn spec(backend: &dyn Backend, folder: &Path) -> SandboxSpec {
    let ready = backend.images().unwrap().find(&bed::image()).await.unwrap().unwrap();
    SandboxSpec {
        image: bed::image(),
        image_id: Some(ready.id),
        resources: Resources { memory: Some(Mib(192)), ..Resources::default() },
        mounts: vec![Mount {
            source: folder.to_owned(),
            target: BoxPath::new("/data").unwrap(),
            access: Access::ReadWrite,
        }],
        ..plain_spec(backend.name())
    }
}

/// The processes of this one that serve folders.
fn shares() -> Vec<i32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let read = |name: &str| std::fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        let parent = format!("PPid:\t{}\n", std::process::id());
        if read("cmdline").contains(bed::SHARE) && read("status").contains(&parent) {
            found.push(pid);
        }
    }
    found
}

fn check_work(folder: &Path) {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    assert_eq!(read("a/b/file-11"), "11\n");
    assert_eq!(read("a/b/c/moved"), "7\n");
    assert_eq!(std::fs::metadata(folder.join("copy")).unwrap().len(), 500_000);
    assert_eq!(std::fs::metadata(folder.join("hard")).unwrap().len(), 0);
    assert_eq!(std::fs::read_link(folder.join("link")).unwrap(), Path::new("large"));
    for writer in 1..=4 {
        let lines: Vec<String> = (0..5).map(|line| format!("{writer} {line}\n")).collect();
        assert_eq!(read(&format!("written-{writer}")), lines.concat());
    }
    assert!(!folder.join("out").exists() && !folder.join("held").exists());
}

#[tokio::test]
async fn a_build_s_work_is_the_host_s_and_its_server_goes_with_the_machine() {
    let (state, settings) = match bed::prepare().await {
        Ok(prepared) => prepared,
        Err(why) => return println!("SKIPPED: {why}"),
    };
    let backend = bed::open(state.path(), &settings);
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().canonicalize().unwrap().join("shared");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("from-host"), "host").unwrap();
    let spec = spec(&*backend, &folder).await;

    let machine: Box<dyn EphemeralBox> = backend.launch(&spec).await.unwrap();
    let guest = machine.guest();
    let said = shell(&*guest, WORK).await;
    assert!(said.ends_with("names\nhost"), "{said}");
    check_work(&folder);
    // Nothing is believed for longer than it is so.
    for text in ["first", "longer than that", "x"] {
        std::fs::write(folder.join("from-host"), text).unwrap();
        assert_eq!(shell(&*guest, "cat /data/from-host").await, text);
    }
    assert_eq!(shares().len(), 1);
    machine.destroy().await.unwrap();
    eventually("the server has ended with its machine", || async { shares().is_empty() }).await;

    // Without a server nobody waits for an answer, and the box goes on.
    let machine = backend.launch(&spec).await.unwrap();
    let guest = machine.guest();
    let server = rustix::process::Pid::from_raw(*shares().first().unwrap()).unwrap();
    rustix::process::kill_process(server, rustix::process::Signal::KILL).unwrap();
    eventually("the mount is dead", || async {
        run(&*guest, &script("ls /data")).await.outcome != Outcome::Exited(0)
    })
    .await;
    assert_eq!(shell(&*guest, "echo alive").await, "alive\n");
    machine.destroy().await.unwrap();
    assert!(folder.join("copy").exists());
}
