//! The merge as a whole: what a user writes against what comes out.

use std::path::{Path, PathBuf};

use agentkernel_model::{Access, Mib, NetworkAccess, PassEnv, Profile, PullPolicy};
use proptest::prelude::*;

use crate::testing::environment;
use crate::variables::VARIABLES;
use crate::{
    BuildFlag, BuildSettings, ConfigError, CwdMount, EnvFlag, Environment, Origin, Overrides, Settings, load,
    parse,
};

/// A made-up project folder.
struct Project {
    dir: tempfile::TempDir,
    vars: Vec<(&'static str, &'static str)>,
    overrides: Overrides,
    named: bool,
}

impl Project {
    fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("home/tools")).unwrap();
        std::fs::create_dir_all(dir.path().join("work/data")).unwrap();
        std::fs::write(dir.path().join("work/file"), "x").unwrap();
        if !config.is_empty() {
            std::fs::write(dir.path().join("work/agentkernel.toml"), config).unwrap();
        }
        Self { dir, vars: Vec::new(), overrides: Overrides::default(), named: true }
    }

    fn found(mut self) -> Self {
        self.named = false;
        self
    }

    fn vars(mut self, vars: &[(&'static str, &'static str)]) -> Self {
        self.vars = vars.to_vec();
        self
    }

    fn flags(mut self, set: impl FnOnce(&mut Overrides)) -> Self {
        set(&mut self.overrides);
        self
    }

    fn root(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap()
    }

    fn environment(&self) -> Environment {
        let mut env = environment(&self.root().join("work"), &self.vars);
        env.home = Some(self.root().join("home"));
        env
    }

    fn load(&self) -> Result<Settings, ConfigError> {
        let named = self.named && self.root().join("work/agentkernel.toml").exists();
        let explicit = named.then_some(Path::new("agentkernel.toml"));
        load(&self.environment(), explicit, self.overrides.clone())
    }

    fn settings(&self) -> Settings {
        self.load().unwrap_or_else(|error| panic!("{error}"))
    }

    fn error(&self) -> String {
        let error = self.load().unwrap_err().to_string();
        error.replace(self.root().join("work").to_str().unwrap(), "")
    }
}

fn origin(settings: &Settings, key: &str) -> String {
    let effective = settings.explain().into_iter().find(|effective| effective.key == key);
    let origin = effective.unwrap_or_else(|| panic!("{key} is not explained")).origin;
    match origin {
        Origin::File { line, .. } => format!("file:{line}"),
        origin => origin.to_string(),
    }
}

#[test]
fn without_any_source_the_moderate_row_holds() {
    let settings = Project::new("").settings();
    assert_eq!(settings.grants, Profile::Moderate.grants());
    assert_eq!(settings.resources, Profile::Moderate.resources());
    assert!(settings.config_file.is_none() && settings.env.is_empty() && !settings.allow_unlimited);
    assert_eq!(origin(&settings, "security.profile"), "default");
    assert_eq!(origin(&settings, "resources.memory_mb"), "profile moderate");
}

#[test]
fn the_example_of_the_first_readme_means_what_it_says() {
    let project = Project::new(
        "[sandbox]\nname = \"my-project\"\nrootfs = \"python\"\n[agent]\npreferred = \"claude\"\n\
         [resources]\nvcpus = 2\nmemory_mb = 512\n",
    );
    let settings = project.settings();
    assert_eq!(settings.name.as_ref().map(|name| name.as_str()), Some("my-project"));
    assert_eq!(settings.runtime, Some(crate::Runtime::Python));
    assert_eq!(settings.agent.as_deref(), Some("claude"));
    assert_eq!(settings.resources.cpus.map(|cpus| cpus.millis()), Some(2000));
    let error = Project::new("[network]\nvsock_cid = 3\n").error();
    assert!(
        error.starts_with("/agentkernel.toml:2:1: key \"network.vsock_cid\" is not supported: "),
        "{error}"
    );
}

