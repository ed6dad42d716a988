"""The official Python client of the Model Context Protocol against agentkernel: every tool is listed and called.

    mcp_tools.py stdio PROGRAM ARGUMENT...
    mcp_tools.py http URL

Works with versions 1 and 2 of the package `mcp`, whose attributes are spelt differently. The client itself holds every
result against the schema that the tool is listed with. Prints one line at the end; any failure is an exception.
"""

import asyncio
import sys
from contextlib import asynccontextmanager

from mcp import ClientSession, StdioServerParameters, stdio_client

TOOLS = {
    "sandbox_run", "sandbox_create", "sandbox_exec", "sandbox_list", "sandbox_remove", "sandbox_file_write",
    "sandbox_file_read", "sandbox_start", "sandbox_stop", "sandbox_file_list", "sandbox_exec_detach",
    "sandbox_exec_logs", "sandbox_exec_kill", "sandbox_exec_list",
}
# What native sandboxes can't do is there all the same, and says so.
COPIES = {
    "sandbox_pause", "sandbox_resume", "sandbox_fork", "snapshot_list", "snapshot_take", "snapshot_get",
    "snapshot_delete", "snapshot_restore",
}
ALIASES = {"run_command", "create_sandbox", "exec_in_sandbox", "list_sandboxes", "remove_sandbox"}


def field(value, camel, snake):
    return getattr(value, camel) if hasattr(value, camel) else getattr(value, snake)


@asynccontextmanager
async def connection(how, rest):
    if how == "stdio":
        server = StdioServerParameters(command=rest[0], args=rest[1:], env=dict(pair for pair in environment()))
        async with stdio_client(server) as (read, write):
            yield read, write
        return
    from mcp.client import streamable_http

    names = ("streamable_http_client", "streamablehttp_client")
    connect = next(getattr(streamable_http, name) for name in names if hasattr(streamable_http, name))
    async with connect(rest[0]) as streams:
        yield streams[0], streams[1]


def environment():
    import os

    return os.environ.items()


class Calls:
    def __init__(self, session):
        self.session = session
        self.called = set()

    async def ok(self, tool, **arguments):
        self.called.add(tool)
        result = await self.session.call_tool(tool, arguments)
        assert not field(result, "isError", "is_error"), (tool, result)
        assert result.content[0].type == "text" and result.content[0].text, (tool, result)
        structured = field(result, "structuredContent", "structured_content")
        assert isinstance(structured, dict), (tool, result)
        return structured

    async def failed(self, tool, **arguments):
        self.called.add(tool)
        result = await self.session.call_tool(tool, arguments)
        assert field(result, "isError", "is_error"), (tool, result)
        return result.content[0].text


async def one_command(calls):
    run = await calls.ok("sandbox_run", command=["echo", "hello"])
    assert (run["exit_code"], run["stdout"], run["stderr"]) == (0, "hello\n", ""), run
    assert run["isolation"]["backend"] == run["backend"], run
    run = await calls.ok(
        "run_command", command="read line; echo $line $X; pwd; echo oops >&2; exit 7", stdin="typed\n",
        env={"X": "from env"}, cwd="/tmp", fast=False, timeout_ms=20000, compatibility_mode="native",
        profile="restrictive", network=False,
    )
    assert (run["exit_code"], run["stdout"], run["stderr"]) == (7, "typed from env\n/tmp\n", "oops\n"), run
    run = await calls.ok("sandbox_run", command=["sleep", "60"], timeout_ms=200)
    assert run["exit_code"] == 124 and run["timed_out"], run
    run = await calls.ok("sandbox_run", command=["/no/such/program"])
    assert run["exit_code"] == 127 and run["error"], run


async def a_sandbox(calls, name):
    box = await calls.ok("sandbox_create", name=name, network=False)
    assert box["status"] == "running", box
    box = await calls.ok("sandbox_start", name=name)
    assert box["status"] == "running", box
    written = await calls.ok("sandbox_file_write", name=name, path="/tmp/a.txt", content="aé\n", mode="0600")
    assert written["bytes"] == 4, written
    read = await calls.ok("sandbox_file_read", name=name, path="/tmp/a.txt")
    assert (read["content"], read["encoding"], read["size"]) == ("aé\n", "utf8", 4), read
    listed = await calls.ok("sandbox_file_list", name=name, path="/tmp")
    assert [entry["mode"] for entry in listed["entries"] if entry["name"] == "a.txt"] == ["0600"], listed
    done = await calls.ok("sandbox_exec", name=name, command=["cat", "/tmp/a.txt"], cwd="/")
    assert (done["exit_code"], done["stdout"], done["sandbox"]) == (0, "aé\n", name), done
    resource = await calls.session.read_resource(address(written["uri"]))
    assert resource.contents[0].text == "aé\n", resource
    listed = await calls.session.list_resources()
    assert f"agentkernel://sandboxes/{name}" in [str(one.uri) for one in listed.resources], listed
    templates = await calls.session.list_resource_templates()
    assert field(templates, "resourceTemplates", "resource_templates"), templates


