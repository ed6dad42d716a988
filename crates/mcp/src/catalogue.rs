//! The one list of tools: their names, what they say of themselves, their schemas.

use std::sync::{Arc, LazyLock};

use rmcp::model::{JsonObject, Tool, ToolAnnotations};

use crate::answers::{
    CommandResult, DetachedCommand, Done, ExecLogs, ExecutionList, FileList, FileRead, FileWritten, Killed,
    SandboxList, SnapshotList,
};
use crate::arguments::{
    CreateArguments, DetachArguments, ExecArguments, ExecKillArguments, ExecListArguments, ExecLogsArguments,
    FileListArguments, FileReadArguments, FileWriteArguments, ForkArguments, ListArguments, NameArguments,
    RestoreArguments, RunArguments, SnapshotNameArguments, StopArguments, TakeArguments,
};
use crate::schema::{schema_of, terse};

/// What a tool does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Run,
    Create,
    Exec,
    List,
    Remove,
    FileWrite,
    FileRead,
    Start,
    Stop,
    FileList,
    ExecDetach,
    ExecLogs,
    ExecKill,
    ExecList,
    Pause,
    Resume,
    Fork,
    SnapshotList,
    SnapshotTake,
    SnapshotGet,
    SnapshotRestore,
    SnapshotDelete,
}

impl Verb {
    /// Whether the client's change of mind ends it at once. The others change records and are quickly done.
    pub(crate) fn ends_when_cancelled(self) -> bool {
        matches!(self, Self::Run | Self::Exec | Self::ExecLogs)
    }
}

/// Hints for clients, as the protocol names them.
#[derive(Clone, Copy)]
enum Effect {
    /// Changes nothing.
    Reads,
    /// Adds something.
    Adds,
    /// Brings about a state; a second time changes nothing.
    Settles,
    /// The same, and what was there is lost.
    Replaces,
    /// Runs what the caller says, in a sandbox that is thrown away: nothing of the caller's can be lost.
    RunsApart,
    /// Runs what the caller says, in a sandbox that is kept.
    RunsInside,
}

impl Effect {
    fn annotations(self) -> ToolAnnotations {
        let (read_only, destructive, idempotent, open_world) = match self {
            Self::Reads => (true, false, true, false),
            Self::Adds => (false, false, false, false),
            Self::Settles => (false, false, true, false),
            Self::Replaces => (false, true, true, false),
            // Commands may have a network.
            Self::RunsApart => (false, false, false, true),
            Self::RunsInside => (false, true, false, true),
        };
        ToolAnnotations::new()
            .read_only(read_only)
            .destructive(destructive)
            .idempotent(idempotent)
            .open_world(open_world)
    }
}

struct Entry {
    verb: Verb,
    name: &'static str,
    /// The name under which older instructions for agents know it.
    alias: Option<&'static str>,
    title: &'static str,
    about: &'static str,
    effect: Effect,
    input: fn() -> JsonObject,
    output: fn() -> JsonObject,
}

