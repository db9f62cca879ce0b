"""Proves that several users can share one cache folder, or each a copy of it.

What one wrote the others read; what one may not read is not called damaged, and nothing
of another user's is deleted. Where the suite runs as root, a second user is a real one.
"""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import store
from helpers.catalogue import NOTEBOOKS
from helpers.errors import CacheError

NOBODY = 65534
AS_NOBODY = f"""
import os
from helpers.errors import CacheError
from helpers.store import stored
os.setgid({NOBODY})
os.setuid({NOBODY})
try:
    print(stored("models/x", lambda to: (to / "weights").write_bytes(b"mine")))
except CacheError as error:
    print(error)
"""
two_users = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root"
)
posix = pytest.mark.skipif(os.name != "posix", reason="Windows has no such modes")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache folder that everybody can reach, with one entry in it."""
    for folder in [tmp_path, *tmp_path.parents][:3]:
        folder.chmod(0o755)
    monkeypatch.setenv(store.CACHE_VARIABLE, str(tmp_path / "cache"))
    store.stored("models/x", private)
    return tmp_path / "cache"


def private(folder: Path) -> None:
    """Write weights as safetensors does, for their owner alone."""
    (folder / "sub").mkdir(mode=0o700)
    for path in (folder / "weights", folder / "sub" / "config"):
        path.write_bytes(b"first user's")
        path.chmod(0o600)


def second_user() -> str:
    """Return what another user gets or is told."""
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY],
        cwd=NOTEBOOKS,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def modes(folder: Path) -> set[str]:
    """Return the modes of all files and folders, as ls shows them."""
    return {stat.filemode(path.stat().st_mode) for path in [folder, *folder.rglob("*")]}


@posix
def test_what_is_written_can_be_read_by_all(cache):
    assert modes(cache / "models") == {"drwxr-xr-x", "-rw-r--r--"}
    (lock,) = (cache / "locks").iterdir()
    assert stat.filemode(lock.stat().st_mode) == "-rw-rw-rw-"


@posix
def test_a_folder_for_a_group_stays_one(cache):
    cache.chmod(0o2775)
    entry = store.stored("other/y", private)
    assert modes(entry) == {"drwxrwsr-x", "-rw-rw-r--"}
    assert modes(entry.parent) == {"drwxrwsr-x", "-rw-rw-r--"}


@two_users
def test_another_user_reads_it(cache):
    assert second_user().strip() == str(cache / "models" / "x")


@two_users
def test_another_user_waits_for_the_lock_and_builds(cache):
    cache.chmod(0o777)
    for name in ("models", "aside", "locks"):
        (cache / name).chmod(0o777)
    shutil.rmtree(cache / "models" / "x")
    assert second_user().strip() == str(cache / "models" / "x")
    assert (cache / "models" / "x" / "weights").read_bytes() == b"mine"


@two_users
def test_what_another_may_not_read_is_left_alone(cache, seen):
    weights = cache / "models" / "x" / "weights"
    weights.chmod(0o600)
    for name in ("", "models", "aside", "locks"):
        (cache / name).chmod(0o777)
    said = second_user()
    assert "no permission to read" in said
    assert str(weights) in said
    assert "damaged" not in said
    assert weights.read_bytes() == b"first user's"
    seen("another user's weights, which they alone may read", said)


@two_users
def test_damage_in_a_folder_of_another_is_said(cache, seen):
    (cache / "models" / "x" / "weights").write_bytes(b"other")
    said = second_user()
    assert "no permission to write" in said
    assert (cache / "models" / "x" / "weights").read_bytes() == b"other"
    seen("a damaged model in a cache folder that another user owns", said)


def test_unreadable_is_not_damaged(cache, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(store, "sha256", refuse)
    with pytest.raises(CacheError, match="no permission to read .*x"):
        store.stored("models/x", private)
