"""Servers that end with whoever started them, on this machine's own address alone.

`serve("uvicorn", "module:app")` runs that program in a process of its own, waits
until it is healthy, and returns its address. The process ends at `stop_all`, at the
end of this one, and when this one is killed: it reads from a pipe that closes then.
Used in notebook 13.
"""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from importlib.metadata import entry_points
from pathlib import Path

NOTEBOOKS = Path(__file__).resolve().parents[2]
HERE = "127.0.0.1"  # loopback: no other machine can connect
SECONDS = 120  # that a server may take to load its model
# Threads of torch that wait for one another sleep meanwhile. By default they spin, and
# where other programs want the same cores, a model becomes ten times slower.
PATIENT = {"OMP_WAIT_POLICY": "passive"}

running: dict[str, tuple[tuple[str, ...], subprocess.Popen]] = {}  # by address


def free_port() -> int:
    """Return a port of this machine that nobody uses."""
    with socket.socket() as asked:
        asked.bind((HERE, 0))
        return asked.getsockname()[1]


def serve(*command: str) -> str:
    """Start a server, `--host` and `--port` added to its command, wait until its
    `/health` answers, and return its address, "http://127.0.0.1:" and the port.

    A server that was started by the same command is stopped before. Raises
    RuntimeError, with the last line that it wrote, where it ends or is not healthy
    after two minutes.
    """
    for address, (other, _) in list(running.items()):
        if other == command:
            stop(address)
    # Whatever proxy there is, it is not for this machine's own address.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = f"{HERE},localhost"
    port = free_port()
    address = f"http://{HERE}:{port}"
    whole = [sys.executable, "-m", __name__, *command]
    whole += ["--host", HERE, "--port", str(port)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            whole,
            cwd=NOTEBOOKS,
            env=PATIENT | os.environ,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        running[address] = command, process
        end = time.monotonic() + SECONDS
        while not healthy(address):
            if process.poll() is not None or time.monotonic() > end:
                stop(address)
                log.seek(0)
                lines = log.read().decode("utf-8", "replace").split("\n")
                last = [line.strip() for line in lines if line.strip()][-1:]
                raise RuntimeError(f"{command[0]} did not start: {' '.join(last)}")
            time.sleep(0.1)
    return address


def healthy(address: str) -> bool:
    """Return whether a server says that it is well."""
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5) as answer:
            return answer.status == 200
    except (OSError, urllib.error.URLError):
        return False


def stop(address: str) -> None:
    """End the server at an address; nothing happens where there is none."""
    _, process = running.pop(address, ((), None))
    if process is None:
        return
    process.stdin.close()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@atexit.register
def stop_all() -> None:
    """End every server that was started here."""
    for address in list(running):
        stop(address)


def end_with_the_pipe() -> None:
    """Wait until whoever started this process is gone, then end."""
    while os.read(0, 1024):
        pass
    os._exit(0)


def main() -> None:
    """Run a program of this environment by its name, as a command line would."""
    threading.Thread(target=end_with_the_pipe, daemon=True).start()
    sys.argv = sys.argv[1:]
    (program,) = entry_points(group="console_scripts", name=sys.argv[0])
    sys.exit(program.load()())


if __name__ == "__main__":
    main()
