//! The reference page of the configuration, made from the same types, tables and comments as the checks.

use agentkernel_model::{NetworkAccess, PassEnv, Profile};
use serde_json::Value;

use crate::pass_env::HOST_SESSION_VARIABLES;
use crate::refused::REFUSED;
use crate::schema::{json_schema, properties, section_schema};
use crate::variables::VARIABLES;

/// The sections in the order of the page.
const SECTIONS: [&str; 17] = [
    "sandbox",
    "build",
    "agent",
    "resources",
    "network",
    "security",
    "images",
    "docker",
    "podman",
    "firecracker",
    "snapshots",
    "api",
    "audit",
    "pool",
    "env",
    "mounts",
    "files",
];

const INTRODUCTION: &str = "\
<!-- Generated from crates/config by `cargo xtask gen`: change the types there. -->
# Configuration

Settings come from flags, then `AGENTKERNEL_...` environment variables, then one file, then the profile and the built-in \
defaults; the earlier beats the later. The file is the one named by `--config` or `AGENTKERNEL_CONFIG`, else \
`agentkernel.toml` of the current folder where there is one. `agentkernel doctor` prints every effective value with its \
origin.

- An unknown key, a value of the wrong type and an unknown `AGENTKERNEL_...` variable are errors with the place and a \
suggestion.
- Relative paths in the file start from the file's folder, those of flags from the current folder. Paths must exist.
- A limit that you name always beats the profile's.
- A profile chosen by flag or variable is not widened by the file: the file's single grants can then only narrow it.
- A file that was only found in the current folder may have come with somebody else's project. It can't grant your home, \
your environment variables, paths outside of its folder or missing limits, and it can't choose engines, programs and kernels \
of microVMs, mirrors or what is built, nor open the server to others; name it with `--config` once you have read it.

```toml
[sandbox]
name = \"my-project\"
image = \"host\"

[resources]
vcpus = 2
memory_mb = 1024

[security]
profile = \"moderate\"
mount_cwd = true
pass_env = [\"ANTHROPIC_API_KEY\"]

[[files]]
source = \"config/settings.json\"
dest = \"/etc/my-tool/settings.json\"
mode = \"0600\"
```
";

/// The page in Markdown; checked in as `docs/configuration.md`.
pub fn reference_markdown() -> String {
    let schema = json_schema();
    let mut page = INTRODUCTION.to_owned();
    page.push_str("\n## Keys\n");
    for name in SECTIONS {
        if let Some((_, section)) = properties(&schema).find(|(known, _)| *known == name) {
            section_text(&mut page, &schema, name, section);
        }
    }
    page.push_str(&profiles());
    page.push_str(&variables());
    page.push_str(&refused_keys());
    page
}

fn section_text(page: &mut String, root: &Value, name: &str, section: &Value) {
    let heading = if section.get("items").is_some() { format!("[[{name}]]") } else { format!("[{name}]") };
    page.push_str(&format!("\n### `{heading}`\n\n{}\n", description(section)));
    let target = section_schema(root, section);
    if properties(target).next().is_some() {
        page.push_str("\n| Key | Value | Meaning |\n|---|---|---|\n");
    }
    for (key, value) in properties(target) {
        let meaning = description(value).replace('|', "\\|");
        page.push_str(&format!("| `{key}` | {} | {meaning} |\n", kind(root, value).replace('|', "\\|")));
    }
    for (key, value) in properties(target) {
        if properties(section_schema(root, value)).next().is_some() {
            section_text(page, root, &format!("{name}.{key}"), value);
        }
    }
    if name == "mounts" {
        page.push_str(
            "\nA mount can also be a text, `HOST:BOX`, `HOST:BOX:ro` or `HOST:BOX:rw`: `mounts = [\"data:/data:ro\"]` \
             above the first section.\n",
        );
    }
}

/// The text of a schema.
fn description(schema: &Value) -> &str {
    schema.get("description").and_then(Value::as_str).unwrap_or_default()
}

