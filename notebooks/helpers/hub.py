"""Models from the Hub: fetched once, checked, then used without asking again.

The Hub's client does not check what it serves from its cache, and when the Hub is
down it tries every file for a long time. This module checks the weights against the
catalogue's sha256, or else against the one that the Hub announced at the first use,
every other file against what was stored; it asks the Hub one quick question before a
download, and goes offline where a checked copy is at hand. It takes safetensors and
text, never a pickle.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from .catalogue import catalogue
from .errors import FetchError, HelperError
from .store import cache_error, cache_folder, damage, described, sha256, write_text

TRIES = 2  # on top of the five that the client makes of a broken download
SECONDS = 5  # to wait for one answer, unless HF_HUB_ETAG_TIMEOUT is shorter
TEXT_FILES = ["*.json", "*.txt", "*.jinja", "*.model"]
ANSWERS = {
    404: "has no such repository or revision (404)",
    429: "answers that it got too many requests (429): wait some minutes",
}


def hub_model(repo: str) -> dict[str, str]:
    """Return `model` and `revision` for `from_pretrained` or `pipeline`, with the
    files fetched, whole and checked in the Hub's own cache.

    Raises FetchError with one sentence where that cannot be done, HelperError where
    the catalogue names a revision by fewer than 40 digits.
    """
    spec = catalogue()["hub"][repo]
    if not re.fullmatch("[0-9a-f]{40}", spec["revision"]):
        raise HelperError(
            f"The catalogue has the revision {spec['revision']!r} for {repo}. Expected "
            "the 40 hexadecimal digits of a commit, since the copy of a shorter one is "
            "never found again: write all of them into models/catalogue.toml."
        )
    marker = cache_folder() / "hub" / f"{repo.replace('/', '--')}-{spec['revision']}"
    chosen = {"model": repo, "revision": spec["revision"]}
    if marker.exists():
        folder = snapshot_folder(repo, spec["revision"])
        wrong = damage(folder, marker)
        if wrong is None:
            _offline_unless_hub_answers(repo, spec)
            return chosen
        print(f"The cached {repo} is damaged: {wrong}. It is fetched again.")
        # What was trusted at the first use is what must come again.
        spec = {"sha256": _recorded(marker, spec["weights"])} | spec
        try:
            _forget(folder)
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


def snapshot_folder(repo: str, revision: str) -> Path:
    """Return where the Hub's client keeps this revision of a repository."""
    from huggingface_hub import constants

    root = Path(constants.HF_HUB_CACHE)
    return root / f"models--{repo.replace('/', '--')}" / "snapshots" / revision


def download(repo: str, spec: dict, cache_dir: Path | None = None) -> Path:
    """Fetch one revision of a repository and return its folder, weights checked.

    Only text files at the top of the repository and the safetensors that the
    catalogue names are fetched. Raises FetchError where the Hub does not give them.
    """
    from huggingface_hub import constants, snapshot_download

    if constants.HF_HUB_OFFLINE:
        raise FetchError(f"{repo}: not in the cache, and HF_HUB_OFFLINE is set")
    for _ in range(TRIES):
        why, announced = ask_hub(repo, spec)
        if why:
            break
        try:
            snapshot = Path(
                snapshot_download(
                    repo,
                    revision=spec["revision"],
                    allow_patterns=[*TEXT_FILES, spec["weights"]],
                    ignore_patterns=["*/*"],  # onnx/config.json and the like
                    cache_dir=cache_dir,
                    etag_timeout=_seconds(),
                )
            )
            why = _damaged_on_the_way(snapshot, spec, announced)
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
        time.sleep(_seconds() / SECONDS)
    raise FetchError(f"{repo}: the Hub {why}")


def _seconds() -> float:
    """Return how long to wait for one answer of the Hub."""
    from huggingface_hub import constants

    return min(SECONDS, constants.HF_HUB_ETAG_TIMEOUT)


