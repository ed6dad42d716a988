//! An image's configuration (OCI image-spec, `config.md`), which a stranger wrote: read, checked, and made ours.

use std::path::{Component, Path, PathBuf};

use agentkernel_model::{BoxPath, ByteString, EnvVar, ImageConfig};
use serde::Deserialize;

use crate::error::tame;
use crate::{Digest, Platform};

/// The longest single argument or variable that execve(2) takes (`MAX_ARG_STRLEN`).
const TEXT_BYTES_MAX: usize = 128 << 10;

/// Bytes of all arguments and variables together: below what execve(2) takes with room for the user's own.
const TEXTS_BYTES_MAX: usize = 1 << 20;

/// Arguments and variables in all.
const TEXTS_MAX: usize = 10_000;

/// What an image's configuration says, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigDocument {
    pub(crate) config: ImageConfig,
    /// Of each layer, lowest first.
    pub(crate) diff_ids: Vec<Digest>,
    pub(crate) platform: Option<Platform>,
    pub(crate) created: Option<String>,
}

#[derive(Deserialize)]
struct Whole {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    variant: Option<String>,
    created: Option<String>,
    config: Option<Process>,
    #[serde(default)]
    rootfs: RootFs,
}

#[derive(Deserialize, Default)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<Digest>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Process {
    user: Option<String>,
    env: Option<Vec<String>>,
    entrypoint: Option<Words>,
    cmd: Option<Words>,
    working_dir: Option<String>,
}

/// Old versions of Docker wrote a lone word without brackets.
#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    Many(Vec<String>),
    One(String),
}

impl ConfigDocument {
    /// Says why where it can't be used.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let whole: Whole = serde_json::from_slice(bytes)
            .map_err(|error| format!("its configuration is damaged: {}", tame(&error.to_string())))?;
        let Whole { architecture, os, variant, created, config, rootfs } = whole;
        if !os.is_empty() && os != "linux" {
            return Err(format!("it is for operating system {:?}; only linux is supported", tame(&os)));
        }
        let platform = (!os.is_empty() && !architecture.is_empty())
            .then(|| Platform::new(&os, &architecture, variant.as_deref()));
        let created = created.filter(|text| is_time(text));
        let config = config.unwrap_or_default().checked()?;
        Ok(Self { config, diff_ids: rootfs.diff_ids, platform, created })
    }
}

impl Process {
    fn checked(self) -> Result<ImageConfig, String> {
        let words = |words: Option<Words>, what| match words {
            None => Ok(Vec::new()),
            Some(Words::Many(words)) => words.into_iter().map(|word| text(word, what)).collect(),
            Some(Words::One(word)) => text(word, what).map(|word| vec![word]),
        };
        let config = ImageConfig {
            entrypoint: words(self.entrypoint, "an argument of its entrypoint")?,
            command: words(self.cmd, "an argument of its command")?,
            env: self.env.unwrap_or_default().into_iter().map(variable).collect::<Result<_, _>>()?,
            workdir: self
                .working_dir
                .filter(|path| !path.is_empty())
                .map(|path| workdir(&path))
                .transpose()?,
            user: match self.user.as_deref().unwrap_or_default() {
                "" => None,
                user => Some(user.parse().map_err(|_| format!("its user {:?} is none", tame(user)))?),
            },
        };
        let words = config.entrypoint.iter().chain(&config.command).map(|word| word.0.len() + 1);
        let env = config.env.iter().map(|var| var.name.0.len() + var.value.0.len() + 2);
        let (count, bytes) = words.chain(env).fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes));
        match count > TEXTS_MAX || bytes > TEXTS_BYTES_MAX {
            true => Err(format!("its arguments and variables are {count} of {bytes} bytes: too many")),
            false => Ok(config),
        }
    }
}

fn text(text: String, what: &str) -> Result<ByteString, String> {
    if text.len() >= TEXT_BYTES_MAX {
        return Err(format!("{what} is longer than {TEXT_BYTES_MAX} bytes"));
    }
    match text.contains('\0') {
        true => Err(format!("{what} holds a NUL byte")),
        false => Ok(text.into()),
    }
}

