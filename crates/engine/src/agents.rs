//! The AI coding agents that are known by name. Data and look-ups; nothing is run.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use agentkernel_config::{AgentName, Environment};

/// One agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agent {
    /// As users write it.
    pub name: AgentName,
    /// As its makers write it.
    pub title: &'static str,
    /// Its program.
    pub command: &'static str,
    /// The variables that may hold its key; one of them is enough.
    pub api_key_variables: &'static [&'static str],
    /// The command that installs it.
    pub install_hint: &'static str,
}

/// All of them, in the order of [`AgentName::ALL`].
pub const AGENTS: [Agent; 4] = [
    Agent {
        name: AgentName::Claude,
        title: "Claude Code",
        command: "claude",
        api_key_variables: &["ANTHROPIC_API_KEY"],
        install_hint: "npm i -g @anthropic-ai/claude-code",
    },
    Agent {
        name: AgentName::Codex,
        title: "Codex",
        command: "codex",
        api_key_variables: &["OPENAI_API_KEY"],
        install_hint: "npm i -g @openai/codex",
    },
    Agent {
        name: AgentName::Gemini,
        title: "Gemini CLI",
        command: "gemini",
        api_key_variables: &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
        install_hint: "npm i -g @google/gemini-cli",
    },
    Agent {
        name: AgentName::Opencode,
        title: "OpenCode",
        command: "opencode",
        // It speaks to many providers: the key of any of them will do.
        api_key_variables: &[
            "ANTHROPIC_API_KEY",
            "OPENAI_API_KEY",
            "GEMINI_API_KEY",
            "GOOGLE_API_KEY",
            "GOOGLE_GENERATIVE_AI_API_KEY",
            "OPENROUTER_API_KEY",
            "OPENCODE_API_KEY",
            "DEEPSEEK_API_KEY",
            "GROQ_API_KEY",
            "MISTRAL_API_KEY",
            "XAI_API_KEY",
        ],
        install_hint: "npm i -g opencode-ai",
    },
];

impl Agent {
    /// The agent of this name.
    pub fn named(name: AgentName) -> &'static Self {
        match name {
            AgentName::Claude => &AGENTS[0],
            AgentName::Codex => &AGENTS[1],
            AgentName::Gemini => &AGENTS[2],
            AgentName::Opencode => &AGENTS[3],
        }
    }

    /// Its program in the first of these folders that has it (as a shell looks in PATH).
    pub fn installed(&self, path_dirs: &[PathBuf]) -> Option<PathBuf> {
        path_dirs.iter().map(|dir| dir.join(self.command)).find(|program| is_executable(program))
    }

    /// The first of its key variables that is set and not empty.
    pub fn api_key_variable(&self, environment: &Environment) -> Option<&'static str> {
        let is_set = |name: &str| environment.var(name).is_some_and(|value| !value.is_empty());
        self.api_key_variables.iter().copied().find(|name| is_set(name))
    }
}

/// Whether it is a file that somebody may execute.
fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_knows_every_name() {
        for (name, agent) in AgentName::ALL.into_iter().zip(&AGENTS) {
            assert_eq!((agent.name, Agent::named(name)), (name, agent));
        }
    }

    #[test]
    fn only_an_executable_file_is_an_installed_agent() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = ["a", "b", "c"].map(|name| dir.path().join(name));
        for dir in &dirs {
            std::fs::create_dir(dir).unwrap();
        }
        std::fs::create_dir(dirs[0].join("claude")).unwrap();
        std::fs::write(dirs[1].join("claude"), "").unwrap();
        let claude = Agent::named(AgentName::Claude);
        assert_eq!(claude.installed(&dirs), None);
        let program = dirs[2].join("claude");
        std::fs::write(&program, "").unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(claude.installed(&dirs), Some(program));
    }

    #[test]
    fn any_of_its_keys_will_do_and_an_empty_one_will_not() {
        let environment = |vars: &[(&str, &str)]| Environment {
            cwd: "/".into(),
            home: None,
            user: None,
            uid: 1000,
            vars: vars.iter().map(|(name, value)| (name.into(), value.into())).collect(),
            interactive_stdin: false,
            interactive_stdout: false,
            interactive_stderr: false,
        };
        let gemini = Agent::named(AgentName::Gemini);
        let keys = environment(&[("GEMINI_API_KEY", ""), ("GOOGLE_API_KEY", "k")]);
        assert_eq!(gemini.api_key_variable(&keys), Some("GOOGLE_API_KEY"));
        assert_eq!(Agent::named(AgentName::Opencode).api_key_variable(&keys), Some("GOOGLE_API_KEY"));
        assert_eq!(Agent::named(AgentName::Claude).api_key_variable(&keys), None);
    }
}
