//! The table that says once which verbs there are.

use clap::{ArgMatches, Args as _, FromArgMatches as _};

use super::{
    agents, attach, audit, completions, cp, create, daemon, doctor, exec, fork, help, image, images, info,
    init, internal_docs, internal_forward, internal_share, internal_steps, internal_unpack, key, kill, list,
    logs, man, mcp_server, pause, pool, ps, remove, resume, run, serve, setup, snapshot, start, stats, stop,
    version,
};
use crate::application::Application;
use crate::output::CliError;

/// The verbs on sandboxes can also be said as `agentkernel sandbox VERB`.
pub(crate) const GROUP: &str = "sandbox";

/// Where a verb can be said.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Flat and in the group.
    Both,
    /// Flat only.
    Flat,
    /// Flat and not shown: for other parts of agentkernel.
    Hidden,
}

macro_rules! verbs {
    ($($variant:ident $module:ident $place:ident $name:literal $aliases:expr, $about:literal;)+) => {
        /// One verb with its arguments.
        pub(crate) enum Command {
            $(#[doc = $about] $variant(Box<$module::Args>),)+
        }

        impl Command {
            /// Reads the arguments of the verb `name`.
            pub(crate) fn from_matches(name: &str, matches: &mut ArgMatches) -> Result<Self, clap::Error> {
                match name {
                    $($name => Ok(Self::$variant(Box::new($module::Args::from_arg_matches_mut(matches)?))),)+
                    other => Err(clap::Error::raw(clap::error::ErrorKind::InvalidSubcommand, format!("no verb {other:?}\n"))),
                }
            }

            /// Does it; returns the exit code.
            pub(crate) async fn run(self, application: &Application) -> Result<u8, CliError> {
                match self {
                    $(Self::$variant(arguments) => Box::pin($module::run(*arguments, application)).await,)+
                }
            }

            /// Whether it serves others for as long as it lives.
            pub(crate) fn serves(&self) -> bool {
                match self {
                    $(Self::$variant(arguments) => Json::serves(arguments.as_ref()),)+
                }
            }

            /// Whether a script waits for JSON, errors included.
            pub(crate) fn wants_json(&self) -> bool {
                match self {
                    $(Self::$variant(arguments) => Json::json(arguments.as_ref()),)+
                }
            }
        }

        const VERBS: &[Verb] = &[
            $(Verb {
                name: $name,
                aliases: $aliases,
                about: $about,
                place: Place::$place,
                // The comment on the arguments' type is for readers of the code.
                arguments: |command| $module::Args::augment_args(command).about($about).long_about(None),
            },)+
        ];
    };
}

struct Verb {
    name: &'static str,
    aliases: &'static [&'static str],
    about: &'static str,
    place: Place,
    arguments: fn(clap::Command) -> clap::Command,
}

/// Whether the arguments ask for JSON.
pub(crate) trait Json {
    /// `--json`.
    fn json(&self) -> bool {
        false
    }

    /// Whether the verb serves others: on several threads, with the time before each line of its log.
    fn serves(&self) -> bool {
        false
    }
}

verbs! {
    Run run Both "run" &[], "Run a command in a sandbox of its own";
    Create create Both "create" &[], "Make a sandbox that lasts until it is removed";
    Start start Both "start" &[], "Start sandboxes";
    Stop stop Both "stop" &[], "Stop sandboxes; their files stay";
    Pause pause Both "pause" &[], "Stop the time of running sandboxes";
    Resume resume Both "resume" &[], "Let paused sandboxes go on";
    Snapshot snapshot Both "snapshot" &[], "Keep running sandboxes as they are, and make others from that";
    Fork fork Both "fork" &[], "Copy a running sandbox, with all that runs in it";
    Remove remove Both "remove" &["rm"], "Remove sandboxes and their files";
    List list Both "list" &["ls"], "List sandboxes";
    Info info Both "info" &[], "Show everything about a sandbox";
    Exec exec Both "exec" &[], "Run a command in a running sandbox";
    Attach attach Both "attach" &[], "Open a shell in a sandbox, or follow a detached command";
    Logs logs Both "logs" &[], "Show the output of a detached command";
    Ps ps Both "ps" &[], "Show the commands and processes of a sandbox";
    Kill kill Both "kill" &[], "Send a signal to a command of a sandbox";
    Cp cp Both "cp" &[], "Copy files to, from and between sandboxes";
    Image image Flat "image" &[], "Fetch, import, list and remove images";
    Images images Flat "images" &[], "List images; the same as image list";
    Init init Flat "init" &[], "Write an agentkernel.toml into the current folder";
    Agents agents Flat "agents" &[], "Show which AI coding agents are ready to use";
    Serve serve Flat "serve" &[], "Serve the HTTP API";
    Daemon daemon Flat "daemon" &[], "Start, stop and look at the daemon, which keeps sandboxes ready";
    Key key Flat "key" &[], "Make, list and remove API keys";
    Audit audit Flat "audit" &[], "Show and verify the audit log of servers";
    Pool pool Flat "pool" &[], "Show, fill or empty the sandboxes that the daemon keeps ready";
    Stats stats Flat "stats" &[], "Show what the server does and has done";
    McpServer mcp_server Flat "mcp-server" &[], "Give an AI agent sandboxes as tools (Model Context Protocol)";
    Setup setup Flat "setup" &[], "Prepare this machine, or check what is ready";
    Doctor doctor Flat "doctor" &[], "Check this machine and the settings, with the fix for each problem";
    Completions completions Flat "completions" &[], "Print a shell's completion script";
    Man man Flat "man" &[], "Print a manual page";
    Help help Both "help" &[], "Show the help of a verb";
    Version version Flat "version" &[], "Print the version";
    InternalForward internal_forward Hidden "internal-forward" &[], "Keep a sandbox's published ports open";
    InternalShare internal_share Hidden "internal-share" &[], "Serve a folder to a machine";
    InternalSteps internal_steps Hidden "internal-steps" &[], "Print what the steps of a new sandbox cost";
    InternalUnpack internal_unpack Hidden "internal-unpack" &[], "Unpack one layer of an image";
    InternalDocs internal_docs Hidden "internal-docs" &[], "Write the reference pages into a folder";
}

/// Adds the verbs, flat and grouped; the hidden ones where `hidden`. Their arguments are made when they are needed: a
/// command line uses one verb.
pub(crate) fn augment(root: clap::Command, hidden: bool) -> clap::Command {
    let group = clap::Command::new(GROUP)
        .visible_alias("sb")
        .about("The same verbs, grouped: agentkernel sandbox create, start, ...")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .defer(|group| {
            group.subcommands(VERBS.iter().filter(|verb| verb.place == Place::Both).map(Verb::command))
        });
    let flat = VERBS.iter().filter(|verb| hidden || verb.place != Place::Hidden);
    root.subcommands(flat.map(Verb::command)).subcommand(group)
}

/// Adds the verb that is called `name`, or by an alias, alone; `None` where none is.
pub(crate) fn with_one(root: clap::Command, name: &str) -> Option<clap::Command> {
    let verb = VERBS.iter().find(|verb| verb.name == name || verb.aliases.contains(&name))?;
    Some(root.subcommand(verb.command()))
}

impl Verb {
    fn command(&self) -> clap::Command {
        clap::Command::new(self.name)
            .about(self.about)
            .visible_aliases(self.aliases.iter().copied())
            .hide(self.place == Place::Hidden)
            .defer(self.arguments)
    }
}
