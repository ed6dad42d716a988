//! The fake jailer: the same arguments, a root folder and a user of its own, and the fake Firecracker in it.

use std::path::Path;

use rustix::fs::{Gid, Uid};

use super::{firecracker, options, value};

pub(crate) fn main(arguments: &[String]) -> Result<(), String> {
    let split =
        arguments.iter().position(|argument| argument == "--").ok_or("rule: nothing for Firecracker")?;
    let (own, rest) = arguments.split_at(split);
    let with_value =
        ["--id", "--exec-file", "--uid", "--gid", "--chroot-base-dir", "--cgroup-version", "--netns"];
    let found = options(own, &with_value, &[])?;
    let number = |name| value(&found, name)?.parse::<u32>().map_err(|error| format!("{name}: {error}"));
    let (user, group) = (number("--uid")?, number("--gid")?);
    let program =
        std::fs::canonicalize(Path::new(value(&found, "--exec-file")?).parent().ok_or("no folder")?);
    program.map_err(|error| format!("exec-file: {error}"))?;
    let name = Path::new(value(&found, "--exec-file")?).file_name().ok_or("exec-file")?;
    let root =
        Path::new(value(&found, "--chroot-base-dir")?).join(name).join(value(&found, "--id")?).join("root");
    jail(&root, user, group).map_err(|error| format!("{}: {error}", root.display()))?;
    // The real one adds the id itself.
    let found = options(&rest[1..], &["--api-sock", "--level"], &[])?;
    firecracker::run(value(&found, "--api-sock")?)
}

fn jail(root: &Path, user: u32, group: u32) -> std::io::Result<()> {
    std::fs::create_dir_all(root)?;
    std::os::unix::fs::chown(root, Some(user), Some(group))?;
    // A copy of the program, the devices and a note are what the real one leaves in the folder.
    std::fs::write(root.join("firecracker"), "a program")?;
    std::fs::write(root.join("firecracker.pid"), std::process::id().to_string())?;
    std::fs::create_dir_all(root.join("dev/net"))?;
    std::fs::create_dir_all(root.join("run"))?;
    rustix::process::chroot(root)?;
    std::env::set_current_dir("/")?;
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(group, group, group)?;
    rustix::thread::set_thread_res_uid(user, user, user)?;
    Ok(())
}