#[test]
fn flags_beat_variables_beat_the_file_beats_the_profile() {
    let memory = |vars: &[(&'static str, &'static str)], flag: Option<u32>, config: &str| {
        let project = Project::new(config).vars(vars).flags(|flags| flags.memory = flag.map(Mib));
        let settings = project.settings();
        (settings.resources.memory.map(|mib| mib.0), origin(&settings, "resources.memory_mb"))
    };
    let config = "[resources]\nmemory_mb = 1024\n[security]\nprofile = \"restrictive\"\n";
    let vars = [("AGENTKERNEL_MEMORY", "2g")];
    assert_eq!(memory(&vars, Some(7), config), (Some(7), "flag".into()));
    assert_eq!(memory(&vars, None, config), (Some(2048), "environment AGENTKERNEL_MEMORY".into()));
    assert_eq!(memory(&[], None, config), (Some(1024), "file:2".into()));
    assert_eq!(memory(&[], None, ""), (Some(512), "profile moderate".into()));
}

#[test]
fn every_variable_of_the_table_is_obeyed() {
    for variable in VARIABLES.iter().filter(|variable| variable.key.is_some()) {
        let project = Project::new("").vars(&[(variable.name, variable.example)]);
        let expected = format!("environment {}", variable.name);
        assert_eq!(origin(&project.settings(), variable.key.unwrap()), expected);
    }
}

