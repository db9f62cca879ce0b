"""Proves that a bad start ends in one clear line: old Python, no disk, no network."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from book import bootstrap

ROOT = Path(__file__).resolve().parent.parent
BOOTSTRAP = ROOT / "notebooks" / "book" / "bootstrap.py"


def one_line(capsys):
    error = capsys.readouterr().err
    assert error.startswith("setup: ")
    assert error.count("\n") == 1
    return error


def test_an_old_python_is_said(monkeypatch, capsys, seen):
    monkeypatch.setattr(bootstrap.sys, "version_info", (3, 9, 18))
    with pytest.raises(SystemExit) as caught:
        bootstrap.check_python()
    assert caught.value.code == 1
    said = one_line(capsys)
    assert "this is Python 3.9" in said
    assert "3.10 to 3.13" in said
    seen("Python 3.9", said)


@pytest.mark.parametrize("name", ["python3.6", "python3.8", "python3.9"])
def test_a_real_old_python_says_so_without_traceback(name):
    python = shutil.which(name)
    if not python or subprocess.call([python, "--version"], stderr=subprocess.DEVNULL):
        pytest.skip(f"no {name} on this machine")
    done = subprocess.run(
        [python, BOOTSTRAP], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("setup: this is Python 3.")
    assert "Traceback" not in done.stderr


def test_a_full_disk_is_said_before_anything_is_made(
    monkeypatch, capsys, tmp_path, seen
):
    usage = SimpleNamespace(free=1.2e9)
    monkeypatch.setattr(bootstrap.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(SystemExit):
        bootstrap.check_disk(str(tmp_path / "venv"))
    said = one_line(capsys)
    assert "1.2 GB are free" in said
    seen("no space for the first install", said)


@pytest.mark.parametrize(
    ("printed", "words"),
    [
        ("NewConnectionError: [Errno 101] Network is unreachable", "no network"),
        ("Temporary failure in name resolution", "no network"),
        ("ERROR: [Errno 28] No space left on device", "no space on disk"),
        ("The virtual environment was not created: ensurepip", "python3-venv"),
        ("ERROR: No matching distribution found for x", "No matching distribution"),
    ],
)
def test_what_pip_prints_becomes_a_sentence(printed, words):
    assert words in bootstrap.explain(f"Collecting x\n{printed}\nmore")


def test_a_first_install_without_network_says_so(tmp_path, seen):
    """The real thing: a copy of the repository, no network, no wheels at hand."""
    namespace = ["unshare", "--map-root-user", "--net"]
    if shutil.which("unshare") is None or subprocess.call([*namespace, "true"]):
        pytest.skip("needs Linux's network namespaces")
    for name in ("constraints.txt", "transformers_requirements.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "requirements.txt", tmp_path / "tests")
    target = tmp_path / "notebooks" / "book"
    target.mkdir(parents=True)
    shutil.copy(BOOTSTRAP, target)
    keep = {k: v for k, v in os.environ.items() if not k.startswith("PIP_")}
    done = subprocess.run(
        [*namespace, sys.executable, target / "bootstrap.py"],
        env=keep | {"PIP_CONFIG_FILE": os.devnull, "PIP_RETRIES": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    assert "no network" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / ".venv" / "ready").exists()
    seen("first install without a network", done.stderr)


def test_the_second_setup_does_nothing():
    stamp = ROOT / ".venv" / "ready"
    if not stamp.exists() or stamp.read_text() != bootstrap.fingerprint():
        pytest.skip("this is not an environment that `make setup` has made")
    start_log = (ROOT / "build" / "setup.log").stat().st_mtime
    done = subprocess.run(
        ["make", "--no-print-directory", "setup"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert (ROOT / "build" / "setup.log").stat().st_mtime == start_log


def test_every_target_has_a_line_of_help():
    import re

    text = (ROOT / "Makefile").read_text("utf-8")
    phony = re.search(r"\.PHONY: (.+)", text)[1].split()
    said = subprocess.check_output(
        ["make", "--no-print-directory"], cwd=ROOT, text=True
    )
    for target in phony:
        assert re.search(rf"^make {target} +\w", said, re.MULTILINE), target


def test_the_lock_covers_the_ranges():
    import re

    locked = {
        re.split(r"[=; ]", line)[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
        if line and not line.lstrip().startswith("#")
    }
    for name in ("transformers_requirements.txt", "tests/requirements.txt"):
        for line in (ROOT / name).read_text("utf-8").splitlines():
            if line and not line.startswith(("#", "-")):
                assert re.split(r"[><=;]", line)[0].strip().lower() in locked, line