const ENTRIES: [Entry; 22] = [
    Entry {
        verb: Verb::Run,
        name: "sandbox_run",
        alias: Some("run_command"),
        title: "Run a command in a sandbox",
        about: "Run one command in a new isolated sandbox, which is removed afterwards, and return its exit code and \
                output. It sees no files of this machine. A command that fails is a normal result with its exit code.",
        effect: Effect::RunsApart,
        input: schema_of::<RunArguments>,
        output: schema_of::<CommandResult>,
    },
    Entry {
        verb: Verb::Create,
        name: "sandbox_create",
        alias: Some("create_sandbox"),
        title: "Create a sandbox",
        about: "Create an isolated sandbox that lasts until sandbox_remove, and start it. Use it for several commands \
                that share files.",
        effect: Effect::Adds,
        input: schema_of::<CreateArguments>,
        output: schema_of::<agentkernel_api::Sandbox>,
    },
    Entry {
        verb: Verb::Exec,
        name: "sandbox_exec",
        alias: Some("exec_in_sandbox"),
        title: "Run a command in an existing sandbox",
        about: "Run a command in a running sandbox and return its exit code and output. A command that fails is a \
                normal result with its exit code.",
        effect: Effect::RunsInside,
        input: schema_of::<ExecArguments>,
        output: schema_of::<CommandResult>,
    },
    Entry {
        verb: Verb::List,
        name: "sandbox_list",
        alias: Some("list_sandboxes"),
        title: "List sandboxes",
        about: "List all sandboxes with their status, backend, image and isolation.",
        effect: Effect::Reads,
        input: schema_of::<ListArguments>,
        output: schema_of::<SandboxList>,
    },
    Entry {
        verb: Verb::Remove,
        name: "sandbox_remove",
        alias: Some("remove_sandbox"),
        title: "Remove a sandbox",
        about: "Remove a sandbox, with all its files and all that runs in it.",
        effect: Effect::Replaces,
        input: schema_of::<NameArguments>,
        output: schema_of::<Done>,
    },
    Entry {
        verb: Verb::FileWrite,
        name: "sandbox_file_write",
        alias: None,
        title: "Write a file in a sandbox",
        about: "Write a file in a running sandbox, whole or, on failure, not at all.",
        effect: Effect::Replaces,
        input: schema_of::<FileWriteArguments>,
        output: schema_of::<FileWritten>,
    },
    Entry {
        verb: Verb::FileRead,
        name: "sandbox_file_read",
        alias: None,
        title: "Read a file in a sandbox",
        about: "Read a file, or a part of it, in a running sandbox.",
        effect: Effect::Reads,
        input: schema_of::<FileReadArguments>,
        output: schema_of::<FileRead>,
    },
    Entry {
        verb: Verb::Start,
        name: "sandbox_start",
        alias: None,
        title: "Start a sandbox",
        about: "Start a stopped sandbox; its files are as they were.",
        effect: Effect::Settles,
        input: schema_of::<NameArguments>,
        output: schema_of::<agentkernel_api::Sandbox>,
    },
    Entry {
        verb: Verb::Stop,
        name: "sandbox_stop",
        alias: None,
        title: "Stop a sandbox",
        about: "Stop a sandbox: all that runs in it ends, its files stay.",
        effect: Effect::Replaces,
        input: schema_of::<StopArguments>,
        output: schema_of::<agentkernel_api::Sandbox>,
    },
    Entry {
        verb: Verb::FileList,
        name: "sandbox_file_list",
        alias: None,
        title: "List a folder in a sandbox",
        about: "List the files of a folder in a running sandbox.",
        effect: Effect::Reads,
        input: schema_of::<FileListArguments>,
        output: schema_of::<FileList>,
    },
    Entry {
        verb: Verb::ExecDetach,
        name: "sandbox_exec_detach",
        alias: None,
        title: "Start a command in a sandbox and leave it running",
        about: "Start a command in a running sandbox and return its id at once: for servers and long jobs. Follow it \
                with sandbox_exec_logs, end it with sandbox_exec_kill.",
        effect: Effect::RunsInside,
        input: schema_of::<DetachArguments>,
        output: schema_of::<DetachedCommand>,
    },
    Entry {
        verb: Verb::ExecLogs,
        name: "sandbox_exec_logs",
        alias: None,
        title: "Read the output of a detached command",
        about: "Read what a command of sandbox_exec_detach has written so far, from an offset on, and whether it has \
                ended.",
        effect: Effect::Reads,
        input: schema_of::<ExecLogsArguments>,
        output: schema_of::<ExecLogs>,
    },
    Entry {
        verb: Verb::ExecKill,
        name: "sandbox_exec_kill",
        alias: None,
        title: "Send a signal to a command in a sandbox",
        about: "Send a signal to a command of a sandbox; by default it is killed.",
        effect: Effect::Replaces,
        input: schema_of::<ExecKillArguments>,
        output: schema_of::<Killed>,
    },
    Entry {
        verb: Verb::ExecList,
        name: "sandbox_exec_list",
        alias: None,
        title: "List the commands of a sandbox",
        about: "List the commands that run in a sandbox, and detached ones that have ended.",
        effect: Effect::Reads,
        input: schema_of::<ExecListArguments>,
        output: schema_of::<ExecutionList>,
    },
    Entry {
        verb: Verb::Pause,
        name: "sandbox_pause",
        alias: None,
        title: "Pause a sandbox",
        about: "Stop the time of a running sandbox. Backend firecracker only.",
        effect: Effect::Settles,
        input: schema_of::<NameArguments>,
        output: schema_of::<agentkernel_api::Sandbox>,
    },
    Entry {
        verb: Verb::Resume,
        name: "sandbox_resume",
        alias: None,
        title: "Resume a paused sandbox",
        about: "Let a paused sandbox go on.",
        effect: Effect::Settles,
        input: schema_of::<NameArguments>,
        output: schema_of::<agentkernel_api::Sandbox>,
    },
    Entry {
        verb: Verb::Fork,
        name: "sandbox_fork",
        alias: None,
        title: "Copy a running sandbox",
        about: "Copy a running sandbox with all that runs in it.",
        effect: Effect::Adds,
        input: schema_of::<ForkArguments>,
        output: schema_of::<SandboxList>,
    },
    Entry {
        verb: Verb::SnapshotList,
        name: "snapshot_list",
        alias: None,
        title: "List snapshots",
        about: "List all snapshots.",
        effect: Effect::Reads,
        input: schema_of::<ListArguments>,
        output: schema_of::<SnapshotList>,
    },
    Entry {
        verb: Verb::SnapshotTake,
        name: "snapshot_take",
        alias: None,
        title: "Take a snapshot of a sandbox",
        about: "Keep a running sandbox with all that runs in it. It goes on.",
        effect: Effect::Adds,
        input: schema_of::<TakeArguments>,
        output: schema_of::<agentkernel_api::Snapshot>,
    },
    Entry {
        verb: Verb::SnapshotGet,
        name: "snapshot_get",
        alias: None,
        title: "Look at a snapshot",
        about: "Describe a snapshot.",
        effect: Effect::Reads,
        input: schema_of::<SnapshotNameArguments>,
        output: schema_of::<agentkernel_api::Snapshot>,
    },
    Entry {
        verb: Verb::SnapshotRestore,
        name: "snapshot_restore",
        alias: None,
        title: "Make a sandbox from a snapshot",
        about: "Make a sandbox that goes on where the snapshot was taken.",
        effect: Effect::Adds,
        input: schema_of::<RestoreArguments>,
        output: schema_of::<agentkernel_api::Sandbox>,
    },
    Entry {
        verb: Verb::SnapshotDelete,
        name: "snapshot_delete",
        alias: None,
        title: "Remove a snapshot",
        about: "Remove a snapshot.",
        effect: Effect::Replaces,
        input: schema_of::<SnapshotNameArguments>,
        output: schema_of::<Done>,
    },
];

