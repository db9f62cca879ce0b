"""A small stand-in for the Hub on loopback, which can also misbehave.

It answers as the Hub does. A small file, asked for under
`/{owner}/{name}/resolve/{revision}/{path}`, has git's sha1 as its ETag; a large one is
a redirect to another address, with the sha256 in `X-Linked-Etag`. It knows the
questions of the API that `snapshot_download` asks. A revision may be shortened, as
there. `fault` makes it fail.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SLOW = 60  # seconds that a hanging server hangs: longer than any client waits
LARGE = {".safetensors", ".bin", ".h5", ".msgpack", ".onnx", ".model"}  # git LFS's


@cache
def digests(path: Path, _changed: int) -> tuple[str, str]:
    """Return git's sha1 of a file and its sha256."""
    data = path.read_bytes()
    git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    return git, hashlib.sha256(data).hexdigest()


class Mirror:
    """Serve repositories; use as a context manager.

    `repositories` maps an id to (revision of 40 hex digits, folder). `fault` is one
    of "", "404", "401", "403", "429", "500", "cut", "corrupt", "corrupt-config",
    "blob-500", "hang", "no-hash" (large files without their sha256); `until` ends it
    after so many faulty answers. `requests` keeps what was asked, `tokens` with which
    token.
    """

    def __init__(self, repositories: dict[str, tuple[str, Path]]) -> None:
        self.repositories = repositories
        self.fault, self.until = "", None
        self.requests: list[str] = []
        self.tokens: set[str] = set()

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
        serve = self.server.serve_forever
        threading.Thread(target=serve, args=(0.05,), daemon=True).start()
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
        if token := request.headers.get("Authorization"):
            self.tokens.add(token)
        fault = self.fault
        if fault == "hang":
            time.sleep(SLOW)
        if fault in ("401", "403", "429", "500") and (fault := self.faulty()):
            return self.send(request, int(fault), b"", {})
        for repo, (revision, folder) in self.repositories.items():
            if path.startswith(f"/{repo}/resolve/"):
                asked, name = path.removeprefix(f"/{repo}/resolve/").split("/", 1)
                return self.resolve(request, body, repo, revision, asked, folder, name)
            if path.startswith(f"/large/{repo}/"):
                name = path.removeprefix(f"/large/{repo}/")
                return self.large(request, body, folder / name)
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
            below = path.partition("/tree/")[2].partition("/")[2]
            if below and not (folder / below).is_dir():
                return self.missing(request, "EntryNotFound", revision)
            answer = [self.entry(*row) for row in zip(names, files, strict=True)]
        else:
            siblings = [{"rfilename": name} for name in names]
            answer = {"id": repo, "modelId": repo, "sha": revision}
            answer |= {"siblings": siblings, "private": False, "tags": []}
        data = json.dumps(answer).encode()
        self.send(request, 200, data, {"Content-Type": "application/json"}, body)

    def entry(self, name: str, path: Path) -> dict:
        """Return what the API tells of one file."""
        git, sha256 = digests(path, path.stat().st_mtime_ns)
        size = path.stat().st_size
        entry = {"type": "file", "path": name, "size": size, "oid": git}
        if path.suffix in LARGE:
            entry["lfs"] = {"oid": sha256, "size": size, "pointerSize": 134}
        return entry

    def resolve(self, request, body, repo, revision, asked, folder, name) -> None:
        """Send a small file; send a large one's hash, and where it lies."""
        if self.fault == "404" or not (revision.startswith(asked) or asked == "main"):
            return self.missing(request, "RevisionNotFound")
        path = folder / name
        if not path.is_file():
            return self.missing(request, "EntryNotFound", revision)
        git, sha256 = digests(path, path.stat().st_mtime_ns)
        headers = {"X-Repo-Commit": revision, "Accept-Ranges": "bytes"}
        if path.suffix not in LARGE:
            headers["ETag"] = f'"{git}"'
            damage = "corrupt-config" if name == "config.json" else "never"
            return self.body(request, body, path, headers, damage)
        if self.fault == "no-hash":
            headers["ETag"] = f'"{git}"'
        else:
            headers["X-Linked-Etag"] = f'"{sha256}"'
        headers["X-Linked-Size"] = str(path.stat().st_size)
        # Another host name, as the Hub's storage has one.
        port = self.server.server_port
        headers["Location"] = f"http://localhost:{port}/large/{repo}/{name}"
        self.send(request, 302, b"", headers, body)

    def large(self, request, body, path: Path) -> None:
        """Send a large file, as the storage behind the Hub does."""
        if body and self.fault == "blob-500" and self.faulty():
            return self.send(request, 500, b"", {})
        headers = {"ETag": '"of-the-storage"', "Accept-Ranges": "bytes"}
        self.body(request, body, path, headers, "corrupt")

    def body(self, request, body, path: Path, headers: dict, damage: str) -> None:
        data = path.read_bytes()
        if body and self.fault == damage and self.faulty():
            data = data[:-1] + bytes([data[-1] ^ 1])
        start = 0
        if asked_range := request.headers.get("Range"):
            start = int(asked_range.removeprefix("bytes=").split("-")[0])
        large = path.suffix in LARGE
        cut = body and large and self.fault == "cut" and self.faulty()
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
