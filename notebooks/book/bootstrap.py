"""Do what the series can do, on any system: set up, run, test, open in JupyterLab.

The Makefile calls this; without make (on Windows, say) call it yourself:
`python notebooks/book/bootstrap.py run`. Without a command it lists them. It uses
the standard library alone, and syntax that a Python 3.6 can read, so that it can
say that it is too old. Usage:
bootstrap.py [--versions locked|lowest|newest] [--venv FOLDER] [COMMAND [ARGUMENT ...]]
"""

import argparse
import ast
import contextlib
import glob
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
REQUIREMENTS = os.path.join("tests", "requirements.txt")  # includes the readers' ones
READERS = ["transformers_requirements.txt"]  # and for chapter 13:
READERS += [os.path.join("notebooks", "service_requirements.txt")]
LOCK = "constraints.txt"
FOR_LOCK = os.path.join("tests", "lock_requirements.txt")  # what it holds besides
OLDEST, NEWEST = (3, 11), (3, 14)
RANGE = "{}.{} to {}.{}".format(*(OLDEST + NEWEST))
OLDEST_UV = (0, 9)  # the first that knows all the options used here
DISK_GB = 5  # packages 2.5 GB, models 1.7 GB, and room to unpack
LOG = os.path.join("build", "setup.log")

# Which versions of the packages: the environment's folder, and how uv chooses them.
VERSIONS = {
    "locked": (".venv", ["--constraint", LOCK]),
    "lowest": (
        os.path.join("build", "venv-lowest"),
        ["--resolution", "lowest-direct", "--only-binary", ":all:"],
    ),
    "newest": (os.path.join("build", "venv-newest"), ["--upgrade"]),
}

# A step of a command: the folder to be in and the arguments of .venv's Python.
# Two workers; tests/tiers.py says what stays on one of them, and what each tier is.
PYTEST = ["-m", "pytest", "-n", "2", "--dist", "loadscope", "--no-loadscope-reorder"]
LINT = [
    (".", ["-m", "ruff", "check", "."]),
    (".", ["-m", "ruff", "format", "--check", "--exclude", "*.ipynb", "."]),
    (
        ".",
        ["-m", "ruff", "format", "--check", "--line-length", "79"]
        + ["notebooks/*.ipynb", "notebooks/*/*.ipynb"],
    ),
    (".", ["-m", "codespell_lib"]),
]
LIGHT = ["tests", "-m", "not model and not nightly"]
SCORES = ("notebooks", ["-m", "recipes", "score"])
SMOKE_AT_BOTH_ENDS = [
    (
        ".",
        [os.path.join("notebooks", "book", "bootstrap.py"), "--versions", end, "smoke"],
    )
    for end in ("lowest", "newest")
]
RENEW = ["-m", "uv", "pip", "compile", "--quiet", "--universal", "--no-annotate"]
RENEW += ["--python-version", "{}.{}".format(*OLDEST), "--output-file", LOCK]
RENEW += ["--constraint", FOR_LOCK]
RENEW += ["--custom-compile-command", "make lock", "--upgrade", REQUIREMENTS]
# What each command does, its steps, and whether the models must be ready. What
# follows the command on the command line goes to the scores where they are a step,
# as `--data` does, and to the last step elsewhere.
COMMANDS = {
    "setup": (
        "make .venv with the exact packages and fetch the models; once",
        [],
        True,
    ),
    "run": (
        "execute every notebook and render the pages, build/book/index.html",
        [("notebooks", ["-m", "book.execute", "run"])],
        True,
    ),
    "lab": (
        "open the notebooks in JupyterLab",
        [(".", ["-m", "jupyterlab", "--notebook-dir", "notebooks"])],
        True,
    ),
    "check": (
        "lint, hygiene and unit tests, in a minute",
        LINT + [(".", PYTEST + LIGHT)],
        True,
    ),
    "smoke": (
        "every cell of every chapter, outputs compared",
        [(".", PYTEST + ["notebooks/[0-9]*.ipynb"])],
        True,
    ),
    "test": (
        "all tests but those of the night",
        [(".", [*PYTEST, "-m", "not nightly"])],
        True,
    ),
    "nightly": (
        "the scores, the chapters on the oldest and newest packages, the whole suite",
        [SCORES, *SMOKE_AT_BOTH_ENDS, (".", [*PYTEST, "-m", "nightly"])],
        True,
    ),
    "scores": ("measure every model card again (--data for more sets)", [SCORES], True),
    "bench": (
        "print what the series costs, as ratios",
        [("notebooks", ["-m", "book.bench"])],
        True,
    ),
    "lint": ("check code, notebooks and spelling", LINT, False),
    "update": (
        "execute the notebooks in place, outputs clean",
        [("notebooks", ["-m", "book.execute", "update"])],
        True,
    ),
    "lists": (
        "write the generated tables, badges and links",
        [("notebooks", ["-m", "book.sync_generated"])],
        False,
    ),
    "lock": ("renew constraints.txt from the ranges", [(".", RENEW)], False),
    "clean": ("delete .venv and build/; the cached models stay", [], False),
}
ALONE = ("run", "update")  # two at once in one folder would write the same files


