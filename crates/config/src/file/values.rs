//! The values of `agentkernel.toml` that may be written in more than one way. Each says in its error what it expects.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use agentkernel_model::{Mib, Mount, PassEnv, Profile, PublishedPort};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer};

use crate::CwdMount;
use crate::overrides::is_env_name;

/// A value that is written as a text, a number, a flag, a list or a table; what isn't overridden is a type error.
trait Written: Sized {
    const EXPECTED: &'static str;
    fn from_text(_text: &str) -> Option<Result<Self, String>> {
        None
    }
    fn from_number(_number: i64) -> Option<Result<Self, String>> {
        None
    }
    fn from_flag(_flag: bool) -> Option<Self> {
        None
    }
    fn from_list<'de, A: SeqAccess<'de>>(list: A) -> Result<Self, A::Error> {
        drop(list);
        Err(A::Error::custom(format_args!("invalid type: list, expected {}", Self::EXPECTED)))
    }
    fn from_table<'de, A: MapAccess<'de>>(table: A) -> Result<Self, A::Error> {
        drop(table);
        Err(A::Error::custom(format_args!("invalid type: table, expected {}", Self::EXPECTED)))
    }
}

struct WrittenVisitor<T>(PhantomData<T>);

impl<T: Written> WrittenVisitor<T> {
    fn finish<E: Error>(value: Option<Result<T, String>>, found: fmt::Arguments<'_>) -> Result<T, E> {
        match value {
            Some(Ok(value)) => Ok(value),
            Some(Err(why)) => Err(E::custom(why)),
            None => Err(E::custom(format_args!("invalid type: {found}, expected {}", T::EXPECTED))),
        }
    }
}

impl<'de, T: Written> Visitor<'de> for WrittenVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        Self::finish(T::from_text(text), format_args!("string"))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        Self::finish(T::from_number(number), format_args!("integer `{number}`"))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        let number = i64::try_from(number).map_err(|_| E::custom(format_args!("{number} is too large")))?;
        self.visit_i64(number)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<T, E> {
        Self::finish(T::from_flag(flag).map(Ok), format_args!("boolean `{flag}`"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<T, A::Error> {
        T::from_list(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<T, A::Error> {
        T::from_table(table)
    }
}

/// `from_str` with its error as text.
fn parsed<T: FromStr<Err: fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

macro_rules! written {
    ($name:ident, $schema:tt) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(WrittenVisitor(PhantomData))
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

/// An amount of memory or disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SizeValue(pub(crate) Mib);

impl Written for SizeValue {
    const EXPECTED: &'static str = "a number of MiB (512) or a string with a unit (\"2g\")";
    fn from_text(text: &str) -> Option<Result<Self, String>> {
        Some(parsed(text).map(Self))
    }
    fn from_number(number: i64) -> Option<Result<Self, String>> {
        Some(parsed(&number.to_string()).map(Self))
    }
}

written!(SizeValue, {
    "anyOf": [
        { "type": "integer", "minimum": 1, "maximum": 4_294_967_295_u32 },
        { "type": "string", "pattern": "^[0-9]+([mMgG]([iI]?[bB])?)?$" }
    ]
});

/// A published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PortValue(pub(crate) PublishedPort);

impl Written for PortValue {
    const EXPECTED: &'static str = "a port number (8080) or a string (\"8080:80\")";
    fn from_text(text: &str) -> Option<Result<Self, String>> {
        Some(parsed(text).map(Self))
    }
    fn from_number(number: i64) -> Option<Result<Self, String>> {
        Some(parsed(&number.to_string()).map(Self))
    }
}

written!(PortValue, {
    "anyOf": [{ "type": "integer", "minimum": 1, "maximum": 65535 }, { "type": "string" }]
});

/// A profile, `custom` included, which is `moderate` with the other keys of its section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProfileValue(pub(crate) Profile);

impl Written for ProfileValue {
    const EXPECTED: &'static str = "\"permissive\", \"moderate\", \"restrictive\" or \"custom\"";
    fn from_text(text: &str) -> Option<Result<Self, String>> {
        if text == "custom" {
            return Some(Ok(Self(Profile::Moderate)));
        }
        Some(parsed(text).map(Self))
    }
}

written!(ProfileValue, { "enum": ["permissive", "moderate", "restrictive", "custom"] });

/// How the current folder is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CwdMountValue(pub(crate) CwdMount);

impl Written for CwdMountValue {
    const EXPECTED: &'static str = "true, false, \"ro\" or \"rw\"";
    fn from_text(text: &str) -> Option<Result<Self, String>> {
        Some(match text {
            "ro" => Ok(Self(CwdMount::ReadOnly)),
            "rw" => Ok(Self(CwdMount::ReadWrite)),
            _ => {
                Err(format!("{text:?} is not a way to mount the current folder: expected {}", Self::EXPECTED))
            }
        })
    }
    fn from_flag(flag: bool) -> Option<Self> {
        Some(Self(if flag { CwdMount::ReadWrite } else { CwdMount::Off }))
    }
}

written!(CwdMountValue, { "enum": [true, false, "ro", "rw"] });

/// Which variables of the caller are passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PassEnvValue(pub(crate) PassEnv);

impl Written for PassEnvValue {
    const EXPECTED: &'static str = "true, false or a list of variable names";
    fn from_flag(flag: bool) -> Option<Self> {
        Some(Self(if flag { PassEnv::All } else { PassEnv::None }))
    }
    fn from_list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        let mut names = Vec::new();
        while let Some(name) = list.next_element::<String>()? {
            if !is_env_name(name.as_bytes()) {
                return Err(A::Error::custom(format_args!("{name:?} is not the name of a variable")));
            }
            names.push(name);
        }
        Ok(Self(PassEnv::Names(names)))
    }
}

written!(PassEnvValue, {
    "anyOf": [{ "type": "boolean" }, { "type": "array", "items": { "type": "string", "minLength": 1 } }]
});

/// The value of an environment variable. `Debug` doesn't show it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct EnvValue(pub(crate) String);

impl fmt::Debug for EnvValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0.len())
    }
}

impl Written for EnvValue {
    const EXPECTED: &'static str = "a string, an integer or a boolean";
    fn from_text(text: &str) -> Option<Result<Self, String>> {
        if text.contains('\0') {
            return Some(Err("the value of an environment variable can't hold a NUL byte".to_owned()));
        }
        Some(Ok(Self(text.to_owned())))
    }
    fn from_number(number: i64) -> Option<Result<Self, String>> {
        Some(Ok(Self(number.to_string())))
    }
    fn from_flag(flag: bool) -> Option<Self> {
        Some(Self(flag.to_string()))
    }
}

written!(EnvValue, { "type": ["string", "integer", "boolean"] });

/// Permission bits, written in octal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileMode(pub(crate) u32);

impl Written for FileMode {
    const EXPECTED: &'static str = "a string of octal digits such as \"0644\"";
    fn from_text(text: &str) -> Option<Result<Self, String>> {
        let digits = text.strip_prefix("0o").unwrap_or(text);
        let octal =
            (1..=4).contains(&digits.len()) && digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
        let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| octal && *mode <= 0o777);
        Some(mode.map(Self).ok_or_else(|| {
            format!("{text:?} is not a file mode: expected {} (at most \"0777\")", Self::EXPECTED)
        }))
    }
}