#[test]
fn every_known_key_shows_up_among_the_effective_values() {
    let config = "mounts = [\"data:/data:ro\"]\n[sandbox]\nname='n'\nbackend='native'\nruntime='go'\nimage='host'\n\
                  workdir='/w'\nuser='1:1'\nlabels={a='b'}\nenv={A='1'}\n[agent]\npreferred='codex'\n\
                  compatibility_mode='native'\n[resources]\nvcpus=0.5\nmemory='1g'\ndisk=64\npids=9\nopen_files=99\n\
                  [network]\nports=[8080,'0:80']\n[security]\nprofile='custom'\nnetwork=false\nmount_cwd='ro'\n\
                  mount_home=true\npass_env=['LANG']\nread_only=true\ntoolchains=true\nallow_unlimited=true\n\
                  [images]\npull='never'\nmirrors={'docker.io'=['m:5000']}\ninsecure=['m:5000']\nca=['file']\n\
                  max_size='9g'\n[docker]\nhost='unix:///d'\nruntime='runsc'\n[podman]\nhost='unix:///p'\n\
                  runtime='crun'\n\
                  [firecracker]\nvmm='qemu'\nkernel='k'\nfirecracker='f'\njailer='j'\nqemu='q'\n\
                  vhost_device_vsock='v'\nallow_emulated_kvm=true\nmax_template_size='2g'\n\
                  disk_bandwidth='200m'\ndisk_iops=500\nnetwork_bandwidth=50\n\
                  [snapshots]\nmax_size='3g'\n[api]\nhost='0.0.0.0'\nport=1\ntls_cert='file'\ntls_key='file'\nallowed_hosts=['h']\n\
                  allowed_origins=['https://h']\ndrain_seconds=1\n[api.limits]\nmax_connections=1\n\
                  max_connections_per_peer=1\nhead_timeout_seconds=1\nbody_timeout_seconds=1\n\
                  idle_timeout_seconds=1\nmax_concurrent_runs=1\nmax_concurrent_starts=1\nmax_queued=1\n\
                  queue_timeout_seconds=1\nmax_timeout_seconds=1\ndefault_timeout_seconds=1\nmax_output=1\n\
                  max_body=1\nmax_upload=1\nmax_file_in_json=1\nmax_batch=1\nmax_terminals=1\ndetached_log=1\n\
                  [audit]\nenabled=false\nmax_size=1\nkeep=1\n\
                  arguments='program'\n\
                  [pool]\nenabled=false\nmin=1\nmax=2\nmax_templates=3\nmax_memory='4g'\nmax_age_seconds=5\n\
                  parallel=6\n[[pool.template]]\nbackend='native'\nimage='host'\nprofile='restrictive'\n\
                  min=1\nmax=2\n\
                  [env]\nPORT=80\nDEBUG=true\n[[files]]\nsource='file'\ndest='/etc/f'\nmode='0600'\n";
    let project = Project::new(config).vars(&[("LANG", "C"), ("OTHER", "x")]);
    let settings = project.settings();
    let of_file =
        settings.explain().into_iter().filter(|effective| matches!(effective.origin, Origin::File { .. }));
    let keys: std::collections::BTreeSet<&str> = of_file.map(|effective| effective.key).collect();
    for key in crate::schema::known_keys() {
        let canonical = match *key {
            "sandbox.env" => "env",
            "resources.cpus" => "resources.vcpus",
            "resources.memory" => "resources.memory_mb",
            "sandbox.base_image" | "sandbox.rootfs" => "sandbox.image",
            "network.enabled" => "security.network",
            // Instead of an image; see `a_dockerfile_is_built_where_flag_or_file_say_so`.
            key if key == "build" || key.starts_with("build.") => continue,
            key if key.starts_with("mounts.") => "mounts",
            key if key.starts_with("files.") => "files",
            key if key.starts_with("pool.template.") => "pool.template",
            "api.limits" => continue,
            "agent.compatibility_mode" => continue,
            key if !key.contains('.') && !["env", "mounts", "files"].contains(&key) => continue,
            key => key,
        };
        assert!(keys.contains(canonical), "{key}");
    }
    assert_eq!(settings.grants.mount_cwd, Some(Access::ReadOnly));
    assert_eq!(settings.grants.network, NetworkAccess::None);
    assert_eq!(settings.grants.pass_env, PassEnv::Names(vec!["LANG".into()]));
    assert_eq!(settings.files[0].mode, 0o600);
    assert_eq!(settings.pool.max_memory, Some(Mib(4096)));
    assert_eq!(settings.max_snapshots_size, Some(Mib(3072)));
    let template = &settings.pool.templates[0];
    assert_eq!((template.profile, template.min), (Some(Profile::Restrictive), Some(1)));
    assert_eq!(settings.outside.microvm.kernel, Some(project.root().join("work/k")));
    assert_eq!(settings.mounts[0].source, project.root().join("work/data"));
    let env: Vec<String> =
        settings.env.iter().map(|var| format!("{}={}", var.name.to_lossy(), var.value.to_lossy())).collect();
    assert_eq!(env, ["LANG=C", "A=1", "DEBUG=true", "PORT=80"]);
    assert!(settings.explain().iter().filter(|e| e.key == "env").all(|e| !e.value.contains('=')));
}

