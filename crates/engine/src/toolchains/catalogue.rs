//! Where tools live, and which parts of those folders a sandbox may see. Left out on purpose, next to each tool: files
//! that hold tokens, keys, or the address of a private index with its password.

/// One tool manager.
pub(super) struct Tool {
    /// For people.
    pub(super) name: &'static str,
    /// The variable by which its users move it; also set in the sandbox where `announce` says so.
    pub(super) variable: Option<&'static str>,
    /// Its folder below the home, where the variable isn't set.
    pub(super) home: &'static str,
    /// What is shown, as paths below its folder: `*` is any one name, `{a,b}` one of these.
    pub(super) shown: &'static [&'static str],
    /// Whether the tool must be told its folder, because it would look below the sandbox's home.
    pub(super) announce: bool,
}

/// A tool that finds itself.
const fn plain(name: &'static str, home: &'static str, shown: &'static [&'static str]) -> Tool {
    Tool { name, variable: None, home, shown, announce: false }
}

/// A tool that is moved by a variable.
const fn movable(
    name: &'static str,
    variable: &'static str,
    home: &'static str,
    shown: &'static [&'static str],
) -> Tool {
    Tool { name, variable: Some(variable), home, shown, announce: false }
}

/// A tool that must be told where it is.
const fn announced(
    name: &'static str,
    variable: &'static str,
    home: &'static str,
    shown: &'static [&'static str],
) -> Tool {
    Tool { name, variable: Some(variable), home, shown, announce: true }
}

