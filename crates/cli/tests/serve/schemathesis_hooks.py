"""What schemathesis can't know by the description alone: tar streams, a registry that it may pull from, and which streams
end by themselves."""

import gzip
import hashlib
import http.server
import io
import json
import socket
import tarfile
import threading

import schemathesis
from hypothesis import strategies as st


def tar(names):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 5
            archive.addfile(member, io.BytesIO(b"hello"))
    return stream.getvalue()


# Whole ones, hostile ones, half ones, and what is none.
TARS = [tar([]), tar(["a", "b/c"]), tar(["../x"]), tar(["/etc/passwd"]), tar(["a"])[:700], b"", b"x" * 2000]
schemathesis.openapi.media_type("application/x-tar", st.sampled_from(TARS))


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def image():
    """A registry's content by path: one image of one layer, the same for both kinds of machine."""
    plain = tar(["hello"])
    layer = gzip.compress(plain)
    blobs = [layer]
    manifests = []
    for architecture in ["amd64", "arm64"]:
        root = {"type": "layers", "diff_ids": [digest(plain)]}
        config = json.dumps({"architecture": architecture, "os": "linux", "config": {}, "rootfs": root}).encode()
        vendor = "application/vnd.oci.image"
        about = {"mediaType": f"{vendor}.config.v1+json", "digest": digest(config), "size": len(config)}
        layers = [{"mediaType": f"{vendor}.layer.v1.tar+gzip", "digest": digest(layer), "size": len(layer)}]
        kind = f"{vendor}.manifest.v1+json"
        manifest = {"schemaVersion": 2, "mediaType": kind, "config": about, "layers": layers}
        manifest = json.dumps(manifest).encode()
        blobs += [config]
        manifests += [(architecture, kind, manifest)]
    entries = [
        {"mediaType": kind, "digest": digest(text), "size": len(text), "platform": {"os": "linux", "architecture": name}}
        for name, kind, text in manifests
    ]
    kind = "application/vnd.oci.image.index.v1+json"
    index = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": entries}).encode()
    content = {f"/v2/test/blobs/{digest(blob)}": ("application/octet-stream", blob) for blob in blobs}
    for _, manifest_kind, text in manifests:
        content[f"/v2/test/manifests/{digest(text)}"] = (manifest_kind, text)
    content["/v2/test/manifests/1"] = (kind, index)
    return content


CONTENT = image()


class Registry(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        kind, content = CONTENT.get(self.path, ("application/json", b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}'))
        self.send_response(200 if self.path in CONTENT or self.path == "/v2/" else 404)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, listener):
        super().__init__(listener.getsockname(), Registry, bind_and_activate=False)
        self.socket = listener


# The test has bound it, since the server under test must know its address before.
listener = socket.socket(fileno=0)
threading.Thread(target=Server(listener).serve_forever, daemon=True).start()
REGISTRY = f"127.0.0.1:{listener.getsockname()[1]}"


@schemathesis.hook
def filter_case(context, case):
    # HTTP has everybody ignore headers that he doesn't know (RFC 9110, section 5.1): one more makes nothing wrong.
    return "x-schemathesis-unknown-property" not in (case.headers or {})


@schemathesis.hook
def before_call(context, case, kwargs):
    path = case.operation.path
    if path == "/events" and isinstance(case.query, dict):
        # Else it ends with the server.
        if str(case.query.get("follow", "true")) == "true":
            case.query["follow"] = "false"
    elif path == "/images/pull" and isinstance(case.body, dict):
        named = case.body.get("image")
        # Never a registry of somebody else's. What is no name stays none.
        if isinstance(named, str) and named.isascii() and named.strip() == named and len(named) in range(1, 60):
            case.body["image"] = f"{REGISTRY}/test:{1 if len(named) % 2 == 0 else 2}"
    elif path == "/sandboxes/{name}/archive" and case.method.upper() == "GET" and isinstance(case.query, dict):
        # The whole machine is no short answer.
        if isinstance(case.query.get("path"), str) and case.query["path"].startswith("/"):
            case.query["path"] = "/tmp"
