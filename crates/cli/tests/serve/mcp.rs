//! The Model Context Protocol, as the official clients speak it: the Python package and the inspector's command line,
//! over standard input and over HTTP.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::lab::shown;
use crate::place::{Place, script};
use crate::process::{mark, sleeps, wait_until};
use crate::server::Server;

/// Arguments with which every machine can serve: limits may have been let go, which only an admin may.
const SERVER: [&str; 3] = ["mcp-server", "--scope", "admin"];

/// The Python client's script, ready to be given its arguments.
fn python_client(place: &Place, test: &str) -> Option<Command> {
    let Some(python) = std::env::var_os("AGENTKERNEL_TEST_PYTHON") else {
        println!("SKIPPED: {test}: AGENTKERNEL_TEST_PYTHON names no interpreter that has the package mcp");
        return None;
    };
    let mut command = like(&place.command(&[]), python);
    command.arg(script("clients/mcp_tools.py"));
    Some(command)
}

/// Another program in the environment and folder of `command`.
fn like(command: &Command, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut other = Command::new(program);
    other.env_clear();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            other.env(name, value);
        }
    }
    other.current_dir(command.get_current_dir().unwrap());
    other
}

#[track_caller]
fn assert_ok(output: &Output) {
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && stdout.contains("ok: 27 tools"), "{}", shown(output));
}

#[test]
fn the_python_client_lists_and_calls_every_tool_over_standard_input() {
    let Some(place) = Place::new("MCP, Python client, stdio") else { return };
    let Some(mut client) = python_client(&place, "MCP, Python client, stdio") else { return };
    let output = client.arg("stdio").arg(crate::lab::PROGRAM).args(SERVER).output().unwrap();
    assert_ok(&output);
    assert_eq!(place.ok(&["list", "--json"]).trim(), "[]");
}

#[test]
fn the_python_client_lists_and_calls_every_tool_over_http() {
    let Some(place) = Place::new("MCP, Python client, HTTP") else { return };
    let Some(mut client) = python_client(&place, "MCP, Python client, HTTP") else { return };
    let mut server = Server::start(&place);
    let output = client.args(["http", &format!("http://{}/mcp", server.host())]).output().unwrap();
    assert_ok(&output);
    server.assert_well();
}

/// The inspector's command line: one call each.
struct Inspector<'a> {
    place: &'a Place,
    program: PathBuf,
    target: Vec<String>,
}

