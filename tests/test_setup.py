"""Proves that set-up does what is needed, once, and that what can go wrong with it ends
in one clear line: old Python, no disk, no network, a dead proxy, Ctrl-C.

Most tests run bootstrap.py whole, in a copy of the project whose path is an awkward
one, on a stand-in for uv that makes a stand-in for an environment: nothing is
downloaded and a set-up takes a third of a second.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from waiting import wait_for

from book import bootstrap

ROOT = Path(__file__).resolve().parent.parent
BOOTSTRAP = ROOT / "notebooks" / "book" / "bootstrap.py"
RANGE = "3.11 to 3.14"
posix = pytest.mark.skipif(os.name == "nt", reason="the stand-ins are shell scripts")

# Notes how it was called. Environment variables say how it is to behave.
UV = """#!{python}
import json, os, pathlib, sys, time
words, behaviour = sys.argv[1:], os.environ.get("STAND_IN", "")
if "--version" in words:
    sys.exit(print("uv", "0.1.2" if "old" in behaviour else "0.13.9"))
with open(os.environ["STAND_IN_LOG"], "a") as file:
    print(json.dumps([words, dict(os.environ)]), file=file)
if words[0] == "venv":
    venv = pathlib.Path(words[-1])
    (venv / "bin").mkdir(parents=True, exist_ok=True)
    (venv / "lib/python3.11/site-packages/pip").mkdir(parents=True, exist_ok=True)
    (venv / "bin/uv").write_text(pathlib.Path(__file__).read_text())
    (venv / "bin/python").write_text(os.environ["STAND_IN_PYTHON"])
    for name in ("python", "uv"):
        (venv / "bin" / name).chmod(0o755)
elif "--dry-run" in words:
    if "--torch-backend" in words and "away" in behaviour:
        sys.exit("error: Failed to fetch: https://download.pytorch.org/whl/cpu/torch/")
    print(" + torch==2.13.0" + ("+cpu" if "local" in behaviour else ""))
elif "proxy" in behaviour:
    sys.exit("error: Request failed after 3 retries\\n  cause: client error (Connect)")
elif "slow" in behaviour:
    time.sleep(1)
elif "hangs" in behaviour:
    print("hangs", file=sys.stderr, flush=True)
    time.sleep(60)
"""
PYTHON = """#!/bin/sh
echo "start $*" >> "$STAND_IN_LOG.python"
case "$*:$STAND_IN" in
  *book.execute*:*slow*) sleep 1 ;;
  *book.execute*:*stubborn* | *pytest*:*stubborn*)
    # As a kernel does: a session of its own, and deaf to what is polite.
    setsid sh -c 'trap "" INT TERM; echo $$ >> "$STAND_IN_LOG.pid"; sleep 60' ;;
esac
echo "end $*" >> "$STAND_IN_LOG.python"
"""


class Project:
    """A copy of what set-up reads, in a folder of its own, on the stand-in for uv."""

    def __init__(self, folder, home):
        self.folder, self.log = folder, home / "calls"
        # A shell's background job ignores Ctrl-C, and so would whatever it starts.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for name in ("constraints.txt", "transformers_requirements.txt"):
            (folder / "tests").mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        shutil.copy(ROOT / "tests" / "requirements.txt", folder / "tests")
        (folder / "notebooks" / "book").mkdir(parents=True)
        service = Path("notebooks") / "service_requirements.txt"
        shutil.copy(ROOT / service, folder / service)
        for name in ("bootstrap.py", "jupyter_config.py"):
            shutil.copy(BOOTSTRAP.with_name(name), folder / "notebooks" / "book")
        programs = home / "programs"
        programs.mkdir()
        (programs / "uv").write_text(UV.replace("{python}", sys.executable))
        (programs / "uv").chmod(0o755)
        keep = ("PIP_", "UV_", "STAND_IN", "PYTHON")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(keep)} | {
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PIP_CONFIG_FILE": os.devnull,
            "STAND_IN_LOG": str(self.log),
            "STAND_IN_PYTHON": PYTHON,
        }

    def start(self, *words, **env):
        return subprocess.Popen(
            [sys.executable, self.folder / "notebooks/book/bootstrap.py", *words],
            env=self.env | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words, **env):
        process = self.start(*words, **env)
        out, error = process.communicate(timeout=60)
        return SimpleNamespace(out=out, error=error, status=process.returncode)

    def calls(self):
        """Return what uv was called with since the last time: (words, environment)."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return [json.loads(line) for line in lines]

    def python(self):
        """Return what the environment's Python was called with."""
        return Path(f"{self.log}.python").read_text().splitlines()


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path / "a b äö #1 100%", tmp_path)