written!(FileMode, { "type": "string", "pattern": "^(0o)?0?[0-7]{1,3}$" });

/// `agent.compatibility_mode`: only the modes that change nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoCompatibility;

impl Written for NoCompatibility {
    const EXPECTED: &'static str = "\"native\" or \"default\"";
    fn from_text(text: &str) -> Option<Result<Self, String>> {
        Some(match text {
            "native" | "default" => Ok(Self),
            "claude" | "claude-code" | "codex" | "gemini" | "gemini-cli" => Err(format!(
                "compatibility mode {text:?} limits the network to a list of domains, which no backend of this \
                 release enforces: use \"native\", and the [security] keys for what the agent may do"
            )),
            _ => Err(format!("unknown compatibility mode {text:?}: expected {}", Self::EXPECTED)),
        })
    }
}

written!(NoCompatibility, { "enum": ["native", "default"] });

/// A mount, as a text or as a table. The source is kept as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountValue(pub(crate) Mount);

/// The table form of a mount.
#[derive(Deserialize)]
struct MountTable {
    source: std::path::PathBuf,
    target: agentkernel_model::BoxPath,
    access: Option<agentkernel_model::Access>,
}

impl Written for MountValue {
    const EXPECTED: &'static str =
        "a string HOST:BOX[:ro] or a table with source, target and access (\"ro\" or \"rw\")";
    fn from_text(text: &str) -> Option<Result<Self, String>> {
        Some(parsed(text).map(Self))
    }
    fn from_table<'de, A: MapAccess<'de>>(table: A) -> Result<Self, A::Error> {
        let MountTable { source, target, access } =
            MountTable::deserialize(MapAccessDeserializer::new(table))?;
        let access = access.unwrap_or(agentkernel_model::Access::ReadWrite);
        Ok(Self(Mount { source, target, access }))
    }
}

written!(MountValue, {
    "anyOf": [
        { "type": "string" },
        {
            "type": "object",
            "required": ["source", "target"],
            "additionalProperties": false,
            "properties": {
                "source": {
                    "type": "string",
                    "description": "File or folder of the host; relative to the folder of this file, `~/` is the home."
                },
                "target": { "type": "string", "description": "Absolute path in the sandbox." },
                "access": {
                    "enum": ["ro", "rw"],
                    "description": "What the sandbox may do with it: `ro` or `rw` (default)."
                }
            }
        }
    ]
});
