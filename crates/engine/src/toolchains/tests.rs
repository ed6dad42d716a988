//! A made-up home with a tool and a secret in every place.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use agentkernel_config::Environment;
use agentkernel_model::Access;

use super::catalogue::TOOLS;
use super::{Toolchains, find_toolchains};

struct Home {
    _dir: tempfile::TempDir,
    path: PathBuf,
    vars: Vec<(String, String)>,
}

impl Home {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap().join("home");
        std::fs::create_dir(&path).unwrap();
        Self { _dir: dir, path, vars: Vec::new() }
    }

    fn make(&self, path: &str) {
        let path = self.path.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
    }

    fn file(&self, path: &str) -> &Self {
        self.make(path);
        self
    }

    fn link(&self, path: &str, to: impl AsRef<Path>) -> &Self {
        let path = self.path.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(to, path).unwrap();
        self
    }

    fn at(&self, path: &str) -> String {
        self.path.join(path).display().to_string()
    }

    fn path_of(mut self, dirs: &[&str]) -> Self {
        let dirs: Vec<String> = dirs
            .iter()
            .map(|dir| if dir.starts_with('/') { (*dir).to_owned() } else { self.at(dir) })
            .collect();
        self.vars.push(("PATH".to_owned(), dirs.join(":")));
        self
    }

    fn find(&self) -> Toolchains {
        find_toolchains(&Environment {
            cwd: "/".into(),
            home: Some(self.path.clone()),
            user: None,
            uid: 1000,
            vars: self.vars.iter().map(|(name, value)| (name.into(), value.into())).collect(),
            interactive_stdin: false,
            interactive_stdout: false,
            interactive_stderr: false,
        })
    }

    /// The mounted places, as paths below the home.
    fn targets(&self) -> Vec<String> {
        let below = |path: &Path| path.strip_prefix(&self.path).unwrap().display().to_string();
        self.find().mounts.iter().map(|mount| below(mount.target.as_path())).collect()
    }
}