def stop(message, name="setup", status=1):
    """End with one line on stderr."""
    sys.stderr.write(name + ": " + message + "\n")
    sys.exit(status)


def say(message, end="\n"):
    """Print at once, whatever the terminal can show."""
    print(message, end=end)
    sys.stdout.flush()


def check_python():
    """Stop where the Python that runs this is too old; note where it is newer."""
    have = sys.version_info[:2]
    if have < OLDEST:
        stop(
            f"this is Python {have[0]}.{have[1]}; the series needs {RANGE}. Install "
            "one and name it, as in `make setup PYTHON=python3.13`, or run "
            "`python3.13 notebooks/book/bootstrap.py setup`."
        )
    if have > NEWEST:
        say(f"setup: Python {have[0]}.{have[1]} is newer than the tested {RANGE}.")


def check_disk(venv):
    """Stop where the disk has too little room for a first install."""
    free = shutil.disk_usage(os.path.dirname(os.path.abspath(venv))).free / 1e9
    if not os.path.exists(venv) and free < DISK_GB:
        stop(f"no space on disk: {free:.1f} GB are free here, {DISK_GB} GB are needed.")


# --- running other programs -------------------------------------------------------


def descendants(pid):
    """Return the ids of a process's children, their children and so on."""
    parents = []
    if os.path.isdir("/proc/self"):
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                # The name of the program, in brackets, may hold anything.
                parents.append(
                    (int(name), int(file.read().rpartition(b")")[2].split()[1]))
                )
    else:
        table = subprocess.check_output(["ps", "-A", "-o", "pid=,ppid="])
        rows = (line.split() for line in table.splitlines())
        parents = [(int(child), int(parent)) for child, parent in rows]
    found = [pid]
    for one in found:  # grows while it is read
        found += [child for child, parent in parents if parent == one]
    return found[1:]