#[test]
fn mistakes_name_file_place_key_and_what_would_do() {
    for (config, expected) in [
        (
            "[resources]\nmemroy_mb = 1\n",
            ":2:1: unknown key \"resources.memroy_mb\"; did you mean \"resources.memory_mb\"?",
        ),
        (
            "[sandbox]\nmemory_mb = 1\n",
            ":2:1: unknown key \"sandbox.memory_mb\"; did you mean \"resources.memory_mb\"?",
        ),
        ("[resorces]\nvcpus = 1\n", ":1:2: unknown key \"resorces\"; did you mean \"resources\"?"),
        ("frobnicate = 1\n", ":1:1: unknown key \"frobnicate\"; docs/configuration.md lists the keys"),
        (
            "[[files]]\nsource='file'\ndest='/f'\nmod='0644'\n",
            ":4:1: unknown key \"files.0.mod\"; did you mean \"files.mode\"?",
        ),
        (
            "[[mounts]]\nsource='data'\ntarget='/d'\nacess='ro'\n",
            ":4:1: unknown key \"mounts.0.acess\"; did you mean \"mounts.access\"?",
        ),
        (
            "[resources]\nvcpus = \"two\"\n",
            ":2:9: resources.vcpus: invalid type: string \"two\", expected f64",
        ),
        (
            "[resources]\nmemory_mb = 1.5\n",
            ":2:13: resources.memory_mb: invalid type: floating point `1.5`, expected a number of MiB (512) or a string with a unit (\"2g\")",
        ),
        (
            "[resources]\nmemory_mb = -1\n",
            ":2:13: resources.memory_mb: \"-1\" is not a valid size: a number of MiB with an optional unit, such as 512, 512m or 2g",
        ),
        (
            "[security]\nprofile = \"strict\"\n",
            ":2:11: security.profile: unknown profile \"strict\": it must be permissive, moderate or restrictive",
        ),
        (
            "[security]\nmount_cwd = \"yes\"\n",
            ":2:13: security.mount_cwd: \"yes\" is not a way to mount the current folder: expected true, false, \"ro\" or \"rw\"",
        ),
        (
            "[security]\npass_env = \"A\"\n",
            ":2:12: security.pass_env: invalid type: string, expected true, false or a list of variable names",
        ),
        (
            "[sandbox]\nname = \"../x\"\n",
            ":2:8: sandbox.name: sandbox name \"../x\" is not valid: it must start and end with a letter or a digit",
        ),
        (
            "[sandbox]\nruntime = \"pyhton\"\n",
            ":2:11: sandbox.runtime: unknown runtime \"pyhton\": it must be one of base, node, rust, go, python, ruby, java, dotnet, c, php, elixir, shell, lua, terraform; did you mean \"python\"?",
        ),
        (
            "[[files]]\nsource='file'\ndest='/f'\nmode=420\n",
            ":4:6: files.0.mode: invalid type: integer `420`, expected a string of octal digits such as \"0644\"",
        ),
        (
            "[[files]]\nsource='file'\ndest='/f'\nmode='4755'\n",
            ":4:6: files.0.mode: \"4755\" is not a file mode: expected a string of octal digits such as \"0644\" (at most \"0777\")",
        ),
        (
            "[images]\npull='often'\n",
            ":2:6: images.pull: unknown variant `often`, expected one of `missing`, `always`, `never`",
        ),
        (
            "[firecracker]\nvmm='qmeu'\n",
            ":2:5: firecracker.vmm: unknown virtual machine monitor \"qmeu\": it must be one of firecracker, qemu; did you mean \"qemu\"?",
        ),
        (
            "[firecracker]\ndisk_iops=0\n",
            ":2:11: firecracker.disk_iops: invalid value: integer `0`, expected a nonzero u32",
        ),
        (
            "[firecracker]\nkernal='k'\n",
            ":2:1: unknown key \"firecracker.kernal\"; did you mean \"firecracker.kernel\"?",
        ),
        (
            "[sandbox]\nimage='a'\n[build]\ntarget='D'\n",
            ":3:2: \"build\" and \"sandbox.image\" are the same setting: keep one of them",
        ),
        (
            "[resources]\nvcpus=1\ncpus=1\n",
            ":3:1: \"resources.cpus\" and \"resources.vcpus\" are the same setting: keep one of them",
        ),
        (
            "[security]\nnetwork=true\n[network]\nenabled=true\n",
            ":4:1: \"network.enabled\" and \"security.network\" are the same setting: keep one of them",
        ),
        (
            "[env]\nA='1'\n[sandbox]\nenv={A='2'}\n",
            ":4:6: \"sandbox.env\" and \"env\" are the same setting: keep one of them",
        ),
        ("[sandbox\n", ":1:9: unclosed table, expected `]`"),
        ("mounts=[\"data:/\"]\n", "mount source"),
    ] {
        let error = Project::new(config).error();
        let plain = error.strip_prefix("/agentkernel.toml").unwrap_or(&error);
        if expected == "mount source" {
            assert!(error.contains("can't be mounted over the sandbox's root"), "{error}");
        } else {
            assert_eq!(plain, expected, "{config}");
        }
    }
}

