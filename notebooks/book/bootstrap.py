"""Make .venv with every package at its exact version, then fetch the models.

`make setup` calls this with whatever `python3` is. It uses the standard library
alone, and syntax that a Python 3.6 can read, so that it can say that it is too old.
Usage: bootstrap.py [--venv FOLDER]
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
REQUIREMENTS = ["constraints.txt", "transformers_requirements.txt"]
REQUIREMENTS += [os.path.join("tests", "requirements.txt")]
OLDEST, NEWEST = (3, 10), (3, 13)
DISK_GB = 5  # packages 2 GB, models 0.6 GB, and room to unpack them


def stop(message):
    """End with one line on stderr and exit status 1."""
    sys.stderr.write("setup: " + message + "\n")
    sys.exit(1)


def check_python():
    """Stop where the Python that runs this is too old; note where it is newer."""
    have = sys.version_info[:2]
    if have < OLDEST:
        stop(
            f"this is Python {have[0]}.{have[1]}; the series needs 3.10 to 3.13. "
            "Install one and run `make setup PYTHON=python3.13`."
        )
    if have > NEWEST:
        print(f"setup: Python {have[0]}.{have[1]} is newer than the tested 3.13.")


def check_disk(venv):
    """Stop where the disk has too little room for a first install."""
    free = shutil.disk_usage(os.path.dirname(os.path.abspath(venv))).free / 1e9
    if not os.path.exists(venv) and free < DISK_GB:
        stop(f"no space on disk: {free:.1f} GB are free here, {DISK_GB} GB are needed.")


def fingerprint():
    """Return a text that changes when the packages or the Python change."""
    digest = hashlib.sha256(sys.version.encode())
    for name in REQUIREMENTS:
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def logged(command, log, doing):
    """Run a command with its output in the log; stop with one line if it fails."""
    start = time.time()
    print(f"setup: {doing} ...")
    sys.stdout.flush()
    with open(log, "a") as file:
        file.write("\n$ {}\n".format(" ".join(command)))
        file.flush()
        position = file.tell()
        status = subprocess.call(command, cwd=ROOT, stdout=file, stderr=file)
    if status:
        with open(log, errors="replace") as file:
            file.seek(position)
            stop(f"{doing} failed: {explain(file.read())} See {log}")
    print(f"setup: done in {time.time() - start:.0f} s")


def explain(output):
    """Say in a sentence why pip failed, from what it printed."""
    signs = [
        ("no space on disk.", ["No space left", "Disk quota"]),
        (
            "no network. The first install needs one; later runs do not.",
            ["NewConnectionError", "name resolution", "ConnectTimeout", "ProxyError"]
            + ["Network is unreachable", "Connection refused", "Could not connect"]
            + ["Failed to establish", "NameResolutionError"],
        ),
        ("Python has no venv; on Debian: apt-get install python3-venv.", ["ensurepip"]),
    ]
    for sentence, texts in signs:
        if any(text in output for text in texts):
            return sentence
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")] or lines
    return (errors[-1] if errors else "no message.").rstrip(".") + "."


def wants_cuda(python, torch):
    """Return whether pip would take a build of torch for NVIDIA's GPUs, several GB
    that the series has no use for."""
    if sys.platform != "linux":
        return False
    command = [python, "-m", "pip", "install", "--dry-run", "--no-deps", "--quiet"]
    command += ["--ignore-installed", "--report", "-", torch]
    try:
        report = subprocess.check_output(command, stderr=subprocess.DEVNULL)
    except subprocess.CalledProcessError:
        return False  # the install that follows says why
    return b"+cpu" not in report


def same_python(python):
    """Return whether an environment is there and of the Python that runs this."""
    try:
        version = subprocess.check_output(
            [python, "-c", "import sys; print(sys.version)"]
        )
    except (OSError, subprocess.CalledProcessError):
        return False
    return version.decode().strip() == sys.version.strip()


def install(venv, log):
    """Make the environment, or keep the one there, and bring every package to it."""
    python = os.path.join(venv, "bin", "python")
    if not same_python(python):
        logged([sys.executable, "-m", "venv", "--clear", venv], log, "making " + venv)
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check"]
    pip += ["--constraint", "constraints.txt"]
    logged(pip + ["--upgrade", "pip", "uv"], log, "installing pip")
    with open(os.path.join(ROOT, "constraints.txt")) as file:
        torch = next(line.split()[0] for line in file if line.startswith("torch=="))
    if wants_cuda(python, torch):
        # uv knows where PyTorch keeps its builds without CUDA; pip would take those
        # with it. Where that place is out of reach, pip's choice works as well.
        uv = [python, "-m", "uv", "pip", "install", "--torch-backend", "cpu", torch]
        with open(log, "a") as file:
            print("setup: installing torch for the CPU ...")
            subprocess.call(uv + ["--python", python], stdout=file, stderr=file)
    needs = ["--requirement", REQUIREMENTS[2]]
    logged(pip + needs, log, "installing the packages (2 to 5 minutes)")


def main():
    """Do what has not been done yet, and say so."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--venv", default=".venv")
    venv = parser.parse_args().venv
    check_python()
    log = os.path.join("build", "setup.log")
    stamp = os.path.join(venv, "ready")
    os.chdir(ROOT)
    try:
        check_disk(venv)
        os.makedirs("build", exist_ok=True)
        python = os.path.join(os.path.abspath(venv), "bin", "python")
        done = ""
        if os.path.exists(stamp) and os.path.exists(python):
            with open(stamp) as file:
                done = file.read()
        if done != fingerprint():
            open(log, "w").close()
            install(venv, log)
            with open(stamp, "w") as file:
                file.write(fingerprint())
            print("setup: making the models ready ...")
        if subprocess.call([python, "-m", "helpers"], cwd="notebooks"):
            stop("the models could not be made ready; the line above says why.")
    except OSError as error:
        stop(f"{error.strerror or error}: {error.filename or venv}")
    except KeyboardInterrupt:
        stop("interrupted; run it again to go on.")


if __name__ == "__main__":
    main()