def address(uri):
    """Version 1 wants an object of pydantic's."""
    import importlib.metadata

    if importlib.metadata.version("mcp").startswith("1."):
        from pydantic import AnyUrl

        return AnyUrl(uri)
    return uri


async def left_running(calls, name):
    script = "echo begun; while [ ! -e /tmp/go ]; do sleep 0.05; done; echo done; exit 3"
    started = await calls.ok("sandbox_exec_detach", name=name, command=script)
    ident = started["id"]
    listed = await calls.ok("sandbox_exec_list", name=name)
    assert ident in [one["id"] for one in listed["executions"]], listed
    logs = await calls.ok("sandbox_exec_logs", name=name, id=ident, wait_ms=20000)
    assert (logs["stdout"], logs["status"]) == ("begun\n", "running"), logs
    await calls.ok("sandbox_file_write", name=name, path="/tmp/go", content="")
    text, offset = "", logs["next_offset"]
    while logs["status"] == "running":
        logs = await calls.ok("sandbox_exec_logs", name=name, id=ident, offset=offset, wait_ms=20000)
        text, offset = text + logs["stdout"], logs["next_offset"]
    assert (text, logs["exit_code"]) == ("done\n", 3), (text, logs)
    started = await calls.ok("sandbox_exec_detach", name=name, command=["sleep", "600"])
    await calls.ok("sandbox_exec_kill", name=name, id=started["id"])
    logs = await calls.ok("sandbox_exec_logs", name=name, id=started["id"], wait_ms=20000)
    assert (logs["status"], logs["exit_code"]) == ("ended", 137), logs


async def copies(calls, name):
    for tool in ["sandbox_pause", "sandbox_resume", "sandbox_fork"]:
        assert "pause, snapshots and forks" in await calls.failed(tool, name=name), tool
    assert "pause, snapshots and forks" in await calls.failed("snapshot_take", sandbox=name)
    assert (await calls.ok("snapshot_list"))["snapshots"] == []
    for tool in ["snapshot_get", "snapshot_restore"]:
        assert "no-such-snapshot" in await calls.failed(tool, name="no-such-snapshot"), tool
    assert "no snapshot" in (await calls.ok("snapshot_delete", name="no-such-snapshot"))["message"]


async def many_at_once(calls):
    commands = [calls.ok("sandbox_run", command=["echo", str(number)]) for number in range(8)]
    results = await asyncio.gather(*commands)
    assert [run["stdout"] for run in results] == [f"{number}\n" for number in range(8)], results


async def progress(session):
    seen = []

    async def note(done, total, message):
        seen.append((done, message))

    script = "echo first; sleep 0.4; echo second"
    result = await session.call_tool("sandbox_run", {"command": script}, progress_callback=note)
    assert not field(result, "isError", "is_error"), result
    text = "".join(message or "" for _, message in seen)
    assert "first" in text, seen
    assert [done for done, _ in seen] == sorted(done for done, _ in seen), seen


async def refusals(calls):
    for tool, arguments, named in [
        ("sandbox_run", {}, "command"),
        ("sandbox_run", {"command": ["true"], "timeuot_ms": 1}, "timeuot_ms"),
        ("sandbox_exec", {"name": "../x", "command": ["true"]}, "name"),
        ("sandbox_file_read", {"name": "x", "path": "/../etc/shadow"}, "path"),
    ]:
        try:
            result = await calls.session.call_tool(tool, arguments)
        except Exception as error:
            assert named in str(error), error
        else:
            raise AssertionError((tool, arguments, result))
    assert "no-such-box" in await calls.failed("sandbox_exec", name="no-such-box", command=["true"])
    assert "[unsupported]" in await calls.failed("sandbox_run", command=["true"], compatibility_mode="codex")


async def main():
    async with connection(sys.argv[1], sys.argv[2:]) as (read, write):
        async with ClientSession(read, write) as session:
            greeting = await session.initialize()
            info = field(greeting, "serverInfo", "server_info")
            assert info.name == "agentkernel", greeting
            listed = {tool.name for tool in (await session.list_tools()).tools}
            every = TOOLS | COPIES | ALIASES
            assert listed == every, listed ^ every
            await session.send_ping()
            calls, name = Calls(session), "mcp-python"
            await one_command(calls)
            try:
                await a_sandbox(calls, name)
                await left_running(calls, name)
                await copies(calls, name)
                stopped = await calls.ok("sandbox_stop", name=name, grace_ms=100)
                assert stopped["status"] == "stopped", stopped
                assert (await calls.ok("sandbox_list"))["sandboxes"][0]["name"] == name
                assert "is stopped" in await calls.failed("sandbox_exec", name=name, command=["true"])
            finally:
                await calls.ok("sandbox_remove", name=name)
            assert (await calls.ok("sandbox_list"))["sandboxes"] == []
            await many_at_once(calls)
            await progress(session)
            await refusals(calls)
            assert calls.called >= TOOLS | COPIES, (TOOLS | COPIES) - calls.called
    version = field(greeting, "protocolVersion", "protocol_version")
    print(f"ok: {len(listed)} tools, protocol {version}")


asyncio.run(main())
