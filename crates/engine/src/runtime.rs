//! Which language a command or project is of, and which image that means for a backend that needs one. Looks at names
//! in the project folder and reads one bounded file; runs nothing. The project may be hostile.

use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use agentkernel_config::Runtime;
use agentkernel_model::ByteString;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detected {
    /// The language.
    pub runtime: Runtime,
    /// The image where the backend needs one: a valid image reference.
    pub image: &'static str,
    /// Why, for people: `command python3`, `file Cargo.toml`, `Procfile line 1 (node)`, `nothing known`.
    pub because: String,
}

impl Detected {
    /// Whether anything at all speaks for it.
    pub(crate) fn is_known(&self) -> bool {
        self.runtime != Runtime::Base
    }
}

/// What is asked first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// `run`: the command is what the sandbox is for.
    CommandFirst,
    /// `create` and the rest: the project is.
    ProjectFirst,
}

/// One language.
struct Language {
    runtime: Runtime,
    image: &'static str,
    /// Names in the project folder; a leading `*` stands for any beginning.
    files: &'static [&'static str],
    /// Program names.
    commands: &'static [&'static str],
}

const DEFAULT_IMAGE: &str = "alpine:3.20";

/// Longest Procfile that is looked at.
const PROCFILE_LIMIT_BYTES: u64 = 64 << 10;

/// Most names of a project folder that are looked at.
const FOLDER_LIMIT_ENTRIES: usize = 10_000;

/// In order of priority: the first language with a file wins.
const LANGUAGES: [Language; 13] = [
    Language {
        runtime: Runtime::Node,
        image: "node:22-alpine",
        files: &["package.json", "package-lock.json", "yarn.lock", "pnpm-lock.yaml", "bun.lockb"],
        commands: &["node", "npm", "npx", "yarn", "pnpm", "bun", "tsx", "ts-node"],
    },
    Language {
        runtime: Runtime::Rust,
        image: "rust:1.85-alpine",
        files: &["Cargo.toml", "Cargo.lock"],
        commands: &["cargo", "rustc", "rustup", "rustfmt", "clippy"],
    },
    Language {
        runtime: Runtime::Go,
        image: "golang:1.23-alpine",
        files: &["go.mod", "go.sum"],
        commands: &["go", "gofmt"],
    },
    Language {
        runtime: Runtime::Python,
        image: "python:3.12-alpine",
        files: &[
            "pyproject.toml",
            "requirements.txt",
            "setup.py",
            "setup.cfg",
            "Pipfile",
            "poetry.lock",
            "uv.lock",
        ],
        commands: &["python", "python3", "pip", "pip3", "poetry", "uv", "pytest", "ruff"],
    },
    Language {
        runtime: Runtime::Ruby,
        image: "ruby:3.3-alpine",
        files: &["Gemfile", "Gemfile.lock", "*.gemspec"],
        commands: &["ruby", "gem", "bundle", "bundler", "rake", "rails"],
    },
    Language {
        runtime: Runtime::Java,
        image: "eclipse-temurin:21-alpine",
        files: &["pom.xml", "build.gradle", "build.gradle.kts", "settings.gradle", "*.kt"],
        commands: &["java", "javac", "mvn", "gradle", "gradlew"],
    },
    Language {
        runtime: Runtime::Dotnet,
        image: "mcr.microsoft.com/dotnet/sdk:8.0",
        files: &["*.csproj", "*.fsproj", "*.sln", "global.json"],
        commands: &["dotnet", "csc", "fsc"],
    },
    Language {
        runtime: Runtime::C,
        image: "gcc:14-bookworm",
        files: &["Makefile", "CMakeLists.txt", "configure", "*.c", "*.cpp", "*.h"],
        commands: &["gcc", "g++", "clang", "clang++", "make", "cmake", "cc"],
    },
    Language {
        runtime: Runtime::Php,
        image: "php:8.3-alpine",
        files: &["composer.json", "composer.lock", "*.php"],
        commands: &["php", "composer"],
    },
    Language {
        runtime: Runtime::Elixir,
        image: "elixir:1.16-alpine",
        files: &["mix.exs", "mix.lock"],
        commands: &["elixir", "mix", "iex"],
    },
    Language {
        runtime: Runtime::Shell,
        image: DEFAULT_IMAGE,
        files: &["*.sh"],
        commands: &["sh", "bash", "zsh", "ash"],
    },
    Language {
        runtime: Runtime::Lua,
        image: "nickblah/lua:5.4-alpine",
        files: &["*.lua", ".luacheckrc"],
        commands: &["lua", "luajit", "luarocks"],
    },
    Language {
        runtime: Runtime::Terraform,
        image: "hashicorp/terraform:1.10",
        files: &["*.tf", "*.tfvars", "terraform.tfstate"],
        commands: &["terraform"],
    },
];