/// Files with tokens, keys or passwords, in the places where tools keep them.
const SECRETS: &[&str] = &[
    ".ssh/id_ed25519",
    ".aws/credentials",
    ".netrc",
    ".git-credentials",
    ".gitconfig",
    ".npmrc",
    ".yarnrc.yml",
    ".pypirc",
    ".bunfig.toml",
    ".condarc",
    ".cargo/credentials.toml",
    ".cargo/credentials",
    ".cargo/config.toml",
    ".config/gh/hosts.yml",
    ".config/pip/pip.conf",
    ".config/pypoetry/auth.toml",
    ".config/mise/config.toml",
    ".config/uv/uv.toml",
    ".config/pnpm/rc",
    ".config/nvm/secret",
    ".pip/pip.conf",
    ".pyenv/versions/3.12.1/pip.conf",
    ".pyenv/.git/config",
    ".pyenv/plugins/x/.git/config",
    ".nvm/.npmrc",
    ".nvm/.git/config",
    ".nvm/versions/node/v22.1.0/etc/npmrc",
    ".fnm/node-versions/v22/installation/etc/npmrc",
    ".local/share/fnm/node-versions/v22/installation/etc/npmrc",
    ".volta/hooks.json",
    ".volta/tools/image/node/22.1.0/etc/npmrc",
    ".volta/log/error.log",
    ".bun/install/global/.npmrc",
    ".bun/install/global/bunfig.toml",
    ".deno/credentials",
    ".local/share/uv/credentials/credentials.toml",
    ".local/share/uv/tools/ruff/uv-receipt.toml",
    ".local/share/uv/tools/.netrc",
    ".local/share/pipx/venvs/black/pipx_metadata.json",
    ".local/share/pipx/venvs/black/pip.conf",
    ".local/pipx/venvs/black/pipx_metadata.json",
    ".local/share/pypoetry/venv/pip.conf",
    ".local/share/keyrings/login.keyring",
    ".local/share/pnpm/rc",
    ".local/bin/my-deploy-script-with-a-token",
    ".m2/settings.xml",
    ".gradle/gradle.properties",
    ".sdkman/etc/config",
    ".sdkman/candidates/maven/3.9.6/conf/settings.xml",
    ".sdkman/candidates/gradle/8.5/init.d/credentials.gradle",
    ".asdf/.git/config",
    ".asdf/plugins/nodejs/.git/config",
    ".asdf/installs/nodejs/22.1.0/etc/npmrc",
    ".asdf/installs/maven/3.9.6/conf/settings.xml",
    ".local/share/mise/installs/node/22.1.0/etc/npmrc",
    ".gem/credentials",
    ".bundle/config",
    ".rbenv/versions/3.3.0/etc/gemrc",
    ".nodenv/versions/22/etc/npmrc",
    ".ghcup/config.yaml",
    ".cabal/config",
    ".julia/servers/example/auth.toml",
    ".dotnet/corefx/cryptography/x509stores/my/key.pfx",
    ".nuget/NuGet/NuGet.Config",
    ".npm-global/etc/npmrc",
    ".claude/.credentials.json",
    ".claude/local/package.json",
    ".local/share/claude/credentials",
    ".opencode/auth.json",
    ".local/share/opencode/auth.json",
    ".codex/auth.json",
    ".gemini/oauth_creds.json",
    ".docker/config.json",
    ".kube/config",
    ".terraform.d/credentials.tfrc.json",
    ".gnupg/private-keys-v1.d/key",
    "miniconda3/.condarc",
    "miniconda3/etc/conda/tokens",
    "miniconda3/ssl/private/key.pem",
    "miniconda3/envs/x/pip.conf",
    "go/src/private/main.go",
    "go/pkg/mod/private/main.go",
    "sdk/go1.22/secret",
    ".rustup/credentials",
    "projects/secret.rs",
];

/// One program of each tool.
const PROGRAMS: &[&str] = &[
    ".rustup/toolchains/stable/bin/rustc",
    ".rustup/settings.toml",
    ".cargo/bin/cargo",
    ".pyenv/bin/pyenv",
    ".pyenv/shims/python",
    ".pyenv/version",
    ".pyenv/versions/3.12.1/bin/python3",
    ".pyenv/plugins/x/bin/x",
    ".nvm/versions/node/v22.1.0/bin/node",
    ".nvm/versions/node/v22.1.0/lib/node_modules/npm/index.js",
    ".fnm/node-versions/v22/installation/bin/node",
    ".local/share/fnm/node-versions/v22/installation/bin/node",
    ".volta/bin/node",
    ".volta/tools/image/node/22.1.0/bin/node",
    ".volta/tools/user/platform.json",
    ".bun/bin/bun",
    ".bun/install/global/node_modules/x/x.js",
    ".deno/bin/deno",
    ".local/share/uv/python/cpython-3.12/bin/python3",
    ".local/share/uv/tools/ruff/bin/ruff",
    ".local/share/uv/tools/ruff/pyvenv.cfg",
    ".local/share/pipx/venvs/black/bin/black",
    ".local/pipx/venvs/black/bin/black",
    ".local/share/pypoetry/venv/bin/poetry",
    ".local/share/pnpm/pnpm",
    ".local/bin/uv",
    ".sdkman/candidates/java/21/bin/java",
    ".sdkman/candidates/java/21/conf/security/java.security",
    ".sdkman/candidates/maven/3.9.6/bin/mvn",
    ".sdkman/candidates/gradle/8.5/bin/gradle",
    ".asdf/bin/asdf",
    ".asdf/shims/node",
    ".asdf/plugins/nodejs/bin/install",
    ".asdf/installs/nodejs/22.1.0/bin/node",
    ".asdf/installs/maven/3.9.6/bin/mvn",
    ".local/share/mise/shims/node",
    ".local/share/mise/installs/node/22.1.0/bin/node",
    ".rbenv/shims/ruby",
    ".rbenv/versions/3.3.0/bin/ruby",
    ".nodenv/versions/22/bin/node",
    ".ghcup/bin/ghc",
    ".ghcup/ghc/9.4/bin/ghc",
    ".cabal/bin/x",
    ".juliaup/bin/julia",
    ".julia/juliaup/julia/bin/julia",
    ".dotnet/dotnet",
    ".dotnet/sdk/8/x.dll",
    ".npm-global/bin/x",
    ".claude/local/claude",
    ".local/share/claude/versions/1.0.0",
    ".opencode/bin/opencode",
    "miniconda3/bin/python",
    "miniconda3/ssl/cacert.pem",
    "miniconda3/envs/x/bin/python",
    "go/bin/gopls",
    "sdk/go1.22/bin/go",
    ".local/go/bin/go",
];