#[test]
fn a_dockerfile_is_built_where_flag_or_file_say_so() {
    let section = "[build]\ndockerfile='file'\ncontext='.'\ntarget='t'\nargs={A='secret'}\nno_cache=true\n";
    let project = Project::new(section);
    let settings = project.settings();
    let build = settings.build.clone().unwrap();
    assert_eq!(build.dockerfile, Some(project.root().join("work/file")));
    assert_eq!(build.context, Some(project.root().join("work")));
    assert_eq!((build.target.as_deref(), &build.args["A"][..], build.no_cache), (Some("t"), "secret", true));
    for key in ["dockerfile", "context", "target", "args", "no_cache"] {
        assert!(origin(&settings, &format!("build.{key}")).starts_with("file:"), "{key}");
    }
    assert!(settings.explain().iter().all(|effective| !effective.value.contains("secret")));
    let named = project.flags(|flags| flags.image = Some("busybox".parse().unwrap())).settings();
    assert_eq!((named.build, named.image.unwrap().as_str()), (None, "busybox"), "the flag's image is meant");

    let plain = Project::new("[sandbox]\nimage='a'\n").flags(|flags| flags.build = Some(BuildFlag::Found));
    let settings = plain.settings();
    assert_eq!((settings.build, settings.image), (Some(BuildSettings::default()), None));
    let missing = Project::new("").flags(|flags| flags.build = Some(BuildFlag::Dockerfile("nope".into())));
    assert_eq!(missing.error(), "--build /nope: it does not exist");
    let useless = Project::new("").flags(|flags| flags.no_cache = true).error();
    assert!(useless.contains("nothing is built; add --build"), "{useless}");
}

#[test]
fn a_found_file_chooses_neither_engines_nor_registries_nor_what_is_built() {
    for (section, key) in [
        ("[build]\ntarget='t'\n", "build"),
        ("[docker]\nhost='tcp://evil:2375'\n", "docker.host"),
        ("[podman]\nruntime='weak'\n", "podman.runtime"),
        ("[firecracker]\nvmm='qemu'\n", "firecracker.vmm"),
        ("[firecracker]\nkernel='vmlinux'\n", "firecracker.kernel"),
        ("[firecracker]\nfirecracker='evil'\n", "firecracker.firecracker"),
        ("[firecracker]\njailer='evil'\n", "firecracker.jailer"),
        ("[firecracker]\nqemu='evil'\n", "firecracker.qemu"),
        ("[firecracker]\nvhost_device_vsock='evil'\n", "firecracker.vhost_device_vsock"),
        ("[firecracker]\nallow_emulated_kvm=true\n", "firecracker.allow_emulated_kvm"),
        ("[images]\nmirrors={'docker.io'=['evil']}\n", "images.mirrors"),
        ("[images]\ninsecure=['docker.io']\n", "images.insecure"),
        ("[images]\nca=['file']\n", "images.ca"),
        ("[api]\nhost='0.0.0.0'\n", "api.host"),
        ("[api]\nallowed_hosts=['evil.example']\n", "api.allowed_hosts"),
        ("[api]\nallowed_origins=['https://evil.example']\n", "api.allowed_origins"),
        ("[api]\ntls_cert='file'\ntls_key='file'\n", "api.tls_cert"),
        ("[audit]\nenabled=false\n", "audit.enabled"),
    ] {
        let error = Project::new(section).found().error();
        assert!(error.contains(&format!("{key} would give")) && error.contains("--config"), "{error}");
        assert!(Project::new(section).load().is_ok(), "{section}");
    }
    let asked_for = Project::new("[build]\n").found().flags(|flags| flags.build = Some(BuildFlag::Found));
    assert!(asked_for.settings().build.is_some(), "--build is the user's own word");
    assert_eq!(
        Project::new("[images]\npull='never'\n").found().settings().outside.images.pull,
        PullPolicy::Never
    );
}