def _damaged_on_the_way(snapshot: Path, spec: dict, announced: str) -> str:
    """Return which file is not what the Hub announced or the catalogue pins.

    The client stores a file under its ETag: a sha256 for large files, git's own hash
    for small ones. It does not check that the content agrees; this does. `announced`
    is the weights' ETag, which a file system without links hides.
    """
    if not (snapshot / spec["weights"]).is_file():
        return f"did not send {spec['weights']}"
    for path in sorted(snapshot.rglob("*")):
        if not path.is_file():
            continue
        name = path.relative_to(snapshot).as_posix()
        etag = announced if name == spec["weights"] else path.resolve().name
        pinned = spec.get("sha256") if name == spec["weights"] else None
        found = digest = sha256(path)
        if re.fullmatch("[0-9a-f]{40}", etag):
            content = path.read_bytes()
            found = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        elif not re.fullmatch("[0-9a-f]{64}", etag):
            etag = found
        if found != etag or pinned not in (None, digest):
            return f"sent a damaged {name} (its hash is not the expected one)"
    return ""


def _forget(snapshot: Path) -> None:
    """Delete the files of one revision from the Hub's cache, and no others."""
    for path in snapshot.rglob("*"):
        if path.is_file():
            path.resolve().unlink(missing_ok=True)
    shutil.rmtree(snapshot, ignore_errors=True)


def _recorded(marker: Path, name: str) -> str | None:
    """Return the sha256 that a file had when it was first used, if that can be read."""
    try:
        return json.loads(marker.read_text("utf-8"))["files"][name][1]
    except (OSError, ValueError, LookupError, TypeError):
        return None


def ask_hub(repo: str, spec: dict) -> tuple[str, str]:
    """Ask the Hub about the weights: (what is wrong or an empty text, their ETag)."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    name = spec["weights"]
    url = hf_hub_url(repo, name, revision=spec["revision"])
    try:
        etag = get_hf_file_metadata(url, timeout=_seconds()).etag or ""
    except EntryNotFoundError:
        return (
            f"has no {name} at the revision {spec['revision'][:7]}, and weights in "
            "another format are not taken: a pickle can run any code"
        ), ""
    except HfHubHTTPError as error:
        return _refusal(error.response.status_code), ""
    except Exception as error:  # noqa: BLE001 (the HTTP client's are no OSErrors)
        return f"is not reachable{_proxy(url)} ({type(error).__name__})", ""
    if not (spec.get("sha256") or re.fullmatch("[0-9a-f]{64}", etag)):
        return f"announces no sha256 for {name}, and the catalogue has none", ""
    return "", etag


def _refusal(code: int) -> str:
    """Return in words what an HTTP status of the Hub means, token included."""
    token = _token()
    if code >= 500:
        return f"has a fault of its own ({code}): try again later"
    if code == 401 and token:
        return (
            f"refuses {token} (401): it may have expired, or the repository is "
            "private or gated. The series' models need no token: unset it, or renew "
            "it with `hf auth login`"
        )
    if code in (401, 403):
        said = "asks for a login" if code == 401 else "refuses access"
        with_what = f"with {token}" if token else "no token was sent"
        return (
            f"{said} ({code}, {with_what}): the repository is private or gated, or "
            "there is none, see `hf auth`"
        )
    return ANSWERS.get(code, f"answers with the error {code}")


def _token() -> str:
    """Say which token is sent, by its ends and where it comes from, if one is."""
    from huggingface_hub import constants, get_token

    token = get_token()
    if not token or constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
        return ""
    ends = f"{token[:4]}…{token[-4:]}" if len(token) > 16 else "…"
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if os.environ.get(name, "").strip() == token:
            return f"the token {ends} from the environment variable {name}"
    if Path(constants.HF_TOKEN_PATH).is_file():
        return f"the token {ends} from the file {constants.HF_TOKEN_PATH}"
    return f"the token {ends} from the notebook's secrets"


def _proxy(url: str) -> str:
    """Say which proxy stands before an address, without its password, if one does."""
    where, proxies = urlsplit(url), getproxies()
    kind = where.scheme if where.scheme in proxies else "all"
    if kind not in proxies or proxy_bypass(where.netloc):
        return ""
    name = proxies[kind].rpartition("@")[2].rpartition("//")[2].rstrip("/")
    return f" through the proxy {name}, see {kind.upper()}_PROXY and NO_PROXY"


def _offline_unless_hub_answers(repo: str, spec: dict) -> None:
    """Spare the reader a minute of retries where the cache has all that is needed."""
    from huggingface_hub import constants

    if not constants.HF_HUB_OFFLINE and (why := ask_hub(repo, spec)[0]):
        constants.HF_HUB_OFFLINE = True
        print(f"The Hub {why}. Working offline with the checked copies on this disk.")