/// The values that a schema takes, in words.
fn kind(root: &Value, schema: &Value) -> String {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let target = root.pointer(reference.trim_start_matches('#'));
        return target.map_or_else(String::new, |target| kind(root, target));
    }
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        let texts: Vec<String> =
            values.iter().filter(|value| !value.is_null()).map(|value| format!("`{value}`")).collect();
        return texts.join(", ");
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(forms) = schema.get(key).and_then(Value::as_array) {
            let mut kinds: Vec<String> = forms.iter().map(|form| kind(root, form)).collect();
            kinds.retain(|kind| !kind.is_empty());
            return kinds.join(" or ");
        }
    }
    if let Some(value) = schema.get("const") {
        return format!("`{value}`");
    }
    let types = match schema.get("type") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let names =
        types.into_iter().filter(|name| *name != "null").map(|name| match (name, schema.get("items")) {
            ("array", Some(items)) => format!("list of {}", kind(root, items)),
            ("object", _) => "table".to_owned(),
            (name, _) => name.to_owned(),
        });
    names.collect::<Vec<_>>().join(" or ")
}

fn profiles() -> String {
    let mut text = "\n## Profiles\n\n| | network | mount_cwd | mount_home | pass_env | read_only | memory | vcpus | pids \
                    | open_files |\n|---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    let yes = |value: bool| if value { "yes" } else { "no" };
    for profile in Profile::ALL {
        let (grants, limits) = (profile.grants(), profile.resources());
        let shown = |limit: Option<String>| limit.unwrap_or_else(|| "unlimited".to_owned());
        let cells = [
            format!("**{profile}**"),
            yes(grants.network == NetworkAccess::On).to_owned(),
            yes(grants.mount_cwd.is_some()).to_owned(),
            yes(grants.mount_home).to_owned(),
            yes(grants.pass_env != PassEnv::None).to_owned(),
            yes(grants.read_only).to_owned(),
            shown(limits.memory.map(|limit| limit.to_string())),
            shown(limits.cpus.map(|limit| limit.to_string())),
            shown(limits.pids.map(|limit| limit.to_string())),
            shown(limits.open_files.map(|limit| limit.to_string())),
        ];
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    let left_out: Vec<String> = HOST_SESSION_VARIABLES.iter().map(|name| format!("`{name}`")).collect();
    text.push_str(&format!(
        "\n`{}` is the default. `pass_env = true` leaves out what describes your session: {}. A variable that is listed \
         by name is passed even so.\n",
        Profile::default(),
        left_out.join(", ")
    ));
    text
}

fn variables() -> String {
    let mut text =
        "\n## Environment variables\n\n| Variable | Beats the key | Meaning | Example |\n|---|---|---|---|\n"
            .to_owned();
    for variable in &VARIABLES {
        let key = variable.key.map(|key| format!("`{key}`")).unwrap_or_default();
        text.push_str(&format!(
            "| `{}` | {key} | {} | `{}` |\n",
            variable.name, variable.doc, variable.example
        ));
    }
    text.push_str("\nAn empty variable is as good as none.\n");
    text
}

fn refused_keys() -> String {
    let mut text =
        "\n## Keys that are refused\n\nThese are known and not honoured; each is an error that says so.\n\n\
                    | Key | Why |\n|---|---|\n"
            .to_owned();
    for refused in &REFUSED {
        text.push_str(&format!("| `{}` | {} |\n", refused.key, refused.why.replace('|', "\\|")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::known_keys;

    #[test]
    fn every_key_variable_and_refusal_is_on_the_page() {
        let page = reference_markdown();
        for key in known_keys() {
            let shown = match key.rsplit_once('.') {
                Some((_, key)) => format!("| `{key}` |"),
                None => format!("[{key}]"),
            };
            assert!(page.contains(&shown), "{key}");
        }
        assert!(VARIABLES.iter().all(|variable| page.contains(variable.name)));
        assert!(!page.contains("|  |  |"), "a key without type or meaning:\n{page}");
    }

    #[test]
    fn the_example_of_the_page_is_valid() {
        let example =
            INTRODUCTION.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        crate::parse(example, std::path::Path::new("agentkernel.toml")).unwrap();
    }

    #[test]
    fn the_checked_in_page_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        match std::fs::read_to_string(path) {
            Ok(text) => assert_eq!(text, reference_markdown(), "run `cargo xtask gen`"),
            Err(error) => println!("SKIPPED: {path}: {error}"),
        }
    }
}
