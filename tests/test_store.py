"""Proves that a cache entry is whole or absent, whatever happens while it is made.

Needs nothing from outside; entries are small files made here.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from places import NOTEBOOKS
from waiting import wait_for

from helpers import store
from helpers.errors import CacheError, HelperError

SCRIPT = """
import signal
# A shell's background job ignores Ctrl-C, and its children with it.
signal.signal(signal.SIGINT, signal.default_int_handler)
import sys, time
from pathlib import Path
from helpers.store import stored

def build(folder):
    with open({log!r}, "a") as log:
        log.write("built\\n")
    (folder / "half").write_text("half")
    time.sleep({seconds})
    (folder / "half").rename(folder / "weights")

print(stored("models/slow", build))
"""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder of the test's own."""
    monkeypatch.setenv(store.CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def weights(folder):
    (folder / "sub").mkdir()
    (folder / "weights").write_bytes(b"w" * 1000)
    (folder / "sub" / "config").write_text("{}")


def script(log, seconds, **popen):
    """Start another process that builds the entry models/slow."""
    code = SCRIPT.format(log=str(log), seconds=seconds)
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=NOTEBOOKS,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **popen,
    )


def test_an_entry_is_built_once(cache):
    built = []
    for _ in range(2):
        folder = store.stored("models/x", lambda to: (built.append(1), weights(to)))
    assert len(built) == 1
    assert store.damage(folder) is None
    assert not list((cache / "aside").iterdir())


@pytest.mark.parametrize(
    ("broken", "harm"),
    [
        ("cached weights cut", lambda e: os.truncate(e / "weights", 500)),
        ("cached weights, one bit flipped", lambda e: flip(e / "weights")),
        ("a cached file deleted", lambda e: (e / "sub" / "config").unlink()),
        ("cache entry without manifest", lambda e: (e / store.MANIFEST).unlink()),
        ("manifest cut", lambda e: os.truncate(e / store.MANIFEST, 20)),
        ("manifest empty", lambda e: (e / store.MANIFEST).write_text("")),
        ("manifest of another shape", lambda e: (e / store.MANIFEST).write_text("[]")),
    ],
)
def test_damage_is_noticed_and_mended(cache, capsys, record_fault, broken, harm):
    entry = store.stored("models/x", weights)
    harm(entry)
    assert store.damage(entry)
    again = store.stored("models/x", weights)
    assert (again / "weights").read_bytes() == b"w" * 1000
    assert store.damage(again) is None
    said = capsys.readouterr().out
    assert "damaged" in said
    assert "made anew" in said
    record_fault(broken, said)


def flip(path):
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)


def test_a_failing_build_leaves_nothing(cache):
    def fails(folder):
        weights(folder)
        raise HelperError("no")

    with pytest.raises(HelperError, match="no"):
        store.stored("models/x", fails)
    assert not (cache / "models" / "x").exists()
    assert not list((cache / "aside").iterdir())


def test_two_processes_at_once_build_once(cache, tmp_path, record_fault):
    log = tmp_path / "log"
    both = [script(log, 1.0), script(log, 1.0)]
    out = [process.communicate(timeout=30) for process in both]
    assert [process.returncode for process in both] == [0, 0], out
    assert log.read_text() == "built\n"
    record_fault(
        "two processes fetch the same model at once", "one fetches, the other waits"
    )


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_an_interrupted_build_is_never_read(cache, tmp_path, record_fault, kind):
    log = tmp_path / "log"
    process = script(log, 30)
    wait_for(log.exists)
    time.sleep(0.1)
    process.send_signal(kind)
    process.communicate(timeout=30)
    assert not (cache / "models" / "slow").exists()
    again = script(log, 0)
    out, error = again.communicate(timeout=30)
    assert again.returncode == 0, error
    assert (Path(out.strip()) / "weights").exists()
    assert not list((cache / "aside").iterdir()), "what was left aside is cleared"
    record_fault(f"{kind.name} while a model is prepared", "the next run makes it anew")


def on_small_disk(options, code, cache):
    """Run Python code with a file system of the given options as cache folder."""
    cache.mkdir()
    namespace = ["unshare", "--map-root-user", "--mount"]
    if shutil.which("unshare") is None or subprocess.call([*namespace, "true"]):
        pytest.skip("needs Linux's mount namespaces")
    mount = f"mount -t tmpfs -o {options} tmpfs {cache} && exec {sys.executable} -c"
    return subprocess.run(
        [*namespace, "sh", "-c", f'{mount} "$CODE"'],
        cwd=NOTEBOOKS,
        env=os.environ | {"CODE": code},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_full_disk_is_said_and_leaves_nothing(cache, record_fault):
    code = """
import os
from helpers.store import stored, cache_folder
from helpers.errors import CacheError
try:
    stored("models/x", lambda to: (to / "weights").write_bytes(bytes(10**7)))
except CacheError as error:
    print(error)
left = [f for _, _, files in os.walk(cache_folder()) for f in files if "lock" not in f]
assert not left, left
"""
    done = on_small_disk("size=1m", code, cache)
    assert done.returncode == 0, done.stderr
    assert "the disk is full" in done.stdout
    record_fault("disk full while a model is prepared", done.stdout)


def test_a_full_disk_in_safetensors_is_said(cache, record_fault):
    code = """
import torch
from safetensors.torch import save_file
from helpers.store import stored
from helpers.errors import CacheError
def build(folder):
    save_file({"w": torch.zeros(10**7)}, folder / "model.safetensors")
try:
    stored("models/x", build)
except CacheError as error:
    print(error)
"""
    done = on_small_disk("size=1m", code, cache)
    assert done.returncode == 0, done.stderr
    assert "the disk is full" in done.stdout
    record_fault("disk full while weights are written", done.stdout)


def test_a_read_only_cache_is_said(cache, record_fault):
    code = """
from helpers.store import stored
from helpers.errors import CacheError
try:
    stored("models/x", lambda to: None)
except CacheError as error:
    print(error)
"""
    done = on_small_disk("ro", code, cache)
    assert done.returncode == 0, done.stderr
    assert "read-only" in done.stdout
    record_fault("cache folder read-only and empty", done.stdout)


def test_a_read_only_cache_that_is_warm_is_used(cache):
    code = f"""
import subprocess
from helpers.store import stored
entry = stored("models/x", lambda to: (to / "weights").write_bytes(b"w"))
subprocess.check_call(["mount", "-o", "remount,ro", {str(cache)!r}])
assert stored("models/x", None) == entry
"""
    done = on_small_disk("size=1m", code, cache)
    assert done.returncode == 0, done.stderr


def test_a_file_where_the_cache_should_be(tmp_path, monkeypatch, record_fault):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(store.CACHE_VARIABLE, str(tmp_path / "file"))
    with pytest.raises(CacheError, match="cannot be used") as caught:
        store.stored("models/x", weights)
    record_fault("LEARN_TRANSFORMERS_CACHE names a file", caught.value)


def test_small_files_are_written_whole(cache):
    path = cache / "hub" / "marker"
    store.write_text(path, json.dumps([1]))
    assert json.loads(path.read_text()) == [1]
    assert [p.name for p in path.parent.iterdir()] == ["marker"]