fn variable(entry: String) -> Result<EnvVar, String> {
    let entry = text(entry, "a variable of its environment")?.to_lossy();
    match entry.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok(EnvVar { name: name.into(), value: value.into() }),
        _ => Err(format!("the entry {:?} of its environment is not NAME=VALUE", tame(&entry))),
    }
}

/// As Docker reads it: from the root, whether or not it says so, and `..` taken away by name.
fn workdir(text: &str) -> Result<BoxPath, String> {
    let mut path = PathBuf::from("/");
    for part in Path::new(text).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => {
                path.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    BoxPath::new(path)
        .map_err(|error| format!("its working directory can't be used: {}", tame(&error.to_string())))
}

/// Digits and marks of RFC 3339, for display only.
fn is_time(text: &str) -> bool {
    text.len() <= 40 && text.bytes().all(|b| b.is_ascii_digit() || b"-+:.TZtz".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(config: &str) -> Result<ImageConfig, String> {
        let document = format!(r#"{{"architecture":"amd64","os":"linux","config":{config}}}"#);
        ConfigDocument::parse(document.as_bytes()).map(|document| document.config)
    }

    #[test]
    fn what_docker_writes_is_read() {
        let config = parsed(
            r#"{"User":"app:1000","Env":["PATH=/bin","EMPTY=","EQ=a=b"],"Entrypoint":["/init","--"],
                "Cmd":null,"WorkingDir":"srv/../app/./x/","Labels":{"a":"b"},"ArgsEscaped":true}"#,
        );
        let config = config.unwrap();
        assert_eq!(config.entrypoint, ["/init".into(), "--".into()]);
        assert!(config.command.is_empty());
        let env: Vec<_> = config.env.iter().map(|var| (var.name.to_lossy(), var.value.to_lossy())).collect();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(env, [pair("PATH", "/bin"), pair("EMPTY", ""), pair("EQ", "a=b")]);
        assert_eq!(config.workdir, Some("/app/x".parse().unwrap()));
        assert_eq!(config.user, Some("app:1000".parse().unwrap()));
        assert_eq!(parsed(r#"{"Entrypoint":"sh"}"#).unwrap().entrypoint, ["sh".into()]);
        assert_eq!(parsed(r#"{"WorkingDir":"/../.."}"#).unwrap().workdir, Some("/".parse().unwrap()));
        assert_eq!(parsed("null").unwrap(), ImageConfig::default());
        assert_eq!(parsed(r#"{"User":"","WorkingDir":"","Env":null}"#).unwrap(), ImageConfig::default());
    }

    #[test]
    fn what_no_command_could_start_with_is_refused() {
        let long = "x".repeat(TEXT_BYTES_MAX);
        let many = vec!["\"A=0123456789\""; 100_000].join(",");
        for bad in [
            r#"{"Env":["NOVALUE"]}"#,
            r#"{"Env":["=x"]}"#,
            r#"{"Env":["A=\u0000"]}"#,
            r#"{"Entrypoint":["\u0000"]}"#,
            r#"{"User":"a b"}"#,
            r#"{"User":"../root"}"#,
            r#"{"WorkingDir":"/a\u0000"}"#,
            r#"{"Cmd":[1]}"#,
            r#"{"Cmd":{}}"#,
            &format!(r#"{{"Cmd":["{long}"]}}"#),
            &format!(r#"{{"Env":[{many}]}}"#),
        ] {
            assert!(parsed(bad).is_err(), "{}", &bad[..bad.len().min(60)]);
        }
        assert!(ConfigDocument::parse(br#"{"os":"windows","architecture":"amd64"}"#).is_err());
        assert!(ConfigDocument::parse(b"[]").is_err());
    }

    #[test]
    fn a_time_is_kept_where_it_is_one() {
        let created = |text: &str| {
            ConfigDocument::parse(format!(r#"{{"created":"{text}"}}"#).as_bytes()).unwrap().created
        };
        assert_eq!(created("2024-01-02T03:04:05.678Z").as_deref(), Some("2024-01-02T03:04:05.678Z"));
        assert_eq!(created("\\u001b[31m"), None);
    }
}