def end(process):
    """End a child with all its family: politely, and after two seconds for good."""
    if os.name == "nt":
        command = ["taskkill", "/T", "/F", "/PID", str(process.pid)]
        subprocess.call(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        process.wait()
        return
    family = [process.pid] + descendants(process.pid)
    for sign, seconds in ((signal.SIGTERM, 2), (signal.SIGKILL, 1)):
        for pid in family:
            with contextlib.suppress(OSError):
                os.kill(pid, sign)
        until = time.time() + seconds
        while time.time() < until and any(alive(pid) for pid in family):
            process.poll()  # lets go of a child that has ended
            time.sleep(0.05)


def alive(pid):
    """Return whether a process is there and at work."""
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat", "rb") as file:
            # A zombie has ended; whoever has to take notice of that is not we.
            return file.read().rpartition(b")")[2].split()[0] != b"Z"
    except FileNotFoundError:
        return not os.path.isdir("/proc/self")
    except OSError:
        return False


def call(command, **options):
    """Run a command and return its exit status; whatever ends the wait ends it too.

    It runs in a session of its own: Ctrl-C comes here alone, and one line is said.
    """
    if os.name == "nt":
        options["creationflags"] = subprocess.CREATE_NEW_PROCESS_GROUP
    else:
        options["start_new_session"] = True
    process = subprocess.Popen(command, **options)
    try:
        while True:
            # Without a limit, Ctrl-C would not be noticed on Windows.
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(0.2)
    except BaseException:
        for sign in (signal.SIGINT, signal.SIGTERM):
            signal.signal(sign, signal.SIG_IGN)
        end(process)
        raise


def call_in_front(command, **options):
    """Run a command that takes Ctrl-C itself, as JupyterLab does."""
    process = subprocess.Popen(command, **options)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return process.wait()


def open_log():
    """Open the log to add to it; a path may hold what no encoding knows."""
    return open(LOG, "a", encoding="utf-8", errors="backslashreplace")


def logged(command, doing, env, retry=()):
    """Run a command with its output in the log; stop with one line if it fails."""
    start = time.time()
    say(f"setup: {doing} ... ", end="")
    with open_log() as file:
        for attempt in (list(command), list(command) + list(retry)):
            file.write("\n$ {}\n".format(" ".join(attempt)))
            file.flush()
            position = file.tell()
            status = call(attempt, cwd=ROOT, stdout=file, stderr=file, env=env)
            if not status or not retry:
                break
    if status:
        say("failed")
        with open(LOG, encoding="utf-8", errors="replace") as file:
            file.seek(position)
            stop(f"{doing} failed: {explain(file.read(), env)} See {LOG}")
    say(f"{time.time() - start:.0f} s")


def explain(output, env=os.environ):
    """Say in a sentence why pip or uv failed, from what it printed."""
    network = "no network. The first install needs one; later runs do not."
    if proxy_of(env):
        network = (
            f"no answer through the proxy {proxy_of(env)}. Start it, or correct "
            "or unset that setting, and run this again."
        )
    signs = [
        ("no space on disk.", ["No space left", "Disk quota", "os error 28"]),
        (
            network,
            ["NewConnectionError", "name resolution", "ConnectTimeout", "ProxyError"]
            + ["Network is unreachable", "Connection refused", "Could not connect"]
            + ["Failed to establish", "NameResolutionError", "dns error"]
            + ["client error (Connect)", "error sending request", "Failed to fetch"],
        ),
        ("Python has no venv; on Debian: apt-get install python3-venv.", ["ensurepip"]),
    ]
    for sentence, texts in signs:
        if any(text in output for text in texts):
            return sentence
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")] or lines
    return (errors[-1] if errors else "no message.").rstrip(".") + "."


def proxy_of(env):
    """Return the proxy in use and where it is set, its password left out, or ""."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "PIP_PROXY"):
        if env.get(name):
            return "{} ({})".format(re.sub("//[^/@]*@", "//...@", env[name]), name)
    return ""


@contextlib.contextmanager
def alone(name):
    """Hold a lock of this folder, and wait for whoever has it. It is the operating
    system's, so that one left by a killed process is free."""
    with open(os.path.join("build", name + ".lock"), "a") as file:
        told = False
        while not grabbed(file):
            if not told:
                say(f"{name}: another one is at work in this folder; waiting for it.")
                told = True
            time.sleep(0.2)
        yield


def grabbed(file):
    """Return whether the lock on an open file could be had, without waiting."""
    try:
        if os.name == "nt":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        pass  # a disk that knows no locks: as if nobody else were there
    return True


# --- the user's own settings ------------------------------------------------------

# What pip may be told about the way to packages. All else that a user tells pip or
# uv (another folder, a user's install, no wheels) is for other projects than this.
PIP_NETWORK = ["index-url", "extra-index-url", "find-links", "no-index", "proxy"]
PIP_NETWORK += ["trusted-host", "cert", "client-cert", "timeout", "default-timeout"]
PIP_NETWORK += ["retries", "cache-dir", "keyring-provider"]
UV_NETWORK = ("UV_INDEX", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX", "UV_FIND_LINKS")
UV_NETWORK += ("UV_NO_INDEX", "UV_INSECURE_HOST", "UV_NATIVE_TLS", "UV_SYSTEM_CERTS")
UV_NETWORK += ("UV_HTTP_", "UV_REQUEST_TIMEOUT", "UV_KEYRING_PROVIDER", "UV_OFFLINE")
UV_NETWORK += ("UV_CACHE_DIR", "UV_LINK_MODE", "UV_CONCURRENT_", "UV_CONFIG_FILE")
# The same under uv's names: uv does not read pip's settings.
UV_NAMES = {
    "index-url": "UV_DEFAULT_INDEX",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "proxy": "HTTPS_PROXY",
    "timeout": "UV_HTTP_TIMEOUT",
}


def pip_settings(python):
    """Return the user's pip settings that are about the network, by option."""
    command = [python, "-m", "pip", "config", "list"]
    try:
        said = subprocess.check_output(command, stderr=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        said = b""  # no pip in there: what the environment says is all
    lines = said.decode("utf-8", "replace").splitlines()
    found = {}
    for section in ("global", "install"):
        for line in lines:
            key, _, value = line.partition("=")
            if key.startswith(section + "."):
                with contextlib.suppress(ValueError, SyntaxError):
                    found[key[len(section) + 1 :]] = ast.literal_eval(value)
    for name, value in os.environ.items():
        if name.startswith("PIP_") and value:
            found[name[4:].lower().replace("_", "-")] = value
    return {name: found[name] for name in PIP_NETWORK if name in found}


def install_environment(python):
    """Return the environment variables for pip and uv: the user's way to packages,
    and none of the user's other wishes."""
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PIP_", "UV_")) or name.startswith(UV_NETWORK)
    }
    for name in ("PYTHONHOME", "PYTHONPATH", "PYTHONUSERBASE", "VIRTUAL_ENV"):
        env.pop(name, None)
    found = pip_settings(python)
    for name, value in found.items():
        env["PIP_" + name.upper().replace("-", "_")] = value
        # Lists: pip's are parted by any white space, find-links of uv by commas.
        text = ("," if name == "find-links" else " ").join(value.split())
        if name in UV_NAMES:
            env.setdefault(UV_NAMES[name], text)
    if "extra-index-url" in found and "UV_INDEX" not in env:
        # pip takes the best of all places; uv asks these in turn, and would let a
        # place further down win where it is named as an extra one.
        first = found.get("index-url", "https://pypi.org/simple")
        env["UV_INDEX"] = " ".join([first] + found["extra-index-url"].split())
        env["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    env["PIP_CONFIG_FILE"] = os.devnull
    env["PIP_NO_INPUT"] = env["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    return env


def give_a_home():
    """Give programs a home folder and a user's name where the machine knows none,
    as for a number without a name in a container."""
    home = os.path.expanduser("~")
    if not (os.path.isabs(home) and os.access(home, os.W_OK)):
        os.environ["HOME"] = os.path.join(ROOT, "build", "home")
        os.makedirs(os.environ["HOME"], exist_ok=True)
    import getpass

    try:
        getpass.getuser()
    except (KeyError, OSError, ImportError):
        os.environ["LOGNAME"] = "reader"


# --- the environment --------------------------------------------------------------


def inside(venv, program):
    """Return the path of a program in an environment, on this system."""
    if os.name == "nt":
        return os.path.join(os.path.abspath(venv), "Scripts", program + ".exe")
    return os.path.join(os.path.abspath(venv), "bin", program)


def fingerprint(versions="locked"):
    """Return two lines: one changes with the Python, one with the packages."""
    digest = hashlib.sha256(versions.encode())
    for name in [LOCK] + READERS + [REQUIREMENTS]:
        with open(os.path.join(ROOT, name), "rb") as file:
            # Git may have given the lines another end.
            digest.update(file.read().replace(b"\r\n", b"\n"))
    version = " ".join(sys.version.split())
    return f"{version}\n{digest.hexdigest()}\n"


def made_of(venv):
    """Return the fingerprint that an environment was made with, "" where it is not
    whole: no Python (it was moved or updated), no pip, or an interrupted install."""
    packages = "Lib" if os.name == "nt" else os.path.join("lib", "python3*")
    pip = os.path.join(glob.escape(venv), packages, "site-packages", "pip")
    if not os.path.exists(inside(venv, "python")) or not glob.glob(pip):
        return ""
    try:
        with open(os.path.join(venv, "ready"), encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""


def uv_version(uv):
    """Return uv's version as numbers, (0,) where there is no working uv."""
    try:
        said = subprocess.check_output([uv, "--version"], stderr=subprocess.DEVNULL)
        return tuple(int(n) for n in re.findall(rb"\d+", said)[:2])
    except (OSError, TypeError, subprocess.CalledProcessError):
        return (0,)


def make_environment(venv):
    """Make an empty environment, and return the uv to fill it with, and its settings.

    Relocatable: its programs find their Python after the folder was moved.
    """
    # From within the environment that is to be made anew: the Python below it.
    python = getattr(sys, "_base_executable", None) or sys.executable
    form = ["venv", "--quiet", "--no-project", "--relocatable", "--python", python]
    uv = shutil.which("uv")
    if uv_version(uv) >= OLDEST_UV:
        env = install_environment(sys.executable)
        logged([uv] + form + ["--clear", venv], "making " + venv, env)
        return uv, env
    # Python's own modules want nothing of a user's settings to be changed.
    plain = {k: v for k, v in os.environ.items() if not k.startswith("PIP_")}
    logged([python, "-m", "venv", "--clear", venv], "making " + venv, plain)
    env = install_environment(inside(venv, "python"))
    pip = [inside(venv, "python"), "-m", "pip", "install", "--no-compile"]
    logged(pip + ["--constraint", LOCK, "uv"], "installing uv", env)
    uv = inside(venv, "uv")
    logged([uv] + form + ["--allow-existing", venv], "making it relocatable", env)
    return uv, env


def torch_backend(asking, env):
    """Return uv's options for a torch without the libraries for NVIDIA's GPUs, which
    are several GB that the series has no use for.

    PyTorch keeps such builds in a place of its own; PyPI's have them, on Linux.
    `asking` is the command that installs.
    """
    if sys.platform != "linux":
        return []
    ask = asking + ["--dry-run", "--no-deps"]
    offered = answer(ask, env)
    torch = re.search(r"^ \+ torch==\S+", offered, re.MULTILINE)
    # A CPU build from the user's own index or folder, or one that is installed.
    if offered and not (torch and "+cpu" not in torch.group()):
        return []
    backend = ["--torch-backend", "cpu"]
    hurry = {"UV_HTTP_TIMEOUT": "5", "UV_HTTP_RETRIES": "0"}
    if answer(ask + backend, dict(env, **hurry)):
        return backend
    if offered:
        say(
            "setup: download.pytorch.org does not answer; PyPI's torch comes with 3 GB "
            "for NVIDIA's GPUs."
        )
    return []


def answer(command, env):
    """Return what a command printed, "" where it failed; all of it is in the log."""
    both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(command, cwd=ROOT, env=env, check=False, **both)
    said = done.stdout.decode("utf-8", "replace")
    with open_log() as file:
        file.write("\n$ {}\n{}".format(" ".join(command), said))
    return "" if done.returncode else said


def install(venv, known, versions):
    """Bring every package to the environment; make it first where `known`, what it
    was made of, is of another Python or nothing."""
    python, uv = inside(venv, "python"), inside(venv, "uv")
    if known.splitlines()[:1] == fingerprint().splitlines()[:1] and uv_version(uv) > (
        0,
    ):
        env = install_environment(python)
    else:
        uv, env = make_environment(venv)
    # Without this file an install that is interrupted is begun again from nothing.
    with contextlib.suppress(OSError):
        os.remove(os.path.join(venv, "ready"))
    command = [uv, "pip", "install", "--python", python]
    command += ["--requirement", REQUIREMENTS] + VERSIONS[versions][1]
    command += torch_backend(command, env)
    # Without a network, all may be in uv's cache.
    logged(command, "installing the packages", env, retry=["--offline"])


def set_up_jupyter(venv):
    """Put the settings of Jupyter's programs where those of an environment look for
    them, whatever folder they are called in."""
    name, where = "jupyter_config.py", os.path.join(venv, "etc", "jupyter")
    if not os.path.exists(os.path.join(where, name)):
        os.makedirs(where, exist_ok=True)
        here = os.path.dirname(os.path.abspath(__file__))
        shutil.copy(os.path.join(here, name), where)


def set_up(venv, models=True, versions="locked"):
    """Do what has not been done yet, and say so; quiet where nothing was to do.

    The newest versions are looked for each time.
    """
    check_disk(venv)
    fresh = False
    with alone("setup"):
        known = made_of(venv)
        if known != fingerprint(versions) or versions == "newest":
            fresh = True
            open(LOG, "w").close()
            install(venv, known, versions)
            with open(os.path.join(venv, "ready"), "w", encoding="utf-8") as file:
                file.write(fingerprint(versions))
        set_up_jupyter(venv)
    if models:
        start = time.time()
        if fresh:
            say("setup: making the models ready ...")
        if call([inside(venv, "python"), "-m", "helpers"], cwd="notebooks"):
            way = (
                f" The proxy is {proxy_of(os.environ)}." if proxy_of(os.environ) else ""
            )
            stop("the models could not be made ready; the line above says why." + way)
        if fresh:
            say(f"setup: models ready in {time.time() - start:.0f} s")


def clean(venv):
    """Delete what the other commands have made."""
    for name in (venv, "build", ".pytest_cache", ".ruff_cache"):
        shutil.rmtree(name, ignore_errors=True)
    for folder, names, _ in os.walk("."):
        names[:] = [name for name in names if name != ".git"]
        if os.path.basename(folder) == "__pycache__":
            shutil.rmtree(folder, ignore_errors=True)


def steps(name, rest, versions="locked"):
    """Return the steps of a command, patterns of file names filled in, since no shell
    does it; `rest` goes to the scores, or to the last one."""
    whole = [(folder, list(words)) for folder, words in COMMANDS[name][1]]
    scores = [words for _, words in whole if words == SCORES[1]]
    for words in scores or [words for _, words in whole[-1:]]:
        words += rest
    for _, words in whole:
        if versions != "locked" and "pytest" in words:
            # What is stored is what the locked versions print: others must run, and
            # hold what the cells assert.
            words.append("--nbval-lax")
    for _, words in whole:
        for at, word in reversed(list(enumerate(words))):
            if word.endswith("*.ipynb") and "/" in word:
                words[at : at + 1] = sorted(glob.glob(word))
    return whole


def do(name, venv, rest, versions="locked"):
    """Run a command of the table; return its exit status."""
    if name == "clean":
        clean(venv)
        return 0
    check_python()
    os.makedirs("build", exist_ok=True)
    give_a_home()
    set_up(venv, models=COMMANDS[name][2], versions=versions)
    running = call_in_front if name == "lab" else call
    with alone(name) if name in ALONE else open(os.devnull):
        for folder, words in steps(name, rest, versions):
            status = running([inside(venv, "python")] + words, cwd=folder)
            if status:
                return status
    return 0


def main():
    """Read the command line and do it; each failure is one line."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # from Python 3.7 on
            stream.reconfigure(errors="replace")
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--versions",
        default="locked",
        choices=list(VERSIONS),
        help="constraints.txt's versions of the packages, or an end of the ranges",
    )
    parser.add_argument("--venv", help="the environment's folder (.venv)")
    parser.add_argument("command", nargs="?", choices=["help"] + list(COMMANDS))
    parser.add_argument("rest", nargs=argparse.REMAINDER)
    chosen = parser.parse_args()
    name = chosen.command or "help"
    venv = chosen.venv or VERSIONS[chosen.versions][0]
    if name == "help":
        say("make COMMAND, or: python notebooks/book/bootstrap.py COMMAND\n")
        for key, (about, _, _) in COMMANDS.items():
            say(f"{key:<9}{about}")
        return 0

    def interrupt(*_):
        raise KeyboardInterrupt

    for sign in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, sign):
            signal.signal(getattr(signal, sign), interrupt)
    # Files are named from where the user is, and the steps run elsewhere.
    rest = [os.path.abspath(w) if os.path.exists(w) else w for w in chosen.rest]
    os.chdir(ROOT)
    # uv installs without bytecode. Where nothing may write any, each kernel and each
    # test compiles torch and transformers anew: six seconds of a core every time.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    try:
        return do(name, venv, rest, chosen.versions)
    except OSError as error:
        stop(f"{error.strerror or error}: {error.filename or venv}")
    except KeyboardInterrupt:
        stop("interrupted; run it again to go on.", name, 130)


if __name__ == "__main__":
    sys.exit(main())