static TOOLS: LazyLock<Vec<Tool>> = LazyLock::new(|| ENTRIES.iter().map(tool).collect());
static ALIASES: LazyLock<Vec<Tool>> = LazyLock::new(|| ENTRIES.iter().filter_map(alias).collect());

fn tool(entry: &Entry) -> Tool {
    Tool::new(entry.name, entry.about, (entry.input)())
        .with_title(entry.title)
        .with_annotations(entry.effect.annotations())
        .with_raw_output_schema(Arc::new((entry.output)()))
}

/// The second name of a tool costs a model little: one sentence, and the arguments without their descriptions.
fn alias(entry: &Entry) -> Option<Tool> {
    let about = format!("Alias of {}, for older instructions. Prefer {}.", entry.name, entry.name);
    let tool = Tool::new(entry.alias?, about, terse(&(entry.input)()));
    Some(tool.with_annotations(entry.effect.annotations()))
}

/// All tools, in a fixed order; with `aliases` their second names after them.
pub(crate) fn tools(aliases: bool) -> Vec<Tool> {
    let aliases = ALIASES.iter().filter(|_| aliases);
    TOOLS.iter().chain(aliases).cloned().collect()
}

/// The tool of this name. Second names always work, listed or not.
pub(crate) fn find(name: &str) -> Option<Verb> {
    let entry = ENTRIES.iter().find(|entry| entry.name == name || entry.alias == Some(name))?;
    Some(entry.verb)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_tools_and_arguments_of_the_first_version_are_there() {
        let expected = [
            (
                "sandbox_run",
                "command image fast cwd env timeout_ms profile network compatibility_mode",
                "command",
            ),
            ("sandbox_create", "name image", "name"),
            ("sandbox_exec", "name command", "name command"),
            ("sandbox_list", "", ""),
            ("sandbox_remove", "name", "name"),
            ("sandbox_file_write", "name path content", "name path content"),
            ("sandbox_file_read", "name path", "name path"),
            ("sandbox_start", "name", "name"),
            ("sandbox_stop", "name", "name"),
        ];
        let tools = tools(true);
        for (name, arguments, required) in expected {
            let tool = tools.iter().find(|tool| tool.name == name).expect(name);
            for argument in arguments.split_whitespace() {
                assert!(tool.input_schema["properties"].get(argument).is_some(), "{name}: {argument}");
            }
            let listed: BTreeSet<&str> = tool
                .input_schema
                .get("required")
                .and_then(|names| names.as_array())
                .map(|names| names.iter().filter_map(|name| name.as_str()).collect())
                .unwrap_or_default();
            assert_eq!(listed, required.split_whitespace().collect(), "{name}");
        }
        for alias in ["run_command", "create_sandbox", "exec_in_sandbox", "list_sandboxes", "remove_sandbox"]
        {
            assert!(tools.iter().any(|tool| tool.name == alias) && find(alias).is_some(), "{alias}");
        }
    }

    #[test]
    fn aliases_can_be_left_out_of_the_list_and_still_work() {
        assert_eq!((tools(false).len(), tools(true).len()), (22, 27));
        assert_eq!(find("run_command"), Some(Verb::Run));
        assert_eq!(find("rm"), None);
    }

    #[test]
    fn every_schema_is_a_closed_object_in_itself() {
        for tool in tools(true) {
            let input = serde_json::to_string(&*tool.input_schema).unwrap();
            assert_eq!(tool.input_schema["type"], "object", "{}", tool.name);
            assert_eq!(tool.input_schema["additionalProperties"], false, "{}: {input}", tool.name);
            assert!(!input.contains("$ref") && !input.contains("oneOf"), "{}: {input}", tool.name);
            if let Some(output) = &tool.output_schema {
                assert_eq!(output["type"], "object", "{}", tool.name);
                assert!(!serde_json::to_string(&**output).unwrap().contains("$ref"), "{}", tool.name);
            }
        }
    }

    /// What the tools cost each conversation that they are part of: clients show a model names, descriptions and
    /// arguments. About four bytes are a token.
    #[test]
    fn the_list_is_small() {
        let shown = |tool: &Tool| {
            let input = serde_json::to_string(&*tool.input_schema).unwrap();
            tool.name.len() + tool.description.as_ref().map_or(0, |text| text.len()) + input.len()
        };
        let bytes = |aliases| tools(aliases).iter().map(shown).sum::<usize>();
        assert!(bytes(false) < 12_000, "{}", bytes(false));
        assert!(bytes(true) - bytes(false) < 4_000, "{}", bytes(true) - bytes(false));
    }
}
