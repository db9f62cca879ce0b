"""Models from the Hub: fetched once, checked, then used without asking again.

The Hub's client does not check what it serves from its cache, and when the Hub is
down it tries every file for a long time. This module checks the weights against the
catalogue's sha256, every other file against what was stored, asks the Hub one quick
question before a download, and goes offline where a checked copy is at hand.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from pathlib import Path

from .catalogue import catalogue
from .errors import FetchError
from .store import cache_error, cache_folder, damage, described, sha256, write_text

TRIES = 3
SECONDS = 5  # to wait for one answer of the Hub
ANSWERS = {
    401: "asks for a login (401): the repository is private or gated, see `hf auth`",
    403: "refuses access (403): the repository is private or gated, see `hf auth`",
    404: "has no such repository or revision (404)",
    429: "answers that it got too many requests (429): wait some minutes",
}


def hub_model(repo: str) -> dict[str, str]:
    """Return `model` and `revision` for `from_pretrained` or `pipeline`, with the
    files fetched, whole and checked in the Hub's own cache.

    Raises FetchError with one sentence where that cannot be done.
    """
    spec = catalogue()["hub"][repo]
    marker = cache_folder() / "hub" / f"{repo.replace('/', '--')}-{spec['revision']}"
    chosen = {"model": repo, "revision": spec["revision"]}
    if marker.exists():
        wrong = damage(_snapshot_folder(repo, spec), marker)
        if wrong is None:
            _offline_unless_hub_answers(repo, spec)
            return chosen
        print(f"The cached {repo} is damaged: {wrong}. It is fetched again.")
        try:
            _forget(_snapshot_folder(repo, spec))
            marker.unlink()
        except OSError as error:
            raise cache_error(error) from error
    try:
        snapshot = download(repo, spec)
    except FetchError as error:
        raise FetchError(
            f"The model could not be fetched. {error}. Nothing damaged was kept. "
            "MODELS=embedded works without the Hub."
        ) from None
    write_text(marker, described(snapshot))
    return chosen


def download(repo: str, spec: dict, cache_dir: Path | None = None) -> Path:
    """Fetch one revision of a repository and return its folder, weights checked.

    Only text files and the safetensors that the catalogue names are fetched.
    """
    from huggingface_hub import constants, snapshot_download

    if constants.HF_HUB_OFFLINE:
        raise FetchError(f"{repo}: not in the cache, and HF_HUB_OFFLINE is set")
    wanted = ["*.json", "*.txt", "*.jinja", "*.model", spec["weights"]]
    for attempt in range(TRIES):
        if why := hub_trouble(repo, spec):
            break
        try:
            snapshot = Path(
                snapshot_download(
                    repo,
                    revision=spec["revision"],
                    allow_patterns=wanted,
                    cache_dir=cache_dir,
                    etag_timeout=SECONDS,
                )
            )
            why = _damaged_on_the_way(snapshot, spec)
            if not why:
                return snapshot
            _forget(snapshot)
        except Exception as error:
            # Network faults are OSErrors or the HTTP client's, without a common base.
            package = type(error).__module__.split(".")[0]
            if not (isinstance(error, OSError) or package.startswith("httpx")):
                raise
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            why = f"broke off ({first})"
        time.sleep(attempt)
    raise FetchError(f"{repo}: the Hub {why}")


def _damaged_on_the_way(snapshot: Path, spec: dict) -> str:
    """Return which file is not what the Hub announced or the catalogue pins.

    The client stores a file under its ETag: a sha256 for large files, git's own hash
    for small ones. It does not check that the content agrees; this does.
    """
    for path in sorted(snapshot.rglob("*")):
        if not path.is_file():
            continue
        name = path.relative_to(snapshot).as_posix()
        announced = path.resolve().name
        pinned = spec.get("sha256") if name == spec["weights"] else None
        if re.fullmatch("[0-9a-f]{40}", announced):
            content = path.read_bytes()
            found = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        else:
            found = sha256(path)
            if not re.fullmatch("[0-9a-f]{64}", announced):
                announced = found  # a file system without links hides the ETag
        if found != announced or pinned not in (None, found):
            return f"sent a damaged {name} (its hash is not the expected one)"
    return ""


def _forget(snapshot: Path) -> None:
    """Delete the files of one revision from the Hub's cache, and no others."""
    for path in snapshot.rglob("*"):
        if path.is_file():
            path.resolve().unlink(missing_ok=True)
    shutil.rmtree(snapshot, ignore_errors=True)


def hub_trouble(repo: str, spec: dict) -> str:
    """Ask the Hub for one small file; return what is wrong, or an empty text."""
    from huggingface_hub import get_session, hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    url = hf_hub_url(repo, "config.json", revision=spec["revision"])
    try:
        answer = get_session().head(url, headers=build_hf_headers(), timeout=SECONDS)
    except Exception as error:  # noqa: BLE001 (the HTTP client's are no OSErrors)
        return f"is not reachable ({type(error).__name__})"
    if answer.status_code >= 500:
        return f"has a fault of its own ({answer.status_code}): try again later"
    if answer.status_code >= 400:
        code = answer.status_code
        return ANSWERS.get(code, f"answers with the error {code}")
    return ""


def _offline_unless_hub_answers(repo: str, spec: dict) -> None:
    """Spare the reader a minute of retries where the cache has all that is needed."""
    from huggingface_hub import constants

    if not constants.HF_HUB_OFFLINE and (why := hub_trouble(repo, spec)):
        constants.HF_HUB_OFFLINE = True
        print(f"The Hub {why}. Working offline with the checked copies on this disk.")


def _snapshot_folder(repo: str, spec: dict) -> Path:
    """Return where the Hub's client keeps this revision."""
    from huggingface_hub import constants

    root = Path(constants.HF_HUB_CACHE)
    return root / f"models--{repo.replace('/', '--')}" / "snapshots" / spec["revision"]