#[test]
fn host_paths_must_exist_and_start_at_the_right_folder() {
    let missing = Project::new("mounts = [\"nope:/x\"]\n").error();
    assert_eq!(missing, "/agentkernel.toml:1: mount source /nope: it does not exist");
    let folder = Project::new("[[files]]\nsource='data'\ndest='/x'\n").error();
    assert!(folder.ends_with("it is not a regular file; show folders with [[mounts]]"), "{folder}");
    let project = Project::new("mounts = [\"data:/x:ro\", \"~/tools:/t\"]\n")
        .flags(|flags| flags.mounts = vec!["data:/x".parse().unwrap()]);
    let settings = project.settings();
    let targets: Vec<_> = settings.mounts.iter().map(|mount| mount.target.to_string()).collect();
    assert_eq!(targets, ["/t", "/x"]);
    assert_eq!(settings.mounts[1].access, Access::ReadWrite);
    let twice = Project::new("mounts = [\"data:/x\", \"file:/x\"]\n").error();
    assert_eq!(twice, "two mounts at /x: keep one of them");
}

#[test]
fn a_profile_of_flag_or_variable_is_not_widened_by_the_file() {
    let config = "[security]\nprofile='permissive'\nnetwork=true\nread_only=false\nmount_cwd=true\n";
    let restrictive = |flags: &mut Overrides| flags.profile = Some(Profile::Restrictive);
    assert_eq!(Project::new(config).flags(restrictive).settings().grants, Profile::Restrictive.grants());
    let by_variable = Project::new(config).vars(&[("AGENTKERNEL_PROFILE", "restrictive")]).settings();
    assert_eq!(by_variable.grants, Profile::Restrictive.grants());
    let narrower = Project::new("[security]\nnetwork=false\n")
        .flags(|flags| flags.profile = Some(Profile::Moderate))
        .settings();
    assert_eq!(narrower.grants.network, NetworkAccess::None);
    let flag_wins = Project::new("").flags(|flags| {
        restrictive(flags);
        flags.network = Some(NetworkAccess::On);
        flags.mount_cwd = Some(CwdMount::ReadOnly);
    });
    let grants = flag_wins.settings().grants;
    assert_eq!((grants.network, grants.mount_cwd), (NetworkAccess::On, Some(Access::ReadOnly)));
}

#[test]
fn a_file_that_was_only_found_grants_nothing_outside_its_project() {
    for config in [
        "[security]\nprofile='permissive'\n",
        "[security]\nmount_home=true\n",
        "[security]\npass_env=['TOKEN']\n",
        "[security]\nallow_unlimited=true\n",
        "mounts=['/etc:/x:ro']\n",
        "mounts=['../home:/x:ro']\n",
        "[[files]]\nsource='/etc/passwd'\ndest='/x'\n",
    ] {
        let error = Project::new(config).found().error();
        assert!(error.ends_with("name it with --config /agentkernel.toml"), "{config}: {error}");
        Project::new(config).settings();
    }
    let inside = "mounts=['data:/x']\n[security]\nprofile='restrictive'\nmount_cwd=true\nmount_home=false\n\
                  [[files]]\nsource='file'\ndest='/x/f'\n[env]\nA='1'\n";
    assert_eq!(Project::new(inside).found().settings().mounts.len(), 1);
    let by_flag = Project::new("[security]\nmount_home=true\n").found().flags(|f| f.mount_home = Some(true));
    assert!(by_flag.settings().grants.mount_home);
}

