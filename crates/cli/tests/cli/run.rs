//! `run`: outcome and exit code, grants, variables, hints.

use std::os::unix::ffi::OsStrExt;

use crate::lab::{EASY, Lab, code, errors, put, shown};

#[test]
fn the_exit_code_is_the_commands_own() {
    let Some(lab) = Lab::new("exit codes") else { return };
    for (arguments, expected) in [
        (&["true"][..], 0),
        (&["sh", "-c", "exit 7"], 7),
        (&["sh", "-c", "exit 125"], 125),
        (&["sh", "-c", "kill -TERM $$"], 143),
        (&["sh", "-c", "kill -KILL $$"], 137),
        (&["no-such-program"], 127),
        (&["/no/such/program"], 127),
        (&[""], 127),
        (&["/etc"], 126),
        (&["/etc/hosts"], 126),
        (&["--timeout", "200ms", "sleep", "60"], 124),
    ] {
        let output = lab.run(arguments);
        assert_eq!(code(&output), expected, "{arguments:?}: {}", shown(&output));
    }
}

#[test]
fn what_could_not_be_started_is_named() {
    let Some(lab) = Lab::new("messages") else { return };
    let output = lab.run(&["no-such-program"]);
    assert!(
        errors(&output).starts_with("agentkernel: error: ") && errors(&output).contains("no-such-program")
    );
    assert_eq!(errors(&output).lines().count(), 1, "{}", errors(&output));
}

#[test]
fn arguments_arrive_byte_for_byte() {
    let Some(lab) = Lab::new("arguments") else { return };
    let odd = std::ffi::OsStr::from_bytes(b"a \xff'\"$(id)\n*");
    let mut command = lab.command(["run"]);
    command.args(EASY).args(["printf", "%s|", "", "-x"]).arg(odd);
    let output = command.output().unwrap();
    assert_eq!(output.stdout, b"|-x|a \xff'\"$(id)\n*|", "{}", shown(&output));
    let long = "x".repeat(100_000);
    let output = lab.run(&["printf", "%s%s", &long, &long]);
    assert_eq!(output.stdout.len(), 200_000, "{}", errors(&output));
}

#[test]
fn the_current_folder_is_shown_only_when_asked_for() {
    let Some(lab) = Lab::new("mounts") else { return };
    put(&lab.project(), "file", "content");
    assert_ne!(code(&lab.run(&["cat", "file"])), 0);
    assert_eq!(lab.run(&["--mount-cwd=ro", "cat", "file"]).stdout, b"content");
    assert_ne!(code(&lab.run(&["--mount-cwd=ro", "touch", "new"])), 0);
    let output = lab.run(&["--mount-cwd", "touch", "new"]);
    assert!(output.status.success() && lab.project().join("new").exists(), "{}", shown(&output));
    let output = lab.run(&["--verbose", "cat", "file"]);
    assert!(errors(&output).contains("--mount-cwd"), "{}", shown(&output));
}

#[test]
fn variables_come_from_the_flag_or_the_caller_and_from_nowhere_else() {
    let Some(lab) = Lab::new("variables") else { return };
    let mut command = lab.command(["run"]);
    command.args(EASY).args(["-e", "TOKEN", "-e", "B=2", "sh", "-c", "echo $TOKEN $B $OTHER"]);
    let output = command.env("TOKEN", "hunter2").env("OTHER", "no").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "hunter2 2", "{}", shown(&output));
}

#[test]
fn verbose_says_what_was_chosen_and_the_output_stays_clean() {
    let Some(lab) = Lab::new("--verbose") else { return };
    let output = lab.run(&["--verbose", "echo", "hello"]);
    assert_eq!(output.stdout, b"hello\n");
    assert!(
        errors(&output).contains("native") && errors(&output).contains("isolation"),
        "{}",
        errors(&output)
    );
    let output = lab.run(&["echo", "hello"]);
    assert_eq!((output.stdout, output.stderr.len()), (b"hello\n".to_vec(), 0));
}

#[test]
fn a_run_leaves_nothing_and_keep_leaves_one() {
    let Some(lab) = Lab::new("--keep") else { return };
    lab.run(&["true"]);
    assert_eq!(lab.ok(&["list", "--quiet"]), "");
    lab.run(&["--name", "passing", "true"]);
    assert_eq!(lab.ok(&["list", "--quiet"]), "");
    let output = lab.run(&["--keep", "--name", "kept", "sh", "-c", "echo x > /root/file"]);
    assert!(output.status.success(), "{}", shown(&output));
    assert_eq!(lab.ok(&["list", "--quiet"]), "kept\n");
    assert_eq!(lab.ok(&["exec", "kept", "cat", "/root/file"]), "x\n");
    lab.ok(&["remove", "--force", "kept"]);
}

#[test]
fn mounts_show_wherever_they_are_put_and_in_any_order() {
    let Some(lab) = Lab::new("mounts_show_wherever_they_are_put_and_in_any_order") else { return };
    put(&lab.project(), "file", "content");
    for target in ["/usr/share/mine", "/usr/local/mine", "/opt/mine", "/srv/a/b", "/tmp/mine"] {
        let mount = format!("{}:{target}:ro", lab.project().display());
        let output = lab.run(&["-v", &mount, "cat", &format!("{target}/file")]);
        assert_eq!(output.stdout, b"content", "{target}: {}", shown(&output));
    }
    let (inner, outer) = (lab.project().join("inner"), lab.project().join("outer"));
    std::fs::create_dir_all(outer.join("below")).unwrap();
    std::fs::create_dir(&inner).unwrap();
    put(&inner, "file", "inner");
    let (inner, outer) = (format!("{}:/a/below:ro", inner.display()), format!("{}:/a:ro", outer.display()));
    for order in [[&inner, &outer], [&outer, &inner]] {
        let output = lab.run(&["-v", order[0], "-v", order[1], "cat", "/a/below/file"]);
        assert_eq!(output.stdout, b"inner", "{order:?}: {}", shown(&output));
    }
}

#[test]
fn a_mount_that_has_no_place_says_where_there_is_one() {
    let Some(lab) = Lab::new("a_mount_that_has_no_place_says_where_there_is_one") else { return };
    let mount = format!("{}:/usr/share/mine", lab.project().display());
    let output = lab.run(&["--read-only", "-v", &mount, "true"]);
    assert_eq!(code(&output), 125, "{}", shown(&output));
    assert!(
        errors(&output).contains("/usr/share/mine") && errors(&output).contains("/mnt"),
        "{}",
        shown(&output)
    );
}