/// Whether the sandbox would see `file`, which may be reached by any way.
fn sees(tools: &Toolchains, file: &Path) -> bool {
    let resolved = file.canonicalize().unwrap();
    tools.mounts.iter().any(|mount| {
        resolved.starts_with(mount.source.canonicalize().unwrap()) || file.starts_with(mount.target.as_path())
    })
}

#[test]
fn every_tool_is_shown_and_no_secret_is() {
    let home = Home::new();
    SECRETS.iter().chain(PROGRAMS).for_each(|path| home.make(path));
    let tools = home.find();
    for program in PROGRAMS {
        assert!(sees(&tools, &home.path.join(program)), "{program} is not shown");
    }
    for secret in SECRETS {
        assert!(!sees(&tools, &home.path.join(secret)), "{secret} is shown");
    }
    for tool in TOOLS.iter().filter(|tool| !["miniforge3", "mambaforge", "anaconda3"].contains(&tool.home)) {
        assert!(tools.found.contains(&tool.name), "{} is not tested", tool.name);
    }
    assert!(tools.mounts.iter().all(|mount| mount.access == Access::ReadOnly));
    assert_eq!(tools.left_out, Vec::<String>::new());
}

#[test]
fn a_home_of_secrets_shows_nothing() {
    let home = Home::new();
    SECRETS.iter().for_each(|path| home.make(path));
    let tools = home.find();
    for secret in SECRETS {
        assert!(!sees(&tools, &home.path.join(secret)), "{secret} is shown");
    }
}

#[test]
fn symlinks_out_of_the_tool_folders_are_left_out() {
    let home = Home::new();
    home.file(".ssh/id_ed25519")
        .file(".pyenv/versions/3.12/bin/python")
        .file("elsewhere/versions/node/v1/bin/node");
    home.link(".cargo/bin", "../.ssh")
        .link(".nvm", "elsewhere")
        .link(".rustup/toolchains", "/")
        .link(".rustup/settings.toml", "../.ssh/id_ed25519")
        .link(".pyenv/versions/evil", "../../.ssh")
        .link(".pyenv/versions/3.12/lib", "../../../.ssh")
        .link(".pyenv/shims", &home.path)
        .link(".local/bin/uv", "../../.ssh/id_ed25519")
        .link(".local/bin/sh", "/bin/sh")
        .link("go", ".ssh")
        .link(".deno/bin", "bin");
    assert_eq!(home.targets(), [".pyenv/versions/3.12/bin"]);
    let tools = home.find();
    assert!(!sees(&tools, &home.path.join(".ssh/id_ed25519")));
    let told = tools.left_out.join("\n");
    for place in
        [".cargo/bin", ".nvm", ".rustup/toolchains", ".rustup/settings.toml", "3.12/lib", ".pyenv/shims"]
    {
        assert!(told.contains(place), "{place}: {told}");
    }
    assert!(told.contains("set NVM_DIR if it is meant"), "{told}");
}

