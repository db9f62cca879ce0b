"""A small stand-in for the Hub on loopback, which can also misbehave.

It serves folders under `/{owner}/{name}/resolve/{revision}/{path}` and answers the
two questions of the API that `snapshot_download` asks. `fault` makes it fail.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SLOW = 60  # seconds that a hanging server hangs: longer than any client waits


class Mirror:
    """Serve repositories; use as a context manager.

    `repositories` maps an id to (revision of 40 hex digits, folder). `fault` is one
    of "", "404", "401", "403", "429", "500", "cut", "corrupt", "corrupt-config",
    "blob-500", "hang"; `until` ends it after so many faulty answers.
    """

    def __init__(self, repositories: dict[str, tuple[str, Path]]) -> None:
        self.repositories = repositories
        self.fault, self.until = "", None
        self.requests: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            mirror = self
            protocol_version = "HTTP/1.1"

            def log_message(self, *args) -> None:
                pass

            def do_HEAD(self) -> None:
                self.mirror.answer(self, body=False)

            def do_GET(self) -> None:
                self.mirror.answer(self, body=True)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error) -> None:
        self.stop()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def faulty(self) -> str:
        """Return the fault for this answer, and count it."""
        if self.until is None:
            return self.fault
        if self.until <= 0:
            return ""
        self.until -= 1
        return self.fault

    def answer(self, request, body: bool) -> None:
        path = request.path.split("?")[0]
        self.requests.append(f"{request.command} {path}")
        fault = self.fault
        if fault == "hang":
            time.sleep(SLOW)
        if fault in ("401", "403", "429", "500") and (fault := self.faulty()):
            return self.send(request, int(fault), b"", {})
        for repo, (revision, folder) in self.repositories.items():
            if path.startswith(f"/{repo}/resolve/"):
                asked, name = path.removeprefix(f"/{repo}/resolve/").split("/", 1)
                return self.file(request, body, revision, asked, folder, name)
            if path.startswith(f"/api/models/{repo}"):
                return self.api(request, body, repo, revision, folder, path)
        self.missing(request, "RepoNotFound")

    def missing(self, request, code: str, revision: str = "") -> None:
        headers = {"X-Error-Code": code, "X-Error-Message": code}
        if revision:
            headers["X-Repo-Commit"] = revision
        self.send(request, 404, b"", headers)

    def api(self, request, body, repo, revision, folder, path) -> None:
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        names = [p.relative_to(folder).as_posix() for p in files]
        if "/tree/" in path:
            # .../tree/REVISION, or a folder below it, such as additional_chat_templates
            below = path.partition("?")[0].partition("/tree/")[2].partition("/")[2]
            if below and not (folder / below).is_dir():
                return self.missing(request, "EntryNotFound", revision)
            answer = [
                {"type": "file", "path": n, "size": p.stat().st_size, "oid": "0" * 40}
                for n, p in zip(names, files, strict=True)
            ]
        else:
            siblings = [{"rfilename": name} for name in names]
            answer = {"id": repo, "modelId": repo, "sha": revision}
            answer |= {"siblings": siblings, "private": False, "tags": []}
        data = json.dumps(answer).encode()
        self.send(request, 200, data, {"Content-Type": "application/json"}, body)

    def file(self, request, body, revision, asked, folder, name) -> None:
        if self.fault == "404" or asked not in (revision, "main"):
            return self.missing(request, "RevisionNotFound")
        path = folder / name
        if not path.is_file():
            return self.missing(request, "EntryNotFound", revision)
        data = path.read_bytes()
        headers = {
            "ETag": f'"{hashlib.sha256(data).hexdigest()}"',
            "X-Repo-Commit": revision,
            "Accept-Ranges": "bytes",
        }
        weights = name.endswith(".safetensors")
        if body and weights and self.fault == "blob-500" and self.faulty():
            return self.send(request, 500, b"", {})
        target = {"corrupt": weights, "corrupt-config": name == "config.json"}
        if body and target.get(self.fault) and self.faulty():
            data = data[:-1] + bytes([data[-1] ^ 1])
        start = 0
        if asked_range := request.headers.get("Range"):
            start = int(asked_range.removeprefix("bytes=").split("-")[0])
        cut = body and weights and self.fault == "cut" and self.faulty()
        self.send(
            request, 206 if start else 200, data[start:], headers, body, bool(cut)
        )

    def send(self, request, status, data, headers, body=True, cut=False) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        if body and request.command != "HEAD":
            request.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            request.close_connection = True
            request.wfile.flush()
            request.connection.close()