/// Finds the language of `command` in `project_dir`; the default is a small shell environment.
pub fn detect(command: Option<&[ByteString]>, project_dir: &Path, order: Order) -> Detected {
    let by_command = || command.and_then(by_command);
    let by_project = || by_project_files(project_dir).or_else(|| by_procfile(project_dir));
    let found = match order {
        Order::CommandFirst => by_command().or_else(by_project),
        Order::ProjectFirst => by_project().or_else(by_command),
    };
    found.unwrap_or_else(|| Detected {
        runtime: Runtime::Base,
        image: DEFAULT_IMAGE,
        because: "nothing known in the command or the folder".to_owned(),
    })
}

/// The language of a command by its program's name alone; looks into no folder.
pub(crate) fn detect_command(command: &[ByteString]) -> Option<Detected> {
    by_command(command)
}

/// The image of a run-time that was named (`sandbox.runtime`).
pub fn image_of(runtime: Runtime) -> &'static str {
    LANGUAGES
        .iter()
        .find(|language| language.runtime == runtime)
        .map_or(DEFAULT_IMAGE, |language| language.image)
}

impl Language {
    fn detected(&self, because: String) -> Detected {
        Detected { runtime: self.runtime, image: self.image, because }
    }

    /// The language of a program, by the last part of its path.
    fn of_program(program: &[u8]) -> Option<(&'static Self, &'static str)> {
        let name = program.rsplit(|byte| *byte == b'/').next()?;
        LANGUAGES.iter().find_map(|language| {
            let known = language.commands.iter().find(|known| known.as_bytes() == name)?;
            Some((language, *known))
        })
    }
}

fn by_command(command: &[ByteString]) -> Option<Detected> {
    let (language, name) = Language::of_program(command.first()?.as_bytes())?;
    Some(language.detected(format!("command {name}")))
}

fn by_project_files(dir: &Path) -> Option<Detected> {
    let names = file_names(dir);
    LANGUAGES.iter().find_map(|language| {
        let file = language.files.iter().find_map(|pattern| match pattern.strip_prefix('*') {
            None => dir.join(pattern).is_file().then(|| (*pattern).to_owned()),
            Some(suffix) => names.iter().find(|name| is_suffixed(name, suffix)).cloned(),
        })?;
        Some(language.detected(format!("file {file}")))
    })
}

/// Whether `name` ends in `suffix` and has more than it.
fn is_suffixed(name: &str, suffix: &str) -> bool {
    name.len() > suffix.len() && name.ends_with(suffix)
}

/// The names of the files in `dir`, sorted so that the choice doesn't depend on the file system's order; only those
/// that are UTF-8, as all known names are, and without control characters, as they are shown.
fn file_names(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .take(FOLDER_LIMIT_ENTRIES)
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let is_folder = entry.file_type().ok()?.is_dir();
            let name = entry.file_name().into_string().ok()?;
            (!is_folder && !name.contains(char::is_control)).then_some(name)
        })
        .collect();
    names.sort_unstable();
    names
}

/// The first line `type: command` of the Procfile whose command is known.
fn by_procfile(dir: &Path) -> Option<Detected> {
    let text = read_procfile(&dir.join("Procfile"))?;
    text.split(|byte| *byte == b'\n').enumerate().find_map(|(index, line)| {
        let (language, name) = Language::of_program(procfile_program(line)?)?;
        Some(language.detected(format!("Procfile line {} ({name})", index + 1)))
    })
}

