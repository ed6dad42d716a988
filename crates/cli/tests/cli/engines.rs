//! Engines and registries beside native: touched only where a command needs them, and used where it does.

use std::os::unix::net::UnixListener;
use std::process::Output;

use crate::image_archive::Archive;
use crate::lab::{EASY, Lab, code, errors, put, shown};

/// What the test bed names, or the reason why not.
fn bed(test: &str, variable: &str) -> Option<String> {
    let found = std::env::var(variable).ok().filter(|value| !value.is_empty());
    if found.is_none() {
        println!("SKIPPED: {test}: {variable} is not set");
    }
    found
}

#[test]
fn a_command_that_needs_no_engine_touches_none() {
    let Some(lab) = Lab::new("untouched engines") else { return };
    let socket = lab.project().join("engine.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    let host = format!("unix://{}", socket.display());
    let untouched = |arguments: &[&str]| {
        let mut command = lab.command(arguments);
        let output = command.env("DOCKER_HOST", &host).env("CONTAINER_HOST", &host).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", shown(&output));
        let asked = listener.accept();
        assert!(asked.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock), "{arguments:?}");
    };
    untouched(&[&["run"], &EASY[..], &["true"]].concat());
    untouched(&[&["create", "box"], &EASY[..]].concat());
    for arguments in [
        &["start", "--backend", "native", "box"][..],
        &["exec", "box", "true"],
        &["info", "box"],
        &["ps", "box"],
        &["image", "list"],
        &["image", "prune"],
        &["image", "usage"],
    ] {
        untouched(arguments);
    }
}

#[test]
fn without_an_engine_a_dockerfile_is_refused_with_both_named() {
    let Some(lab) = Lab::new("no engine to build with") else { return };
    put(&lab.project(), "Dockerfile", "FROM scratch\n");
    let nowhere = format!("unix://{}/nowhere.sock", lab.project().display());
    let mut command = lab.command([&["run"], &EASY[..], &["--build", "true"]].concat());
    let output = command.env("DOCKER_HOST", &nowhere).env("CONTAINER_HOST", &nowhere).output().unwrap();
    assert_eq!(code(&output), 125, "{}", shown(&output));
    let text = errors(&output);
    for part in ["docker: ", "podman: ", "nowhere.sock", "--image"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let output = lab.run(&["--build", "--image", "busybox", "true"]);
    assert_eq!(code(&output), 125, "{}", shown(&output));
    let output = lab.run(&["--no-cache", "true"]);
    assert!(errors(&output).contains("nothing is built"), "{}", shown(&output));
}

#[test]
fn a_dockerfile_is_built_and_its_result_runs_with_the_engine_and_with_native() {
    let test = "building";
    let Some(socket) = bed(test, "AGENTKERNEL_TEST_DOCKER") else { return };
    let Some(lab) = Lab::new(test) else { return };
    let dockerfile = "FROM agentkernel-test/busybox:1\nARG WHO=nobody\nENV WHO=$WHO\nCOPY greeting /greeting\n\
                      WORKDIR /made\nENTRYPOINT [\"/bin/sh\", \"-c\", \"cat /greeting; echo $WHO $(pwd) $0\"]\n";
    put(&lab.project(), "Dockerfile", dockerfile);
    put(&lab.project(), "agentkernel.toml", "[build]\nargs = { WHO = \"world\" }\n");
    let build = |backend: &str| -> Output {
        let mut command = lab
            .command([&["run", "--backend", backend], &EASY[..], &["--build", "--verbose", "word"]].concat());
        command.env("DOCKER_HOST", format!("unix://{socket}")).output().unwrap()
    };
    for greeting in ["hello ", "changed "] {
        // That only the context changed must not be missed.
        put(&lab.project(), "greeting", greeting);
        for backend in ["docker", "native"] {
            let output = build(backend);
            let expected = format!("{greeting}world /made word\n");
            assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{backend}: {}", shown(&output));
            assert!(errors(&output).contains("image agentkernel-project:"), "{}", errors(&output));
            assert!(errors(&output).contains("Dockerfile by docker"), "{}", errors(&output));
        }
    }
    let verbose = errors(&build("docker"));
    let name = verbose.split_whitespace().find(|word| word.starts_with("agentkernel-project:")).unwrap();
    put(&lab.project(), "Dockerfile", "FROM agentkernel-test/busybox:1\nRUN echo so it goes; exit 3\n");
    let output = build("docker");
    assert_eq!(code(&output), 125, "{}", shown(&output));
    assert!(errors(&output).contains("so it goes"), "the build's own words: {}", errors(&output));
    let mut engine = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    let request = format!("DELETE /images/{name}?force=1 HTTP/1.0\r\nHost: localhost\r\n\r\n");
    std::io::Write::write_all(&mut engine, request.as_bytes()).unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut engine, &mut answer).unwrap();
    assert!(answer.lines().next().is_some_and(|line| line.contains(" 200 ")), "{answer}");
}