def one_line(text, name="setup"):
    assert text.startswith(f"{name}: "), text
    assert text.count("\n") == 1, text
    return text


# --- before anything is made ------------------------------------------------------


def test_an_old_python_is_said(monkeypatch, capsys, record_fault):
    monkeypatch.setattr(bootstrap.sys, "version_info", (3, 10, 18))
    with pytest.raises(SystemExit) as caught:
        bootstrap.check_python()
    assert caught.value.code == 1
    said = one_line(capsys.readouterr().err)
    assert "this is Python 3.10" in said
    assert RANGE in said
    record_fault("Python 3.10", said)


@pytest.mark.parametrize("minor", [11, 12, 13, 14, 15])
def test_a_new_python_is_taken(monkeypatch, capsys, minor):
    monkeypatch.setattr(bootstrap.sys, "version_info", (3, minor, 0))
    bootstrap.check_python()
    assert bool(capsys.readouterr().out) == (minor > 14)


@pytest.mark.parametrize("name", ["python3.6", "python3.8", "python3.10"])
def test_a_real_old_python_says_so_without_traceback(name):
    python = shutil.which(name)
    if not python or subprocess.call([python, "--version"], stderr=subprocess.DEVNULL):
        pytest.skip(f"no {name} on this machine")
    done = subprocess.run(
        [python, BOOTSTRAP, "setup"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert one_line(done.stderr).startswith("setup: this is Python 3.")


def test_a_full_disk_is_said_before_anything_is_made(
    monkeypatch, capsys, tmp_path, record_fault
):
    usage = SimpleNamespace(free=1.2e9)
    monkeypatch.setattr(bootstrap.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(SystemExit):
        bootstrap.check_disk(str(tmp_path / "venv"))
    said = one_line(capsys.readouterr().err)
    assert "1.2 GB are free" in said
    record_fault("no space for the first install", said)


# --- what is done, and when it is done again --------------------------------------


@posix
def test_a_first_set_up_installs_and_a_second_does_nothing(project):
    first = project.run("setup")
    assert (first.status, first.error) == (0, "")
    assert re.search(r"^setup: making \.venv \.\.\. \d+ s$", first.out, re.MULTILINE)
    assert re.search(r"installing the packages \.\.\. \d+ s$", first.out, re.MULTILINE)
    made, *_, installed = (words for words, _ in project.calls())
    assert {"venv", "--relocatable", "--clear"} <= set(made)
    assert installed[installed.index("--constraint") + 1] == "constraints.txt"
    assert "start -m helpers" in project.python()
    assert (project.folder / ".venv/etc/jupyter/jupyter_config.py").exists()
    start = time.monotonic()
    second = project.run("setup")
    assert time.monotonic() - start < 3  # a fifth of that on a calm machine
    assert (second.status, second.out, second.error) == (0, "", "")
    assert project.calls() == []


@posix
@pytest.mark.parametrize(
    ("change", "from_nothing"),
    [
        (
            lambda folder: (folder / "constraints.txt").write_text("torch==2.13.0"),
            False,
        ),
        (lambda folder: (folder / ".venv/ready").write_text("3.9.1\nx\n"), True),
        (lambda folder: (folder / ".venv/ready").unlink(), True),
        (lambda folder: (folder / ".venv/bin/python").unlink(), True),
        (
            lambda folder: next((folder / ".venv/lib").glob("*/*/pip")).rmdir(),
            True,
        ),
    ],
    ids=["requirements", "another Python", "interrupted", "no Python", "no pip"],
)
def test_the_environment_is_made_again_when_it_has_to_be(project, change, from_nothing):
    project.run("setup")
    project.calls()
    change(project.folder)
    assert project.run("setup").status == 0
    words = [words for words, _ in project.calls()]
    assert any("--clear" in called for called in words) == from_nothing
    assert "--constraint" in words[-1]
    assert project.run("setup").out == ""


@posix
def test_other_ends_of_lines_are_no_change(project):
    project.run("setup")
    lock = project.folder / "constraints.txt"
    lock.write_bytes(lock.read_bytes().replace(b"\n", b"\r\n"))
    assert project.run("setup").out == ""


@posix
def test_a_moved_folder_goes_on(project):
    project.run("setup")
    project.calls()
    project.folder = project.folder.rename(project.folder.with_name("moved"))
    assert project.run("lint").status == 0
    assert project.calls() == []
    assert "start -m ruff check ." in project.python()  # no script of .venv/bin


@posix
def test_programs_of_an_environment_find_their_python_after_a_move(tmp_path):
    """The real uv: what `--relocatable` promises, on a package of one line."""
    uv = [sys.executable, "-m", "uv", "--no-cache"]
    wheel, info = tmp_path / "here-1-py3-none-any.whl", "here-1.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("here.py", "import sys\ndef main(): print(sys.prefix)\n")
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: here\nVersion: 1\n"
        )
        archive.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(
            f"{info}/entry_points.txt", "[console_scripts]\nhere = here:main\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    old, new = tmp_path / "old ä", tmp_path / "new #%"
    base = getattr(sys, "_base_executable", sys.executable)
    form = ["--quiet", "--no-project", "--relocatable", "--python", base]
    subprocess.check_call([*uv, "venv", *form, old])
    subprocess.check_call(
        [
            *uv,
            "pip",
            "install",
            "-q",
            "--no-index",
            "--python",
            old / "bin/python",
            wheel,
        ]
    )
    old.rename(new)
    said = subprocess.check_output([new / "bin" / "here"], text=True)
    assert said.strip() == str(new)


@posix
@pytest.mark.parametrize(
    ("versions", "how", "again"),
    [
        ("lowest", ["--resolution", "lowest-direct"], False),
        ("newest", ["--upgrade"], True),
    ],
)
def test_either_end_of_the_ranges_has_its_own_environment(
    project, versions, how, again
):
    """The lock is not asked, .venv is not touched; the newest is looked for anew."""
    done = project.run("--versions", versions, "smoke")
    assert (done.status, done.error) == (0, "")
    *_, (installed, _) = project.calls()
    assert " ".join(how) in " ".join(installed)
    assert "--constraint" not in installed
    assert (project.folder / "build" / f"venv-{versions}" / "ready").exists()
    assert not (project.folder / ".venv").exists()
    (ran,) = [line for line in project.python() if "start -m pytest" in line]
    assert ran.endswith("--nbval-lax"), "what is stored is of the locked versions"
    project.run("--versions", versions, "smoke")
    assert bool(project.calls()) == again


def test_the_lock_alone_compares_what_is_stored():
    (_, words), *_ = bootstrap.steps("smoke", [])
    assert "--nbval-lax" not in words


def test_nothing_else_holds_uv_to_a_version():
    """uv reads pyproject.toml when it installs, not only when it makes the lock."""
    assert "[tool.uv]" not in (ROOT / "pyproject.toml").read_text("utf-8")


# --- torch without the libraries for GPUs -----------------------------------------


@posix
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have one build")
@pytest.mark.parametrize(
    ("behaviour", "backend", "said"),
    [
        ("", True, ""),
        ("local, away", False, ""),
        ("away", False, "3 GB for NVIDIA's GPUs"),
    ],
    ids=["PyTorch's index", "the user's own folder", "PyPI alone"],
)
def test_torch_is_a_build_for_the_cpu_where_one_can_be_had(
    project, behaviour, backend, said
):
    done = project.run("setup", STAND_IN=behaviour)
    assert done.status == 0
    assert said in done.out
    assert ("NVIDIA" in done.out) == bool(said)
    *asked, (installed, _) = project.calls()
    assert ("--torch-backend" in installed) == backend
    for words, env in asked:
        if "--torch-backend" in words:  # a place that is away is noticed soon
            assert (env["UV_HTTP_TIMEOUT"], env["UV_HTTP_RETRIES"]) == ("5", "0")


# --- the user's own settings ------------------------------------------------------


@posix
def test_settings_for_other_projects_do_not_reach_pip_and_uv(project):
    project.run(
        "setup",
        PIP_USER="1",
        PIP_TARGET="/elsewhere",
        PIP_REQUIRE_HASHES="1",
        UV_SYSTEM_PYTHON="1",
        UV_PYTHON="3.8",
        UV_EXCLUDE_NEWER="2020-01-01",
        PYTHONPATH="/elsewhere",
        PYTHONUSERBASE="/elsewhere",
    )
    for _, env in project.calls():
        for name in ("PIP_USER", "PIP_TARGET", "PIP_REQUIRE_HASHES", "PYTHONPATH"):
            assert name not in env
        for name in ("UV_SYSTEM_PYTHON", "UV_PYTHON", "UV_EXCLUDE_NEWER"):
            assert name not in env
        assert "PYTHONUSERBASE" not in env


@posix
def test_the_way_to_packages_in_a_pip_conf_holds_for_uv(project, tmp_path):
    (tmp_path / "pip.conf").write_text(
        "[global]\nuser = true\ntarget = /elsewhere\nproxy = http://proxy:1\n"
        "index-url = https://packages.example/simple\n"
        "find-links =\n  /wheels\n  /more\n[install]\nextra-index-url = https://b.example\n"
    )
    project.run("setup", PIP_CONFIG_FILE=str(tmp_path / "pip.conf"))
    env = project.calls()[-1][1]
    assert env["UV_DEFAULT_INDEX"] == "https://packages.example/simple"
    # In pip's order: uv lets the first of equals win.
    assert env["UV_INDEX"] == "https://packages.example/simple https://b.example"
    assert env["UV_FIND_LINKS"] == "/wheels,/more"
    assert env["HTTPS_PROXY"] == "http://proxy:1"
    assert env["PIP_CONFIG_FILE"] == os.devnull
    assert "PIP_TARGET" not in env


@posix
def test_what_uv_was_told_comes_before_what_pip_was_told(project):
    project.run("setup", UV_DEFAULT_INDEX="https://a", PIP_INDEX_URL="https://b")
    assert project.calls()[-1][1]["UV_DEFAULT_INDEX"] == "https://a"


def test_an_unknown_user_without_a_home_gets_both(monkeypatch, tmp_path):
    def unknown():
        raise KeyError("uid not found: 12345")

    monkeypatch.setattr(bootstrap, "ROOT", str(tmp_path))
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    monkeypatch.setattr("getpass.getuser", unknown)
    for name in ("HOME", "LOGNAME"):
        monkeypatch.setenv(name, "")  # so that it is put back
    bootstrap.give_a_home()
    assert os.environ["HOME"] == str(tmp_path / "build" / "home")
    assert os.path.isdir(os.environ["HOME"])
    assert os.environ["LOGNAME"]


def test_a_read_only_home_is_replaced(monkeypatch, tmp_path):
    """Programs that must write into a home get one; the models' cache is elsewhere."""
    monkeypatch.setattr(bootstrap, "ROOT", str(tmp_path))
    monkeypatch.setattr("os.access", lambda path, mode: path == str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    bootstrap.give_a_home()
    assert os.environ["HOME"] == str(tmp_path / "build" / "home")


@posix
def test_a_terminal_of_ascii_and_a_path_that_is_not(project):
    plain = {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = project.run("setup", **plain)
    assert (done.status, done.error) == (0, "")
    failed = project.run("run", **plain, STAND_IN="proxy")
    assert failed.status == 0  # uv is not asked again


# --- failures in one line ---------------------------------------------------------


@pytest.mark.parametrize(
    ("printed", "words"),
    [
        ("NewConnectionError: [Errno 101] Network is unreachable", "no network"),
        ("Temporary failure in name resolution", "no network"),
        ("error: Request failed after 3 retries\n  cause: dns error", "no network"),
        ("ERROR: [Errno 28] No space left on device", "no space on disk"),
        ("error: failed to write: os error 28", "no space on disk"),
        ("The virtual environment was not created: ensurepip", "python3-venv"),
        ("ERROR: No matching distribution found for x", "No matching distribution"),
    ],
)
def test_what_pip_and_uv_print_becomes_a_sentence(printed, words):
    assert words in bootstrap.explain(f"Collecting x\n{printed}\nmore", {})


@posix
def test_a_dead_proxy_is_named_without_its_password(project, record_fault):
    proxy = "http://me:secret@127.0.0.1:9"
    done = project.run("setup", HTTPS_PROXY=proxy, STAND_IN="proxy")
    assert done.status == 1
    said = one_line(done.error)
    assert "127.0.0.1:9 (HTTPS_PROXY)" in said
    assert "secret" not in said
    assert "no network" not in said
    assert not (project.folder / ".venv" / "ready").exists()
    record_fault("a dead proxy at set-up", said)


@pytest.mark.model  # slow: pip is installed and tries more than once
def test_a_first_install_without_network_says_so(project, record_fault):
    """The real thing: no network, no wheels at hand, and too old a uv, which is left
    alone: Python's own venv and pip are asked."""
    namespace = ["unshare", "--map-root-user", "--net"]
    if shutil.which("unshare") is None or subprocess.call([*namespace, "true"]):
        pytest.skip("needs Linux's network namespaces")
    done = subprocess.run(
        [*namespace, sys.executable, project.folder / "notebooks/book/bootstrap.py"]
        + ["setup"],
        env=project.env | {"PIP_RETRIES": "1", "STAND_IN": "old"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    assert "installing uv failed: no network" in one_line(done.stderr)
    assert project.calls() == []
    assert not (project.folder / ".venv" / "ready").exists()
    record_fault("first install without a network", done.stderr)


# --- two at once ------------------------------------------------------------------


@posix
def test_a_second_set_up_waits_for_the_first(project):
    both = [project.start("setup", STAND_IN="slow") for _ in range(2)]
    said = sorted((process.communicate(timeout=60)[0] for process in both), key=len)
    assert [process.returncode for process in both] == [0, 0]
    assert said[0] == "setup: another one is at work in this folder; waiting for it.\n"
    calls = [words for words, _ in project.calls() if "--dry-run" not in words]
    assert sum("--constraint" in words for words in calls) == 1


@posix
def test_two_runs_take_turns(project):
    project.run("setup")
    both = [project.start("run", STAND_IN="slow") for _ in range(2)]
    said = [process.communicate(timeout=60)[0] for process in both]
    assert min(map(len, said)) == 0
    assert any("run: another one is at work" in text for text in said)
    steps = [line for line in project.python() if "book.execute" in line]
    assert [line.split()[0] for line in steps] == ["start", "end"] * 2


@posix
def test_a_lock_whose_owner_was_killed_is_free(project):
    first = project.start("setup", STAND_IN="hangs")
    wait_for(lambda: "hangs" in read(project.folder / "build" / "setup.log"))
    family = psutil.Process(first.pid).children(recursive=True)
    first.kill()
    first.communicate()
    for process in family:
        process.kill()
    done = project.run("setup")
    assert done.status == 0
    assert "waiting" not in done.out


# --- Ctrl-C -----------------------------------------------------------------------


def read(path):
    return Path(path).read_text("utf-8") if Path(path).exists() else ""


def ended(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


# Each waits two seconds for what does not end politely: `make check` has one of them.
STOPS = [
    pytest.param(signal.SIGINT, "run"),
    pytest.param(signal.SIGTERM, "test", marks=pytest.mark.model),
    pytest.param(signal.SIGHUP, "run", marks=pytest.mark.model),
]


@posix
@pytest.mark.parametrize(("sign", "command"), STOPS)
def test_ctrl_c_ends_a_command_and_what_it_started(
    project, record_fault, sign, command
):
    project.run("setup")
    process = project.start(command, STAND_IN="stubborn")
    wait_for(lambda: read(f"{project.log}.pid"))
    pid = int(read(f"{project.log}.pid"))
    start = time.monotonic()
    process.send_signal(sign)
    out, error = process.communicate(timeout=30)
    assert time.monotonic() - start < 5
    assert process.returncode == 130
    assert out == ""
    assert "interrupted" in one_line(error, command)
    assert ended(pid)
    assert project.run(command).status == 0
    record_fault(f"{sign.name} in `make {command}`", error)


@posix
def test_ctrl_c_while_packages_are_installed_leaves_no_half(project):
    process = project.start("setup", STAND_IN="hangs")
    wait_for(lambda: "hangs" in read(project.folder / "build" / "setup.log"))
    family = [child.pid for child in psutil.Process(process.pid).children(True)]
    assert family
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert time.monotonic() - start < 5
    assert "interrupted" in one_line(error.removeprefix("\n"))
    assert all(map(ended, family))
    assert not (project.folder / ".venv" / "ready").exists()
    project.calls()
    assert project.run("setup").status == 0
    assert any("--clear" in words for words, _ in project.calls())


# --- with make and without --------------------------------------------------------


def test_every_target_is_a_command_with_a_line_of_help():
    said = subprocess.check_output([sys.executable, BOOTSTRAP], text=True)
    for command in bootstrap.COMMANDS:
        assert re.search(rf"^{command} +\w", said, re.MULTILINE), command
    if shutil.which("make") is None:
        pytest.skip("no make on this machine")
    make = ["make", "--no-print-directory"]
    assert subprocess.check_output(make, cwd=ROOT, text=True) == said
    for command in bootstrap.COMMANDS:
        shown = subprocess.check_output([*make, "-n", command], cwd=ROOT, text=True)
        assert f"notebooks/book/bootstrap.py {command}" in shown


def test_make_says_that_there_is_no_such_python():
    if shutil.which("make") is None:
        pytest.skip("no make on this machine")
    done = subprocess.run(
        ["make", "setup", "PYTHON=python3.99"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "setup: no python3.99 found" in done.stderr


def test_windows_has_its_own_paths(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(bootstrap.os, "name", "nt")
        python = bootstrap.inside(".venv", "python")
    assert Path(python).parts[-2:] == ("Scripts", "python.exe")


def test_patterns_are_filled_in_without_a_shell(monkeypatch):
    monkeypatch.chdir(ROOT)
    words = [word for _, words in bootstrap.steps("lint", []) for word in words]
    assert "notebooks/01_pipelines.ipynb" in words
    assert "*.ipynb" in words  # ruff's own pattern
    assert not any("*" in word and "/" in word for word in words)


@pytest.mark.parametrize("name", ["scores", "nightly"])
def test_the_sets_for_the_scores_are_told_to_the_scores_alone(name):
    """pytest knows no `--data`, and would stop the night with it."""
    told = [w for _, w in bootstrap.steps(name, ["--data", "sets"]) if "--data" in w]
    assert told == [["-m", "recipes", "score", "--data", "sets"]]


def test_what_follows_a_command_goes_to_its_last_step():
    *others, (_, last) = bootstrap.steps("check", ["-k", "lists"])
    assert last[-2:] == ["-k", "lists"]
    assert not any("-k" in words for _, words in others)


@posix
def test_files_are_named_from_where_the_user_is(project, monkeypatch):
    project.run("setup")
    (project.folder / "notebooks" / "own.ipynb").touch()
    monkeypatch.chdir(project.folder / "notebooks")
    project.run("run", "own.ipynb")
    path = project.folder / "notebooks" / "own.ipynb"
    assert f"start -m book.execute run {path}" in project.python()


def test_the_python_range_is_the_same_everywhere():
    oldest = "py{}{}".format(*bootstrap.OLDEST)
    assert f'target-version = "{oldest}"' in (ROOT / "pyproject.toml").read_text(
        "utf-8"
    )
    lock = (ROOT / "constraints.txt").read_text("utf-8")
    assert "python_full_version < '3.11'" not in lock
    assert bootstrap.RANGE == RANGE


def test_the_lock_covers_the_ranges():
    locked = {
        re.split(r"[=; ]", line)[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
        if line and not line.lstrip().startswith("#")
    }
    for name in [*bootstrap.READERS, "tests/requirements.txt"]:
        for line in (ROOT / name).read_text("utf-8").splitlines():
            if line and not line.startswith(("#", "-")):
                assert re.split(r"[><=;[]", line)[0].strip().lower() in locked, line