/// At most the limit of a regular file's bytes; a pipe in its place must not hang us.
fn read_procfile(path: &Path) -> Option<Vec<u8>> {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = std::fs::OpenOptions::new().read(true).custom_flags(nonblocking).open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(PROCFILE_LIMIT_BYTES).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// The first word of the command of a line `type: command`.
fn procfile_program(line: &[u8]) -> Option<&[u8]> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (kind, command) = (line[..colon].trim_ascii(), &line[colon + 1..]);
    let is_kind =
        !kind.is_empty() && kind.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(byte));
    if !is_kind {
        return None;
    }
    command.split(u8::is_ascii_whitespace).find(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use agentkernel_model::ImageRef;
    use proptest::prelude::*;

    fn detected(command: &[&str], files: &[(&str, &str)], order: Order) -> (Runtime, String) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let argv: Vec<ByteString> = command.iter().map(|word| ByteString::from(*word)).collect();
        let found = detect((!argv.is_empty()).then_some(&argv[..]), dir.path(), order);
        (found.runtime, found.because)
    }

    #[test]
    fn each_row_of_the_table_is_found_by_each_command_and_file() {
        for language in &LANGUAGES {
            assert_eq!(image_of(language.runtime), language.image);
            for command in language.commands {
                let (runtime, because) = detected(&[command, "x"], &[], Order::CommandFirst);
                assert_eq!((runtime, because), (language.runtime, format!("command {command}")));
                let by_path = detected(&[&format!("./bin/{command}")], &[], Order::ProjectFirst).0;
                assert_eq!(by_path, language.runtime, "{command}");
            }
            for pattern in language.files {
                let name = pattern.replace('*', "main");
                let (runtime, because) = detected(&[], &[(&name, "")], Order::ProjectFirst);
                assert_eq!((runtime, because), (language.runtime, format!("file {name}")));
            }
        }
    }

    #[test]
    fn the_table_is_the_documented_one() {
        let rows: Vec<String> = LANGUAGES
            .iter()
            .map(|row| format!("{} {} {}", row.image, row.files.len(), row.commands.len()))
            .collect();
        let documented = [
            "node:22-alpine 5 8",
            "rust:1.85-alpine 2 5",
            "golang:1.23-alpine 2 2",
            "python:3.12-alpine 7 8",
            "ruby:3.3-alpine 3 6",
            "eclipse-temurin:21-alpine 5 5",
            "mcr.microsoft.com/dotnet/sdk:8.0 4 3",
            "gcc:14-bookworm 6 7",
            "php:8.3-alpine 3 2",
            "elixir:1.16-alpine 2 3",
            "alpine:3.20 1 4",
            "nickblah/lua:5.4-alpine 2 3",
            "hashicorp/terraform:1.10 3 1",
        ];
        assert_eq!(rows, documented);
    }

    #[test]
    fn the_order_depends_on_the_verb() {
        let files = [("Cargo.toml", ""), ("Procfile", "web: node x\n")];
        assert_eq!(detected(&["python3"], &files, Order::CommandFirst).0, Runtime::Python);
        assert_eq!(detected(&["python3"], &files, Order::ProjectFirst).0, Runtime::Rust);
        assert_eq!(detected(&["unknown"], &files, Order::CommandFirst).0, Runtime::Rust);
        let procfile = &files[1..];
        assert_eq!(detected(&["python3"], procfile, Order::ProjectFirst).0, Runtime::Node);
        assert_eq!(detected(&[], &[], Order::ProjectFirst).0, Runtime::Base);
    }

    #[test]
    fn every_runtime_has_an_image() {
        for runtime in Runtime::ALL {
            let image: ImageRef = image_of(runtime).parse().unwrap();
            assert!(!image.is_host(), "{runtime}");
        }
        assert_eq!(image_of(Runtime::Base), DEFAULT_IMAGE);
    }

    #[test]
    fn earlier_rows_win_over_later_ones() {
        let files = [("a.tf", ""), ("Makefile", ""), ("requirements.txt", "")];
        assert_eq!(detected(&[], &files, Order::ProjectFirst).0, Runtime::Python);
    }

    #[test]
    fn a_procfile_names_its_line() {
        let text = "# web: node\n\nbad line\nweb: ./start\nworker:\t/usr/bin/ruby work.rb\n";
        let found = detected(&[], &[("Procfile", text)], Order::ProjectFirst);
        assert_eq!(found, (Runtime::Ruby, "Procfile line 5 (ruby)".to_owned()));
    }

    #[test]
    fn hostile_folders_neither_hang_nor_mislead() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("Procfile");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        std::fs::create_dir(dir.path().join("package.json")).unwrap();
        std::fs::create_dir(dir.path().join("x.php")).unwrap();
        std::fs::write(dir.path().join(".sh"), "").unwrap();
        std::fs::write(dir.path().join("a\u{1b}[2J.sh"), "").unwrap();
        assert_eq!(detect(None, dir.path(), Order::ProjectFirst).runtime, Runtime::Base);
        assert_eq!(detect(None, &dir.path().join("missing"), Order::ProjectFirst).runtime, Runtime::Base);
    }

    #[test]
    fn a_huge_procfile_is_read_in_part() {
        let text = "x\n".repeat(1 << 20) + "web: node\n";
        assert_eq!(detected(&[], &[("Procfile", &text)], Order::ProjectFirst).0, Runtime::Base);
    }

    proptest! {
        #[test]
        fn any_line_of_a_procfile_is_read_without_panic(line in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Some(word) = procfile_program(&line) {
                prop_assert!(!word.is_empty() && !word.iter().any(u8::is_ascii_whitespace));
            }
        }
    }
}