#[test]
fn an_engines_own_image_is_taken_in() {
    let test = "images of an engine";
    let Some(socket) = bed(test, "AGENTKERNEL_TEST_DOCKER") else { return };
    let Some(lab) = Lab::new(test) else { return };
    let mut command =
        lab.command(["image", "import", "docker:agentkernel-test/busybox:1", "--name", "mine:1"]);
    let output = command.env("DOCKER_HOST", format!("unix://{socket}")).output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    let output = lab.run(&["--image", "mine:1", "echo", "hello"]);
    assert_eq!(output.stdout, b"hello\n", "{}", shown(&output));
    let mut command = lab.command(["image", "import", "docker:no-such-image:1"]);
    let output = command.env("DOCKER_HOST", format!("unix://{socket}")).output().unwrap();
    assert_eq!(code(&output), 125, "{}", shown(&output));
    assert!(errors(&output).contains("no-such-image:1"), "{}", errors(&output));
}

#[test]
fn a_registry_is_used_as_the_configuration_says() {
    let test = "registries";
    let Some(registry) = bed(test, "AGENTKERNEL_TEST_REGISTRY") else { return };
    let Some(lab) = Lab::new(test) else { return };
    let image = format!("{registry}/agentkernel-test/busybox:1");
    let refused = lab.run(&["--image", &image, "true"]);
    assert_eq!(code(&refused), 125, "plain http only where it is named: {}", shown(&refused));
    put(&lab.project(), "agentkernel.toml", &format!("[images]\ninsecure = [\"{registry}\"]\n"));
    let refused = lab.run(&["--image", &image, "true"]);
    assert!(errors(&refused).contains("name it with --config"), "{}", shown(&refused));
    let run = ["--config", "agentkernel.toml", "--image", &image, "echo", "hello"];
    let output = lab.run(&run);
    assert_eq!(output.stdout, b"hello\n", "{}", shown(&output));
    assert!(errors(&output).contains(&format!("fetching {image}")), "{}", errors(&output));
    let again = lab.run(&run);
    assert_eq!((again.stdout, again.stderr), (b"hello\n".to_vec(), Vec::new()), "nothing is fetched again");
    let json = lab.ok(&["image", "pull", "--config", "agentkernel.toml", "--json", &image]);
    let pulled: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(pulled[0]["name"], image.as_str());
}

#[test]
fn a_mirror_is_asked_before_the_registry() {
    let test = "mirrors";
    let Some(registry) = bed(test, "AGENTKERNEL_TEST_REGISTRY") else { return };
    let Some(lab) = Lab::new(test) else { return };
    let settings = format!(
        "[images]\nmirrors = {{ \"docker.io\" = [\"http://{registry}\"] }}\ninsecure = [\"{registry}\"]\n"
    );
    put(&lab.project(), "agentkernel.toml", &settings);
    let run = ["--config", "agentkernel.toml", "--image", "agentkernel-test/busybox:1", "echo", "hello"];
    let output = lab.run(&run);
    assert_eq!(output.stdout, b"hello\n", "{}", shown(&output));
}

#[test]
fn the_store_keeps_within_its_limit() {
    let test = "the limit of the store";
    let Some(lab) = Lab::new(test) else { return };
    let Some(archive) = Archive::small_system(test) else { return };
    let path = archive.save(&lab.project(), "tool:1");
    put(&lab.project(), "agentkernel.toml", "[images]\nmax_size = 1\n");
    let usage = lab.ok(&["image", "usage"]);
    assert!(usage.contains("limit           1.0 MiB"), "{usage}");
    let output = lab.output(["image", "import", path.to_str().unwrap()]);
    assert_eq!(code(&output), 125, "{}", shown(&output));
    assert!(errors(&output).contains("images.max_size"), "{}", errors(&output));
    assert_eq!(lab.ok(&["image", "list", "--quiet"]), "");
}

#[test]
fn the_same_image_says_the_same_with_every_backend() {
    let test = "the same with every backend";
    let Some(folder) = bed(test, "AGENTKERNEL_TEST_BED") else { return };
    let Some(lab) = Lab::new(test) else { return };
    let mut answers = Vec::new();
    for (backend, bed_variable, variable) in [
        ("native", "AGENTKERNEL_TEST_BED", "UNUSED"),
        ("docker", "AGENTKERNEL_TEST_DOCKER", "DOCKER_HOST"),
        ("podman", "AGENTKERNEL_TEST_PODMAN", "CONTAINER_HOST"),
    ] {
        let Some(place) = bed(&format!("{test}, {backend}"), bed_variable) else { continue };
        if backend == "native" {
            lab.ok(&["image", "import", &format!("{folder}/images/static.docker.tar")]);
        }
        let said = |more: &[&str]| {
            let run =
                ["run", "--backend", backend, "--image", "agentkernel-test/static:1", "--pull", "never"];
            let mut command = lab.command([&run[..], &EASY[..], more].concat());
            let output = command.env(variable, format!("unix://{place}")).output().unwrap();
            (code(&output), output.stdout, output.stderr)
        };
        let all = [
            said(&[]),
            said(&["tell", "a  b", ""]),
            said(&["-e", "GREETING=mine", "-w", "/tmp", "-u", "0"]),
            said(&["--entrypoint", "/nowhere"]),
            said(&["--entrypoint", "nowhere", "x"]),
        ];
        answers.push((
            backend,
            all.map(|(code, out, err)| {
                (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
            }),
        ));
    }
    assert!(answers[0].1[0].1.contains("argument 2: the default command"), "{answers:?}");
    for (backend, answer) in &answers {
        assert_eq!(answer, &answers[0].1, "{backend} against {}", answers[0].0);
    }
}