impl Inspector<'_> {
    #[track_caller]
    fn ask(&self, arguments: &[&str]) -> Value {
        let mut command = like(&self.place.command(&[]), &self.program);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let output = command.arg("--cli").args(&self.target).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", shown(&output));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", shown(&output)))
    }

    /// A tool's fields.
    #[track_caller]
    fn call(&self, tool: &str, arguments: &[&str]) -> Value {
        let mut line = vec!["--method", "tools/call", "--tool-name", tool];
        for argument in arguments {
            line.extend(["--tool-arg", argument]);
        }
        let result = self.ask(&line);
        assert_ne!(result["isError"], true, "{tool}: {result}");
        result["structuredContent"].clone()
    }

    #[track_caller]
    fn every_tool(&self) {
        let tools = self.ask(&["--method", "tools/list"]);
        assert_eq!(tools["tools"].as_array().unwrap().len(), 27, "{tools}");
        let run = self.call("sandbox_run", &[r#"command=["echo","hello"]"#]);
        assert_eq!((&run["exit_code"], &run["stdout"]), (&json!(0), &json!("hello\n")));
        let run = self.call("run_command", &["command=exit 7", "timeout_ms=20000", "network=false"]);
        assert_eq!(run["exit_code"], 7);
        assert_eq!(self.call("sandbox_create", &["name=inspected", "network=false"])["status"], "running");
        assert_eq!(self.call("sandbox_start", &["name=inspected"])["status"], "running");
        let written =
            self.call("sandbox_file_write", &["name=inspected", "path=/tmp/a", "content=hello", "mode=0600"]);
        assert_eq!(written["bytes"], 5);
        assert_eq!(self.call("sandbox_file_read", &["name=inspected", "path=/tmp/a"])["content"], "hello");
        let uri = written["uri"].as_str().unwrap();
        assert_eq!(self.ask(&["--method", "resources/read", "--uri", uri])["contents"][0]["text"], "hello");
        let list = self.call("sandbox_file_list", &["name=inspected", "path=/tmp"]);
        assert!(list["entries"].as_array().unwrap().iter().any(|entry| entry["name"] == "a"), "{list}");
        let exec = self.call("sandbox_exec", &["name=inspected", r#"command=["cat","/tmp/a"]"#]);
        assert_eq!(exec["stdout"], "hello");
        let started = self.call("sandbox_exec_detach", &["name=inspected", r#"command=["sleep","600"]"#]);
        let id = format!("id={}", started["id"].as_str().unwrap());
        let list = self.call("sandbox_exec_list", &["name=inspected"]);
        assert!(!list["executions"].as_array().unwrap().is_empty(), "{list}");
        self.call("sandbox_exec_kill", &["name=inspected", &id]);
        let logs = self.call("sandbox_exec_logs", &["name=inspected", &id, "wait_ms=20000"]);
        assert_eq!(logs["exit_code"], 137, "{logs}");
        assert_eq!(self.call("sandbox_stop", &["name=inspected", "grace_ms=100"])["status"], "stopped");
        assert_eq!(self.call("sandbox_list", &[])["sandboxes"][0]["name"], "inspected");
        self.call("sandbox_remove", &["name=inspected"]);
    }
}

/// The inspector's program; `None`, said aloud, where it isn't.
fn inspector(test: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("AGENTKERNEL_TEST_NPM") else {
        println!("SKIPPED: {test}: AGENTKERNEL_TEST_NPM names no folder that has the inspector");
        return None;
    };
    Some(PathBuf::from(folder).join("node_modules/.bin/mcp-inspector"))
}

#[test]
fn the_inspector_lists_and_calls_every_tool_over_standard_input() {
    let Some(program) = inspector("MCP inspector, stdio") else { return };
    let Some(place) = Place::new("MCP inspector, stdio") else { return };
    // It hands little of its environment on, except what it is told to.
    let command = place.command(&[]);
    let ours = command.get_envs().filter(|(name, _)| name.to_string_lossy().starts_with("AGENTKERNEL_"));
    let variables = ours.filter_map(|(name, value)| Some(format!("{}={}", name.to_str()?, value?.to_str()?)));
    let mut target: Vec<String> = variables.flat_map(|variable| ["-e".to_owned(), variable]).collect();
    target.extend([crate::lab::PROGRAM].iter().chain(&SERVER).map(|&word| word.to_owned()));
    Inspector { place: &place, program, target }.every_tool();
}

#[test]
fn the_inspector_lists_and_calls_every_tool_over_http() {
    let Some(program) = inspector("MCP inspector, HTTP") else { return };
    let Some(place) = Place::new("MCP inspector, HTTP") else { return };
    let mut server = Server::start(&place);
    let url = format!("http://{}/mcp", server.host());
    let target = vec![url, "--transport".to_owned(), "http".to_owned()];
    Inspector { place: &place, program, target }.every_tool();
    server.assert_well();
}

/// `mcp-server` by hand, a line at a time.
struct Agent {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Agent {
    fn start(place: &Place, arguments: &[&str]) -> Self {
        let mut command = place.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // Everything that any library has to say: none of it may get between the messages.
        let mut child = command.env("AGENTKERNEL_LOG", "trace").spawn().unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        let mut agent = Self { child, input, output };
        agent.say(&json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}}));
        assert_eq!(agent.hear()["result"]["protocolVersion"], "2024-11-05");
        agent
    }

    fn say(&mut self, message: &Value) {
        writeln!(self.input.as_mut().unwrap(), "{message}").unwrap();
    }

    #[track_caller]
    fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    fn run(&mut self, id: u32, command: &[&str]) {
        self.say(&json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {
            "name": "sandbox_run", "arguments": {"command": command, "timeout_ms": 600_000}}}));
    }

    /// Its exit code, once it has ended.
    #[track_caller]
    fn ended(&mut self) -> Option<i32> {
        let mut code = None;
        wait_until("the end of mcp-server", || {
            code = self.child.try_wait().unwrap();
            code.is_some()
        });
        code.and_then(|status| status.code())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

#[test]
fn it_ends_with_its_input_after_the_answers() {
    let Some(place) = Place::new("MCP, end of input") else { return };
    let mut agent = Agent::start(&place, &SERVER);
    agent.run(1, &["echo", "hi"]);
    agent.input = None;
    assert_eq!(agent.hear()["result"]["structuredContent"]["stdout"], "hi\n");
    assert_eq!(agent.ended(), Some(0));
    let mut rest = String::new();
    agent.output.read_line(&mut rest).unwrap();
    assert_eq!(rest, "");
}

#[test]
fn a_signal_ends_it_with_its_commands_and_their_sandboxes() {
    let Some(place) = Place::new("MCP, SIGTERM") else { return };
    let mut agent = Agent::start(&place, &SERVER);
    let mark = mark();
    agent.run(1, &["sleep", &mark]);
    wait_until("the command to run", || sleeps(&mark));
    kill_process(Pid::from_child(&agent.child), Signal::TERM).unwrap();
    assert_eq!(agent.ended(), Some(0));
    assert!(!sleeps(&mark));
}

#[test]
fn what_kills_it_kills_its_commands() {
    let Some(place) = Place::new("MCP, SIGKILL") else { return };
    let mut agent = Agent::start(&place, &SERVER);
    let mark = mark();
    agent.run(1, &["sleep", &mark]);
    wait_until("the command to run", || sleeps(&mark));
    agent.child.kill().unwrap();
    wait_until("the command to end", || !sleeps(&mark));
    assert_eq!(place.ok(&["list", "--json"]).trim(), "[]");
}

#[test]
fn a_folder_that_the_agent_works_in_configures_nothing() {
    let place = Place::without_sandboxes();
    place.configure("this is no configuration");
    let mut agent = Agent::start(&place, &["mcp-server"]);
    agent.input = None;
    assert_eq!(agent.ended(), Some(0));
}