#[test]
fn symlinks_within_the_tool_folders_are_followed() {
    let home = Home::new();
    home.file(".sdkman/candidates/java/21/bin/java").file(".local/share/uv/tools/ruff/bin/ruff");
    home.file(".local/share/uv/tools/ruff/lib/x.py");
    home.link(".sdkman/candidates/java/current", "21")
        .link(".local/bin/ruff", home.at(".local/share/uv/tools/ruff/bin/ruff"))
        .link(".local/share/uv/tools/ruff/lib64", "lib");
    let targets = home.targets();
    for place in
        [".sdkman/candidates/java/current/bin", ".local/bin/ruff", ".local/share/uv/tools/ruff/lib64"]
    {
        assert!(targets.iter().any(|target| target == place), "{place}: {targets:?}");
    }
    let tools = home.find();
    assert!(tools.mounts.iter().all(|mount| mount.source == mount.source.canonicalize().unwrap()));
}

#[test]
fn path_keeps_the_callers_order_and_only_what_is_shown() {
    let home = Home::new();
    home.file(".cargo/bin/cargo").file(".local/share/fnm/node-versions/v22/installation/bin/node");
    home.file(".local/bin/uv").file("bin/mine");
    home.link("run/fnm_multishells/1", home.at(".local/share/fnm/node-versions/v22/installation"));
    let home = home.path_of(&[
        "/usr/local/go/bin",
        "/usr/../root",
        "bin",
        "run/fnm_multishells/1/bin",
        ".local/bin",
        "/usr/bin",
        ".cargo/bin",
        ".cargo/bin",
    ]);
    let node = home.path.join(".local/share/fnm/node-versions/v22/installation/bin");
    let go = PathBuf::from("/usr/local/go/bin");
    assert_eq!(home.find().path, [go, node, home.path.join(".local/bin"), home.path.join(".cargo/bin")]);
}

#[test]
fn tools_are_told_where_they_are() {
    let mut home = Home::new();
    home.file("moved/rustup/toolchains/stable/bin/rustc")
        .file("moved/rustup/secret")
        .file("moved/cargo/bin/cargo");
    home.file("moved/cargo/credentials.toml")
        .file(".pyenv/bin/pyenv")
        .file(".sdkman/candidates/java/21/bin/java");
    let java = home.at(".sdkman/candidates/java/21");
    for (name, value) in [
        ("RUSTUP_HOME", home.at("moved/rustup")),
        ("CARGO_HOME", home.at("moved/cargo")),
        ("JAVA_HOME", java.clone()),
        ("GOROOT", home.at("not/shown")),
        ("VOLTA_HOME", "relative".to_owned()),
    ] {
        home.vars.push((name.to_owned(), value));
    }
    let tools = home.find();
    let env: Vec<(String, String)> =
        tools.env.iter().map(|var| (var.name.to_lossy(), var.value.to_lossy())).collect();
    let told =
        [("RUSTUP_HOME", home.at("moved/rustup")), ("PYENV_ROOT", home.at(".pyenv")), ("JAVA_HOME", java)];
    assert_eq!(env, told.map(|(name, value)| (name.to_owned(), value)));
    assert!(sees(&tools, &home.path.join("moved/cargo/bin/cargo")));
    assert!(!sees(&tools, &home.path.join("moved/cargo/credentials.toml")));
    assert!(!sees(&tools, &home.path.join("moved/rustup/secret")));
}

#[test]
fn without_a_home_there_are_no_tools() {
    let mut environment = Environment {
        cwd: "/".into(),
        home: None,
        user: None,
        uid: 1000,
        vars: Vec::new(),
        interactive_stdin: false,
        interactive_stdout: false,
        interactive_stderr: false,
    };
    assert_eq!(find_toolchains(&environment), Toolchains::default());
    environment.home = Some("/nonexistent".into());
    assert_eq!(find_toolchains(&environment), Toolchains::default());
}