/// All of them.
pub(super) const TOOLS: &[Tool] = &[
    announced("rustup", "RUSTUP_HOME", ".rustup", &["toolchains", "settings.toml"]),
    // Not credentials.toml and config.toml.
    movable("cargo", "CARGO_HOME", ".cargo", &["bin"]),
    // Not pip.conf of a version.
    announced(
        "pyenv",
        "PYENV_ROOT",
        ".pyenv",
        &[
            "{bin,libexec,shims,version}",
            "plugins/*/{bin,libexec,shims}",
            "versions/*/{bin,lib,lib64,include,share,pyvenv.cfg}",
        ],
    ),
    // Not etc/npmrc of a version.
    movable(
        "nvm",
        "NVM_DIR",
        ".nvm",
        &["versions/{node,io.js}/*/{bin,lib,include,share}", "alias", "nvm.sh", "nvm-exec"],
    ),
    movable(
        "fnm",
        "FNM_DIR",
        ".local/share/fnm",
        &["node-versions/*/installation/{bin,lib,include,share}", "aliases"],
    ),
    plain("fnm", ".fnm", &["node-versions/*/installation/{bin,lib,include,share}", "aliases", "fnm"]),
    // Not hooks.json.
    announced(
        "volta",
        "VOLTA_HOME",
        ".volta",
        &[
            "bin",
            "tools/image/{node,npm,yarn,pnpm}/*/{bin,lib,include,share,package.json,dist}",
            "tools/image/packages/*/{bin,lib}",
            "tools/user/{bins,packages,platform.json}",
        ],
    ),
    movable("bun", "BUN_INSTALL", ".bun", &["bin", "install/global/node_modules"]),
    movable("deno", "DENO_INSTALL", ".deno", &["bin"]),
    // Not credentials and tools/*/uv-receipt.toml.
    movable("uv python", "UV_PYTHON_INSTALL_DIR", ".local/share/uv/python", &["*/{bin,lib,include,share}"]),
    movable("uv tools", "UV_TOOL_DIR", ".local/share/uv/tools", &["*/{bin,lib,lib64,share,pyvenv.cfg}"]),
    // Not venvs/*/pipx_metadata.json.
    movable(
        "pipx",
        "PIPX_HOME",
        ".local/share/pipx",
        &["venvs/*/{bin,lib,lib64,share,pyvenv.cfg}", "shared/{bin,lib,lib64,pyvenv.cfg}"],
    ),
    plain(
        "pipx",
        ".local/pipx",
        &["venvs/*/{bin,lib,lib64,share,pyvenv.cfg}", "shared/{bin,lib,lib64,pyvenv.cfg}"],
    ),
    plain("poetry", ".local/share/pypoetry", &["venv/{bin,lib,lib64,pyvenv.cfg}"]),
    // Not .condarc, etc and ssl/private.
    plain("conda", "miniconda3", CONDA),
    plain("conda", "miniforge3", CONDA),
    plain("conda", "mambaforge", CONDA),
    plain("conda", "anaconda3", CONDA),
    // Not pkg/mod and src: private modules.
    movable("go", "GOPATH", "go", &["bin"]),
    plain("go", "sdk", &["*/{bin,pkg,src,lib,misc,VERSION}"]),
    plain("go", ".local/go", &["{bin,pkg,src,lib,misc,VERSION}"]),
    // Not conf of anything but Java: Maven keeps passwords there.
    movable(
        "sdkman",
        "SDKMAN_DIR",
        ".sdkman",
        &[
            "candidates/*/*/{bin,boot,lib,libexec,jmods,include,legal,release,share}",
            "candidates/java/*/conf",
        ],
    ),
    movable(
        "asdf",
        "ASDF_DIR",
        ".asdf",
        &["{bin,lib,libexec,shims,asdf.sh}", "plugins/*/{bin,lib,shims}", INSTALLS],
    ),
    movable("mise", "MISE_DATA_DIR", ".local/share/mise", &["shims", INSTALLS]),
    // Not etc of a version.
    announced(
        "rbenv",
        "RBENV_ROOT",
        ".rbenv",
        &["{bin,libexec,shims,version}", "plugins/*/{bin,libexec}", "versions/*/{bin,lib,include,share}"],
    ),
    announced(
        "nodenv",
        "NODENV_ROOT",
        ".nodenv",
        &["{bin,libexec,shims,version}", "versions/*/{bin,lib,include,share}"],
    ),
    plain("ghcup", ".ghcup", &["{bin,ghc,hls}"]),
    plain("cabal", ".cabal", &["bin"]),
    // Not .julia/servers.
    plain("julia", ".juliaup", &["bin"]),
    plain("julia", ".julia", &["juliaup"]),
    // Not corefx: private keys.
    announced(
        "dotnet",
        "DOTNET_ROOT",
        ".dotnet",
        &["{dotnet,host,sdk,shared,packs,templates,sdk-manifests,tools}"],
    ),
    plain("npm global", ".npm-global", &["{bin,lib}"]),
    plain("pnpm", ".local/share/pnpm", &["{pnpm,pnpx}"]),
    // Not .claude itself: sessions and credentials.
    plain("claude", ".claude/local", &["{claude,node_modules}"]),
    plain("claude", ".local/share/claude", &["versions"]),
    plain("opencode", ".opencode", &["bin"]),
];

const CONDA: &[&str] = &[
    "{bin,condabin,lib,libexec,include,share}",
    "ssl/{cacert.pem,cert.pem,openssl.cnf}",
    "envs/*/{bin,lib,libexec,include,share}",
    "envs/*/ssl/{cacert.pem,cert.pem,openssl.cnf}",
];

const INSTALLS: &str = "installs/*/*/{bin,lib,lib64,libexec,include,share,go,pkg,src,release,VERSION}";

/// Programs that their installers put straight into `~/.local/bin`. The folder itself isn't shown: it is where people
/// keep scripts of their own.
pub(super) const LOCAL_PROGRAMS: &[&str] =
    &["uv", "uvx", "mise", "asdf", "fnm", "pipx", "poetry", "stack", "just"];

/// Variables that point into a tool's folder; they are set in the sandbox where the caller's value is shown there.
pub(super) const POINTERS: &[&str] = &[
    "JAVA_HOME",
    "GOROOT",
    "KOTLIN_HOME",
    "MAVEN_HOME",
    "M2_HOME",
    "GRADLE_HOME",
    "SCALA_HOME",
    "GROOVY_HOME",
    "CONDA_PREFIX",
    "ASDF_DATA_DIR",
    "BUN_INSTALL",
];
