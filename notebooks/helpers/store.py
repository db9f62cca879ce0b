"""A cache folder whose entries are whole or absent.

An entry is a folder that is built aside, described by a manifest (size and sha256
of every file) and moved into place in one step, under a lock. Whoever opens it has
the manifest checked first, so that a damaged or cut file is noticed and built anew
instead of being read. Several users may share one folder: what one wrote the others
read, and what one may not read is never taken for damaged.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import platformdirs
from filelock import FileLock

from .errors import CacheError

CACHE_VARIABLE = "LEARN_TRANSFORMERS_CACHE"
MANIFEST = "manifest.json"


def cache_folder() -> Path:
    """Return the folder for bases and models: LEARN_TRANSFORMERS_CACHE or the
    user's cache folder. It need not exist yet."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen or platformdirs.user_cache_dir("learn-transformers")).absolute()


def sha256(path: Path) -> str:
    """Return the sha256 of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def damage(entry: Path, manifest: Path | None = None) -> str | None:
    """Return what is wrong with an entry, in words, or None where it is whole.

    Raises CacheError where a file of it may not be read: that is no damage.
    """
    try:
        manifest = manifest or entry / MANIFEST
        files = json.loads(manifest.read_text("utf-8"))["files"]
        for name, (size, digest) in files.items():
            if (entry / name).stat().st_size != size:
                return f"{name} has not the size that it was stored with"
            if sha256(entry / name) != digest:
                return f"{name} is not the file that was stored"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except PermissionError as error:
        raise CacheError(
            f"The cache folder {cache_folder()} cannot be used: there is no permission "
            f"to read {error.filename}, which another user wrote. Ask that user for "
            f"`chmod -R a+rX` on the folder, or set {CACHE_VARIABLE} to a folder of "
            "your own, and run the cell again."
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"its manifest cannot be read ({type(error).__name__})"
    return None


def described(folder: Path) -> str:
    """Return the manifest of a folder: each file's size in bytes and sha256."""
    files = {
        path.relative_to(folder).as_posix(): [path.stat().st_size, sha256(path)]
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    return json.dumps({"files": files}, indent=1)


def stored(key: str, build: Callable[[Path], None]) -> Path:
    """Return the cache entry `key`, a folder; `build(folder)` fills it if needed.

    `build` runs at most once at a time on one machine, in an empty folder aside.
    If it fails or is interrupted, nothing of it stays. Raises CacheError where the
    cache cannot be written, and lets the errors of `build` through.
    """
    root = cache_folder()
    entry = root / key
    if entry.is_dir() and damage(entry) is None:
        return entry
    try:
        root.mkdir(parents=True, exist_ok=True)
        locks, aside = root / "locks", root / "aside"
        for folder in (locks, aside, entry.parent):
            if not folder.is_dir():
                folder.mkdir(exist_ok=True)
                _share(folder)
        # Writable by all, so that another user can wait for it too.
        with FileLock(locks / f"{key.replace('/', '-')}.lock", mode=0o666):
            _build(entry, build, aside)
    except OSError as error:
        raise cache_error(error) from error
    except Exception as error:
        # safetensors is written in Rust, and its error for a full disk is its own.
        if "No space left" not in str(error):
            raise
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise cache_error(full) from error
    return entry


def _build(entry: Path, build: Callable[[Path], None], aside: Path) -> None:
    """Put a whole entry in place; the caller holds the entry's lock."""
    # What a killed process left aside: the lock says that nobody works on it.
    for leftover in aside.glob(f"{entry.name}.*"):
        shutil.rmtree(leftover, ignore_errors=True)
    if entry.exists():
        wrong = damage(entry)
        if wrong is None:  # another process built it while this one waited
            return
        print(f"The cached {entry.name} is damaged: {wrong}. It is made anew.")
        shutil.rmtree(entry)
    work = Path(tempfile.mkdtemp(dir=aside, prefix=f"{entry.name}."))
    try:
        build(work)
        (work / MANIFEST).write_text(described(work), "utf-8")
        for path in [work, *work.rglob("*")]:
            _share(path)
        work.rename(entry)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _share(path: Path) -> None:
    """Let others read a file or folder of the cache, and write where they may write
    into the cache folder itself."""
    mode = stat.S_IMODE(cache_folder().stat().st_mode) | 0o755
    path.chmod(mode if path.is_dir() else mode & 0o666)


def cache_error(error: OSError) -> CacheError:
    """Say in one sentence why the cache cannot be written and what to do."""
    why = {
        errno.ENOSPC: "the disk is full",
        errno.EDQUOT: "the disk quota is used up",
        errno.EROFS: "the disk is read-only",
        errno.EACCES: "there is no permission to write",
        errno.EPERM: "there is no permission to write",
    }.get(error.errno, error.strerror or str(error))
    return CacheError(
        f"The cache folder {cache_folder()} cannot be used: {why}. Nothing half-done "
        f"was kept. Make room or permission there, or set {CACHE_VARIABLE} to "
        "a folder with 2 GB of space, and run the cell again."
    )


def write_text(path: Path, text: str) -> None:
    """Write a small file of the cache so that it is whole or absent."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f"{path.name}.{os.getpid()}")
        aside.write_text(text, "utf-8")
        aside.replace(path)
    except OSError as error:
        raise cache_error(error) from error
