//! Images on the command line, with the native backend: what comes in, what runs, what stays and what goes.

use std::os::unix::ffi::OsStrExt;

use serde_json::{Value, json};

use crate::image_archive::{Archive, Layer};
use crate::lab::{EASY, Lab, code, errors, shown};

/// A place with images in it.
struct Gallery {
    lab: Lab,
    archive: Archive,
}

impl Gallery {
    fn new(test: &str) -> Option<Self> {
        let archive = Archive::small_system(test)?;
        Some(Self { lab: Lab::new(test)?, archive })
    }

    fn import(&self, archive: &Archive, name: &str) {
        let path = archive.save(&self.lab.project(), name);
        self.lab.ok(&["image", "import", path.to_str().unwrap()]);
        std::fs::remove_file(path).unwrap();
    }

    /// A run that must succeed; its output.
    fn runs(&self, arguments: &[&str]) -> String {
        let output = self.lab.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", shown(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn images(&self) -> Vec<Value> {
        serde_json::from_str(&self.lab.ok(&["image", "list", "--json"])).unwrap()
    }
}

#[test]
fn an_archive_is_imported_run_exported_and_removed() {
    let Some(gallery) = Gallery::new("the life of an image") else { return };
    let lab = &gallery.lab;
    let saved = gallery.archive.save(&lab.project(), "tool:1");
    let said = lab.ok(&["image", "import", saved.to_str().unwrap()]);
    let id = gallery.images()[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(said, format!("tool:1 {}\n", &id["sha256:".len()..][..12]));
    let list = lab.ok(&["images"]);
    assert!(list.lines().count() == 2 && list.contains("tool:1  "), "{list}");
    for name in ["tool:1", "docker.io/library/tool:1", &id, &id["sha256:".len()..][..12]] {
        assert_eq!(gallery.runs(&["--image", name, "echo", "hello"]), "hello\n", "{name}");
    }
    let inspected: Value = serde_json::from_str(&lab.ok(&["image", "inspect", "tool:1", "--json"])).unwrap();
    assert_eq!((&inspected[0]["id"], &inspected[0]["config"]["command"][0]), (&json!(id), &json!("/bin/sh")));
    lab.ok(&["image", "export", "tool:1", "-o", "out.tar"]);
    assert!(lab.ok(&["image", "remove", "tool:1"]).contains(&id));
    assert!(gallery.images().is_empty());
    let out = std::fs::read(lab.project().join("out.tar")).unwrap();
    let output = lab.with_input(&["image", "import", "-", "--name", "again:2"], &out);
    assert!(output.status.success(), "{}", shown(&output));
    assert_eq!(gallery.images()[0]["id"], json!(id), "the same content has the same id");
    assert_eq!(gallery.runs(&["--image", "again:2", "echo", "hello"]), "hello\n");
    lab.ok(&["image", "prune", "--all"]);
    let usage: Value = serde_json::from_str(&lab.ok(&["image", "usage", "--json"])).unwrap();
    assert_eq!((&usage["total_bytes"], &usage["images"]), (&json!(0), &json!(0)));
}

#[test]
fn entrypoint_command_env_workdir_and_user_are_those_of_docker_run() {
    let Some(gallery) = Gallery::new("image configuration") else { return };
    let tool = Archive::small_system("image configuration").unwrap();
    let tool = tool
        .with(Layer::new().folder("app", 0o755, 1000))
        .saying("Entrypoint", json!(["/bin/echo", "ENTRY POINT"]))
        .saying("Cmd", json!(["default"]))
        .saying("Env", json!(["PATH=/bin", "MODE=image", "EMPTY="]))
        .saying("WorkingDir", json!("/app"))
        .saying("User", json!("user"));
    gallery.import(&tool, "tool:1");
    gallery.import(&gallery.archive, "plain:1");
    let run = |arguments: &[&str]| gallery.runs(&[&["--image", "tool:1"], arguments].concat());
    assert_eq!(run(&[]), "ENTRY POINT default\n");
    assert_eq!(run(&["a", "b c"]), "ENTRY POINT a b c\n");
    assert_eq!(run(&["--entrypoint", "/bin/printf", "[%s]", "a", "b c"]), "[a][b c]");
    assert_eq!(run(&["--entrypoint=", "/bin/echo", "x"]), "x\n");
    let script = "echo $(id -un) $(pwd) $MODE [$EMPTY] $HOME $PATH";
    let shell = ["--entrypoint", "sh", "--", "-c", script];
    assert_eq!(run(&shell), "user /app image [] /home/user /bin\n");
    let said = [&["-e", "MODE=mine", "-w", "/tmp", "-u", "root"], &shell[..]].concat();
    assert_eq!(run(&said), "root /tmp mine [] /root /bin\n");
    assert_eq!(run(&[&["--mount-cwd"], &shell[..]].concat()), "user /workspace image [] /home/user /bin\n");
    assert_eq!(run(&[&["-u", "4242"], &shell[..]].concat()).split(' ').next_back(), Some("/bin\n"));
    let output = gallery.lab.run(&["--image", "plain:1", "--entrypoint="]);
    assert_eq!(code(&output), 125, "{}", shown(&output));
    assert!(errors(&output).contains("a command is needed"), "{}", errors(&output));
    // exec takes no notice of the entrypoint.
    gallery.lab.ok(&[&["create", "box", "--image", "tool:1"], &EASY[..]].concat());
    gallery.lab.ok(&["start", "box"]);
    assert_eq!(gallery.lab.ok(&["exec", "box", "echo", "x"]), "x\n");
    assert_eq!(
        gallery.lab.ok(&["exec", "box", "--", "sh", "-c", script]),
        "user /app image [] /home/user /bin\n"
    );
    let info = gallery.lab.ok(&["info", "box"]);
    assert!(info.contains("tool:1"), "{info}");
}

#[test]
fn what_is_not_here_is_said_with_what_would_work() {
    let Some(gallery) = Gallery::new("missing images") else { return };
    let output = gallery.lab.run(&["--image", "nope:1", "--pull", "never", "true"]);
    assert_eq!(code(&output), 125, "{}", shown(&output));
    let text = errors(&output);
    assert!(text.contains("image nope:1 is not here") && text.contains("agentkernel image pull"), "{text}");
    assert!(!text.contains("is not ready"), "{text}");
    // Nobody listens there.
    let output = gallery.lab.run(&["--image", "127.0.0.1:9/nope:1", "true"]);
    assert_eq!(code(&output), 125, "{}", shown(&output));
    let text = errors(&output);
    for part in ["127.0.0.1:9", "can't be reached", "agentkernel image import", "--image host"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let output = gallery.lab.output(["image", "inspect", "nope:1", "--json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((code(&output), &document["error"]["kind"]), (125, &json!("not-found")));
    for bad in ["a b", "UPPER:1", "x:y:z", "../x"] {
        assert_eq!(code(&gallery.lab.run(&["--image", bad, "true"])), 125, "{bad}");
    }
}

#[test]
fn a_program_of_the_home_is_hinted_at_where_its_image_cant_be_had() {
    let test = "hints instead of images";
    let Some(lab) = Lab::new(test) else { return };
    let known = [("luarocks", "lua"), ("iex", "elixir"), ("gradle", "java"), ("csc", "dotnet")];
    let system = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let absent =
        |program: &str| !system.iter().any(|folder| std::path::Path::new(folder).join(program).exists());
    let Some((program, runtime)) = known.into_iter().find(|(program, _)| absent(program)) else {
        println!("SKIPPED: {test}: this machine has every language");
        return;
    };
    let bin = lab.project().with_file_name("home").join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::fs::write(bin.join(program), "").unwrap();
    let mut command = lab.command([&["run", "--verbose", "--pull", "never"], &EASY[..], &[program]].concat());
    let output = command.env("PATH", &bin).output().unwrap();
    assert_eq!(code(&output), 125, "{}", shown(&output));
    let text = errors(&output);
    for part in ["is not here", &format!("it was chosen for runtime {runtime}"), "--toolchains"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_second_run_touches_no_network_and_asks_no_registry() {
    let Some(gallery) = Gallery::new("offline runs") else { return };
    // A name of a registry that nobody answers for: any question would fail.
    gallery.import(&gallery.archive, "127.0.0.1:9/tool:1");
    for pull in ["missing", "never"] {
        let run = ["--image", "127.0.0.1:9/tool:1", "--pull", pull, "echo", "here"];
        assert_eq!(gallery.runs(&run), "here\n");
    }
    let output = gallery.lab.run(&["--image", "127.0.0.1:9/tool:1", "--pull", "always", "true"]);
    assert_eq!(code(&output), 125, "always asks: {}", shown(&output));
}

#[test]
fn an_image_that_a_sandbox_was_made_from_stays() {
    let Some(gallery) = Gallery::new("images in use") else { return };
    let lab = &gallery.lab;
    gallery.import(&gallery.archive, "tool:1");
    lab.ok(&[&["create", "box", "--image", "tool:1"], &EASY[..]].concat());
    for force in [&["image", "remove", "tool:1"][..], &["image", "rm", "--force", "tool:1"]] {
        let output = lab.output(force);
        assert_eq!(code(&output), 125, "{}", shown(&output));
        assert!(errors(&output).contains("sandbox box was made from it"), "{}", errors(&output));
    }
    assert!(lab.ok(&["image", "prune", "--all", "--dry-run"]).contains("Would remove 0 images"));
    lab.ok(&["image", "prune", "--all"]);
    lab.ok(&["start", "box"]);
    assert_eq!(lab.ok(&["exec", "box", "echo", "alive"]), "alive\n");
    lab.ok(&["remove", "--force", "box"]);
    assert!(lab.ok(&["image", "prune", "--all", "--dry-run"]).contains("tool:1"));
    lab.ok(&["image", "prune", "--all"]);
    assert!(gallery.images().is_empty());
}

#[test]
fn a_tag_that_moves_changes_nothing_for_a_sandbox_and_a_lost_image_is_named() {
    let Some(gallery) = Gallery::new("pinned images") else { return };
    let lab = &gallery.lab;
    let version = |text: &str| {
        let archive = Archive::small_system("pinned images").unwrap();
        archive.with(Layer::new().file("version", text.as_bytes()))
    };
    gallery.import(&version("one"), "tool:1");
    lab.ok(&[&["create", "box", "--image", "tool:1"], &EASY[..]].concat());
    gallery.import(&version("two"), "tool:1");
    assert_eq!(gallery.runs(&["--image", "tool:1", "cat", "/version"]), "two");
    lab.ok(&["start", "box"]);
    assert_eq!(lab.ok(&["exec", "box", "cat", "/version"]), "one");
    lab.ok(&["stop", "box"]);
    let list: Value = serde_json::from_str(&lab.ok(&["info", "box", "--json"])).unwrap();
    let id = list["image_id"].as_str().unwrap().to_owned();
    // Somebody who knows better than the program.
    let record = lab.state().join(format!("images/records/{}.json", &id["sha256:".len()..]));
    std::fs::remove_file(record).unwrap();
    let output = lab.output(["start", "box"]);
    assert_eq!(code(&output), 125, "{}", shown(&output));
    let text = errors(&output);
    assert!(
        text.contains("tool:1") && text.contains("agentkernel image pull --backend native tool:1"),
        "{text}"
    );
}

#[test]
fn the_tar_of_a_root_folder_becomes_an_image() {
    let Some(gallery) = Gallery::new("root folders") else { return };
    let path = gallery.archive.root_folder(&gallery.lab.project());
    let path = path.to_str().unwrap();
    let output = gallery.lab.output(["image", "import", path]);
    assert_eq!(code(&output), 125, "it needs a name: {}", shown(&output));
    let import =
        ["image", "import", path, "--name", "tiny:1", "--entrypoint", "/bin/echo", "--command", "-x"];
    gallery.lab.ok(&[&import[..], &["--env", "MODE=safe", "--workdir", "/tmp", "--user", "user"]].concat());
    assert_eq!(gallery.runs(&["--image", "tiny:1"]), "-x\n");
    let script = "/bin/busybox id -un; /bin/busybox pwd; echo $MODE";
    let run = ["--image", "tiny:1", "--entrypoint", "/bin/busybox", "--", "sh", "-c", script];
    assert_eq!(gallery.runs(&run), "user\n/tmp\nsafe\n");
}

#[test]
fn the_image_of_the_commands_language_is_used_where_it_is_here() {
    let Some(gallery) = Gallery::new("detected images") else { return };
    let python = Archive::small_system("detected images").unwrap();
    gallery.import(
        &python.with(Layer::new().program("bin/python3", b"#!/bin/sh\necho of the image\n")),
        "python:3.12-alpine",
    );
    let output = gallery.lab.run(&["--verbose", "python3", "app.py"]);
    assert_eq!(output.stdout, b"of the image\n", "{}", shown(&output));
    let id = gallery.images()[0]["id"].as_str().unwrap()["sha256:".len()..][..12].to_owned();
    let said =
        format!("image python:3.12-alpine {id} (for runtime python: command python3; it is here already)");
    assert!(errors(&output).contains(&said), "{}", errors(&output));
    let document: Value = serde_json::from_slice(&gallery.lab.run(&["--json", "python3"]).stdout).unwrap();
    assert_eq!(document["image"]["name"], "python:3.12-alpine");
    assert!(document["image"]["because"].as_str().unwrap().contains("command python3"), "{document}");
    let host = gallery.lab.run(&["--verbose", "sh", "-c", "true"]);
    assert!(errors(&host).contains("image host (the host has the program)"), "{}", errors(&host));
}

#[test]
fn programs_that_are_not_utf8_and_odd_words_reach_an_image_untouched() {
    let Some(gallery) = Gallery::new("odd words in an image") else { return };
    gallery.import(&gallery.archive, "tool:1");
    let odd = std::ffi::OsStr::from_bytes(b"a \xff'\"$(id)`id`\\\n*;");
    let mut command = gallery.lab.command(["run"]);
    command.args(EASY).args(["--image", "tool:1", "--", "printf", "%s|", "", "-x"]).arg(odd);
    let output = command.output().unwrap();
    assert_eq!(output.stdout, b"|-x|a \xff'\"$(id)`id`\\\n*;|", "{}", shown(&output));
}
