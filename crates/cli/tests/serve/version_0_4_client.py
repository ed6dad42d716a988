"""A program written for the HTTP API of version 0.4, from its documentation alone: http.client and json, and nothing that
came later. Arguments: host, port, key or "-". Prints one line for each route that behaved; the first that doesn't is an
AssertionError."""

import base64
import http.client
import json
import sys

host, port, key = sys.argv[1], int(sys.argv[2]), sys.argv[3]


def call(method, path, body=None, raw=None, authorization=True):
    connection = http.client.HTTPConnection(host, port, timeout=60)
    headers = {}
    if authorization and key != "-":
        headers["Authorization"] = "Bearer " + key
    if body is not None:
        raw = json.dumps(body)
    if raw is not None:
        headers["Content-Type"] = "application/json"
    connection.request(method, path, raw, headers)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, response.getheader("Content-Type", ""), content


def envelope(method, path, body=None, raw=None, status=200):
    got, kind, content = call(method, path, body, raw)
    assert got == status, (method, path, got, content)
    assert kind.split(";")[0] == "application/json", (method, path, kind)
    answer = json.loads(content)
    if status < 400:
        assert answer["success"] is True and "error" not in answer, (method, path, answer)
        return answer["data"]
    assert answer["success"] is False and "data" not in answer, (method, path, answer)
    assert isinstance(answer["error"], str) and answer["error"], (method, path, answer)
    return answer["error"]


def said(what):
    print(what, flush=True)


def health():
    assert envelope("GET", "/health") == "ok"
    got, _, content = call("GET", "/health", authorization=False)
    assert got == 200 and json.loads(content) == {"success": True, "data": "ok"}
    said("GET /health")


def keys():
    if key == "-":
        return
    for value, error in [
        (None, "Missing Authorization header"),
        ("Basic abc", "Invalid authorization format. Use: Bearer <api_key>"),
        ("Bearer wrong", "Invalid API key"),
    ]:
        connection = http.client.HTTPConnection(host, port, timeout=60)
        connection.request("GET", "/sandboxes", headers={} if value is None else {"Authorization": value})
        response = connection.getresponse()
        answer = json.loads(response.read())
        assert response.status == 401 and answer["success"] is False, answer
        assert answer["error"] == error, (answer["error"], error)
    said("Authorization")


def run():
    data = envelope("POST", "/run", {"command": ["echo", "hello"]})
    assert data["output"] == "hello\n", data
    data = envelope("POST", "/run", {"command": ["echo", "a b", "$HOME"], "image": "alpine:3.20", "fast": False})
    assert data["output"] == "a b $HOME\n", data
    data = envelope("POST", "/run", {"command": ["true"], "profile": "restrictive", "fast": True})
    assert data["output"] == "", data
    # Version 0.4 answered 500 here. A command that fails is no failure of the server: 200, and its exit code.
    data = envelope("POST", "/run", {"command": ["sh", "-c", "echo out; exit 3"]})
    assert data["output"] == "out\n" and data["exit_code"] == 3, data
    error = envelope("POST", "/run", raw="{no json", status=400)
    assert error.startswith("Invalid JSON: "), error
    envelope("POST", "/run", {"command": []}, status=400)
    envelope("POST", "/run", {"command": ["true"], "profile": "nonsense"}, status=400)
    said("POST /run")


def events(path, body):
    got, kind, content = call("POST", path, body)
    assert got == 200 and kind.split(";")[0] == "text/event-stream", (got, kind, content)
    found = []
    for block in content.decode().split("\n\n"):
        name, data = None, None
        for line in block.split("\n"):
            if line.startswith("event: "):
                name = line[len("event: ") :]
            elif line.startswith("data: "):
                data = json.loads(line[len("data: ") :])
        if name is not None:
            found.append((name, data))
    return found


def run_stream():
    found = events("/run/stream", {"command": ["echo", "hello"]})
    names = [name for name, _ in found]
    assert names[0] == "started" and names[-1] == "done" and "output" in names, names
    started, done = found[0][1], found[-1][1]
    assert started["command"] == ["echo", "hello"], started
    assert isinstance(started["fast"], bool) and isinstance(started["timestamp"], str), started
    assert done["exit_code"] == 0 and done["success"] is True, done
    output = [data for name, data in found if name == "output"]
    assert "".join(data["data"] for data in output) == "hello\n", output
    assert "".join(data["content"] for data in output) == "hello\n", output
    assert {data["stream"] for data in output} == {"stdout"}, output
    slow = events("/run/stream", {"command": ["true"], "fast": False})
    stages = [data["stage"] for name, data in slow if name == "progress"]
    assert "sandbox_created" in stages and "sandbox_started" in stages, slow
    failed = events("/run/stream", {"command": ["sh", "-c", "exit 9"]})
    assert failed[-1][0] == "done" and failed[-1][1]["exit_code"] == 9 and failed[-1][1]["success"] is False, failed
    said("POST /run/stream")