#[test]
fn the_environment_adds_up_and_the_later_source_wins() {
    let project = Project::new("[security]\npass_env=true\n[env]\nA='file'\nB='file'\n")
        .vars(&[("A", "caller"), ("C", "caller"), ("B", "caller"), ("PATH", "/bin")])
        .flags(|flags| {
            flags.env = ["B=flag", "C"].map(|flag| EnvFlag::parse(flag.as_ref()).unwrap()).to_vec()
        });
    let env: Vec<String> = project
        .settings()
        .env
        .iter()
        .map(|var| format!("{}={}", var.name.to_lossy(), var.value.to_lossy()))
        .collect();
    assert_eq!(env, ["A=file", "B=flag", "C=caller"]);
    let unset = Project::new("").flags(|f| f.env = vec![EnvFlag::parse("NOPE".as_ref()).unwrap()]).error();
    let wrong = Project::new("").flags(|f| f.pass_env = Some(PassEnv::Names(vec!["A=B".into()]))).error();
    assert_eq!(wrong, "--pass-env: \"A=B\" is not the name of a variable");
    assert_eq!(unset, "-e NOPE: the variable is not set in your environment; set it or give -e NOPE=VALUE");
}

#[test]
fn which_file_is_read() {
    let project = Project::new("[sandbox]\nname='found'\n").found();
    assert_eq!(project.settings().name.map(|name| name.to_string()).as_deref(), Some("found"));
    std::fs::write(project.root().join("other.toml"), "[sandbox]\nname='other'\n").unwrap();
    let settings =
        load(&project.environment(), Some(Path::new("../other.toml")), Overrides::default()).unwrap();
    assert_eq!(settings.name.as_ref().map(|name| name.as_str()), Some("other"));
    let by_variable = Project::new("").vars(&[("AGENTKERNEL_CONFIG", "../other.toml")]);
    std::fs::write(by_variable.root().join("other.toml"), "").unwrap();
    assert_eq!(origin(&by_variable.settings(), "config_file"), "environment AGENTKERNEL_CONFIG");
    assert_eq!(origin(&project.settings(), "config_file"), "default");
    assert_eq!(origin(&settings, "config_file"), "flag");
    let by_variable = Project::new("").vars(&[("AGENTKERNEL_CONFIG", "nope.toml")]).error();
    assert_eq!(
        by_variable,
        "config file /nope.toml does not exist: check the path of --config or AGENTKERNEL_CONFIG"
    );
}

#[test]
fn files_that_are_no_configuration_are_errors_and_never_hang() {
    let project = Project::new("").found();
    let path = project.root().join("work/agentkernel.toml");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert_eq!(project.error(), "config file /agentkernel.toml can't be used: it is not a regular file");
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, b"\xff\xfe").unwrap();
    assert_eq!(project.error(), "config file /agentkernel.toml can't be used: it is not UTF-8 text");
    std::fs::write(&path, "#".repeat((1 << 20) + 1)).unwrap();
    assert_eq!(project.error(), "config file /agentkernel.toml can't be used: it is longer than 1 MiB");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert_eq!(project.error(), "config file /agentkernel.toml can't be used: it is not a regular file");
}

proptest! {
    #[test]
    fn any_text_parses_or_fails_and_never_panics(text in "\\PC{0,200}") {
        drop(parse(&text, Path::new("f")));
    }

    #[test]
    fn anything_that_looks_like_a_config_never_panics(
        lines in proptest::collection::vec(
            "(\\[{1,2}(sandbox|env|files|mounts|security|x)\\]{1,2}|(name|memory_mb|pass_env|mode|ports|\"a\\.b\") ?= ?([0-9.-]{1,20}|'[^'\n]{0,9}'|\\[[0-9,\"a:/]{0,9}\\]|\\{[a-z='.]{0,9}\\}|true))",
            0..12,
        )
    ) {
        if let Err(error) = parse(&lines.join("\n"), Path::new("f")) {
            prop_assert!(!error.to_string().contains('\n'));
        }
    }
}
