"""A Hub of our own: the endpoints that a push, a listing and a download use, over real HTTP, with faults on request.

A repository is a dict of path -> bytes. `fault(part, ...)` makes requests go wrong whose path contains `part`.
"""

import base64
import hashlib
import json
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlparse


OWNER = "someone"


class Hub(ThreadingHTTPServer):
    """Started by `start()`; `url` is what `HF_ENDPOINT` must be."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool | None] = {}
        self.commits: list[tuple[str, str, list[str]]] = []  # repository, message, paths
        self.faults: list[list] = []  # part of the path, kind, times left
        self.requests: list[str] = []
        self.tokens: set[str] = {"hf_good"}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def fault(self, part: str, kind: int | str, times: int = 1_000_000) -> None:
        """`kind`: an HTTP status, "drop" (the connection ends halfway) or "silence" (no answer)."""
        self.faults.append([part, kind, times])

    def handle_error(self, request, client_address):
        """A client that hangs up is part of the tests."""

    def start(self) -> "Hub":
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_POST(self):
        path = unquote(urlparse(self.path).path)
        if self._goes_wrong(path):
            return
        body = self._body()
        if path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif not self._token_is_good():
            self._json({"error": "Invalid user token."}, 401)
        elif path == "/api/repos/create":
            wanted = json.loads(body)
            name = f"{wanted.get('organization') or OWNER}/{wanted['name']}"
            status = 409 if name in self.server.files else 200
            if status == 200:
                self.server.files[name], self.server.private[name] = (
                    {},
                    wanted.get("private", wanted.get("visibility") == "private"),
                )
            self._json({"url": f"{self.server.url}/{name}", "name": name, "id": name}, status)
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/([^/]+)", path):
            files = json.loads(body)["files"]
            answer = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None} for f in files]
            self._json({"files": answer})
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/([^/]+)", path):
            self._commit(match[1], body)
        else:
            self._json({"error": f"no such endpoint: POST {path}"}, 404)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = unquote(urlparse(self.path).path)
        if self._goes_wrong(path):
            return
        if path == "/api/whoami-v2":
            good = self._token_is_good()
            self._json({"type": "user", "name": OWNER, "orgs": []} if good else {"error": "?"}, 200 if good else 401)
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/[^/]+/?(.*)", path):
            self._tree(match[1], match[2])
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/[^/]+)?", path):
            self._info(match[1])
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
            self._file(match[1], match[2])
        else:
            self._json({"error": f"no such endpoint: GET {path}"}, 404)

    def _goes_wrong(self, path: str) -> bool:
        self.server.requests.append(f"{self.command} {path}")
        for fault in self.server.faults:
            if fault[0] in path and fault[2] > 0:
                fault[2] -= 1
                kind = fault[1]
                if kind == "silence":
                    threading.Event().wait(1)
                if isinstance(kind, int):
                    self._body()
                    self._json({"error": f"a fault of the test: {kind}"}, kind)
                else:
                    self.rfile.readline(64) if self.command == "POST" else None  # some of it, not all
                    self.connection.shutdown(socket.SHUT_RDWR)
                    self.close_connection = True
                return True
        return False

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _token_is_good(self) -> bool:
        return self.headers.get("Authorization", "").removeprefix("Bearer ") in self.server.tokens

    def _readable(self, name: str) -> bool:
        return name in self.server.files and (not self.server.private[name] or self._token_is_good())

    def _commit(self, name: str, body: bytes) -> None:
        lines = [json.loads(line) for line in body.splitlines() if line]
        message = next(line["value"]["summary"] for line in lines if line["key"] == "header")
        added = {
            line["value"]["path"]: base64.b64decode(line["value"]["content"])
            for line in lines
            if line["key"] == "file"
        }
        if name not in self.server.files:
            self._json({"error": "Repository not found"}, 404)
            return
        self.server.files[name].update(added)
        self.server.commits.append((name, message, sorted(added)))
        self._json({"commitUrl": f"{self.server.url}/{name}/commit/{self._sha(name)}", "commitOid": self._sha(name)})

    def _sha(self, name: str) -> str:
        files = self.server.files[name]
        return hashlib.sha1(b"".join(path.encode() + files[path] for path in sorted(files))).hexdigest()

    def _info(self, name: str) -> None:
        if not self._readable(name):
            self._json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
            return
        siblings = [{"rfilename": path, "size": len(data)} for path, data in sorted(self.server.files[name].items())]
        private = bool(self.server.private[name])
        self._json(
            {"id": name, "modelId": name, "sha": self._sha(name), "private": private, "tags": [], "siblings": siblings}
        )

    def _tree(self, name: str, folder: str) -> None:
        if not self._readable(name):
            self._json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
            return
        files = {p: d for p, d in self.server.files[name].items() if p.startswith(folder)}
        if folder and not files:
            self._json({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
            return
        entries = [
            {"type": "file", "oid": hashlib.sha1(d).hexdigest(), "size": len(d), "path": p}
            for p, d in sorted(files.items())
        ]
        self._json(entries)

    def _file(self, name: str, path: str) -> None:
        if not self._readable(name):
            self._json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
            return
        if path not in self.server.files[name]:
            headers = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": self._sha(name)}
            self._json({"error": "Entry not found"}, 404, headers)
            return
        data = self.server.files[name][path]
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": self._sha(name)}
        self._send(data, 200, "application/octet-stream", headers)

    def _json(self, content, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(json.dumps(content).encode(), status, "application/json", headers or {})

    def _send(self, data: bytes, status: int, kind: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {"Content-Type": kind, "Content-Length": str(len(data)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