def batch():
    commands = [{"command": ["echo", str(number)]} for number in range(5)]
    data = envelope("POST", "/batch/run", {"commands": commands})
    assert [result["output"] for result in data["results"]] == [f"{number}\n" for number in range(5)], data
    assert all(result["error"] is None for result in data["results"]), data
    envelope("POST", "/batch/run", {"commands": []}, status=400)
    envelope("POST", "/batch/run", raw="[", status=400)
    said("POST /batch/run")


def sandboxes():
    data = envelope("POST", "/sandboxes", {"name": "old", "image": "alpine:3.20", "vcpus": 1, "memory_mb": 128}, status=201)
    assert data["name"] == "old" and data["status"] == "running", data
    assert data["image"].endswith("alpine:3.20") and data["vcpus"] == 1 and data["memory_mb"] == 128, data
    assert isinstance(data["backend"], str), data
    # Version 0.4 answered 500: a name that is taken is the client's error.
    envelope("POST", "/sandboxes", {"name": "old"}, status=409)
    for wrong in [{"name": ""}, {"name": "../x"}, {"name": "x", "profile": "nonsense"}, {"name": "x", "image": "UPPER CASE"}]:
        envelope("POST", "/sandboxes", wrong, status=400)
    listed = envelope("GET", "/sandboxes")
    mine = [sandbox for sandbox in listed if sandbox["name"] == "old"]
    assert len(mine) == 1 and mine[0]["status"] == "running" and mine[0]["backend"] == data["backend"], listed
    info = envelope("GET", "/sandboxes/old")
    assert info["name"] == "old" and isinstance(info["created_at"], str), info
    envelope("GET", "/sandboxes/nobody", status=404)
    said("/sandboxes")


def execs():
    data = envelope("POST", "/sandboxes/old/exec", {"command": ["echo", "inside"]})
    assert data["output"] == "inside\n", data
    data = envelope("POST", "/sandboxes/old/exec", {"command": ["false"]})
    assert data["exit_code"] == 1, data
    envelope("POST", "/sandboxes/old/exec", {"command": []}, status=400)
    envelope("POST", "/sandboxes/old/exec", raw="nothing", status=400)
    envelope("POST", "/sandboxes/nobody/exec", {"command": ["true"]}, status=404)
    said("POST /sandboxes/{name}/exec")


def files():
    path = "/sandboxes/old/files/tmp/notes.txt"
    assert envelope("PUT", path, {"content": "grüße\n"}) == "Wrote 8 bytes to /tmp/notes.txt"
    data = envelope("GET", path)
    assert data == {"content": "grüße\n", "encoding": "utf8", "size": 8}, data
    blob = bytes(range(256))
    written = {"content": base64.b64encode(blob).decode(), "encoding": "base64"}
    assert envelope("PUT", "/sandboxes/old/files/tmp/blob", written) == "Wrote 256 bytes to /tmp/blob"
    data = envelope("GET", "/sandboxes/old/files/tmp/blob")
    assert data["encoding"] == "base64" and base64.b64decode(data["content"]) == blob and data["size"] == 256, data
    seen = envelope("POST", "/sandboxes/old/exec", {"command": ["cat", "/tmp/notes.txt"]})
    assert seen["output"] == "grüße\n", seen
    assert envelope("DELETE", path) == "Deleted /tmp/notes.txt"
    envelope("GET", path, status=404)
    envelope("PUT", "/sandboxes/old/files/tmp/x", {"content": "!", "encoding": "base64"}, status=400)
    envelope("GET", "/sandboxes/old/files/tmp/../etc/passwd", status=400)
    said("/sandboxes/{name}/files/{path}")


def logs():
    entries = envelope("GET", "/sandboxes/old/logs")
    assert isinstance(entries, list) and entries and all(isinstance(entry, dict) for entry in entries), entries
    envelope("GET", "/sandboxes/never-heard-of/logs", status=404)
    said("GET /sandboxes/{name}/logs")


def removal():
    assert envelope("DELETE", "/sandboxes/old") == "Sandbox removed"
    assert envelope("DELETE", "/sandboxes/old") == "Sandbox removed"
    envelope("GET", "/sandboxes/old", status=404)
    assert [sandbox for sandbox in envelope("GET", "/sandboxes") if sandbox["name"] == "old"] == []
    said("DELETE /sandboxes/{name}")


def unknown():
    envelope("GET", "/nowhere", status=404)
    said("unknown routes")


for part in [health, keys, run, run_stream, batch, sandboxes, execs, files, logs, removal, unknown]:
    part()
