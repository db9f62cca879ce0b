"""Proves what hub mode does with a Hub that works, is away, fails or lies.

A mirror on loopback serves a repository made here, with the files that real ones hold
besides. Each step is a process of its own, because the Hub's client reads its
environment once; the processes are forked from one that has imported the libraries.
"""

import hashlib
import importlib
import json
import multiprocessing
import os
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mirror import Mirror
from safetensors.numpy import save_file

from helpers import files_of, hub
from helpers.catalogue import catalogue
from helpers.errors import HelperError

REPO, REVISION = "someone/tiny", "0123456789" * 4
OTHERS = [".gitattributes", "README.md", "pytorch_model.bin", "tf_model.h5"]
OTHERS += ["onnx/config.json", "onnx/model.onnx"]
START = multiprocessing.get_context("spawn" if os.name == "nt" else "forkserver")
if os.name != "nt":
    configs = "transformers.models.auto.configuration_auto"
    bert = "transformers.models.bert.configuration_bert"
    START.set_forkserver_preload(["helpers", configs, bert, "test_hub"])


def use(environment: dict, spec: dict, then: str, said: Path) -> None:
    """Be a process that uses the model once; write what it prints into `said`."""
    with said.open("w", encoding="utf-8", buffering=1) as file:
        sys.stdout = sys.stderr = file
        os.environ.clear()
        os.environ.update(environment)
        try:
            from huggingface_hub import constants

            importlib.reload(constants)  # it reads the environment when imported
            if environment.get("NAPS"):
                nap = time.sleep
                time.sleep = lambda seconds: nap(min(seconds, 0.1))
            _use(spec, then)
        except SystemExit:
            raise
        except BaseException:  # noqa: BLE001 (the test shows it)
            traceback.print_exc()
            sys.exit(1)


def _use(spec: dict, then: str) -> None:
    catalogue()["hub"][REPO] = spec
    try:
        found = hub.hub_model(REPO)
        print("GOT", found)
    except HelperError as error:
        print("ERROR", error)
        sys.exit(3)
    if then == "load":
        from transformers import AutoConfig

        name = found.pop("model")
        print("LOADED", AutoConfig.from_pretrained(name, **found).model_type)
    if then == "list":
        print("FILES", [name for name, _ in files_of(found["model"])])


class Place:
    """A repository, a mirror that serves it, and an empty cache."""

    def __init__(self, tmp_path):
        self.folder = tmp_path / "repo"
        self.folder.mkdir()
        settings = {"model_type": "bert", "hidden_size": 8, "num_attention_heads": 1}
        (self.folder / "config.json").write_text(json.dumps(settings))
        (self.folder / "vocab.txt").write_text("[PAD]\n[UNK]\na\n")
        for name in OTHERS:
            (self.folder / name).parent.mkdir(exist_ok=True)
            (self.folder / name).write_bytes(b"nobody needs this")
        self.spec = {
            "revision": REVISION,
            "weights": "model.safetensors",
            "sha256": self.write_weights(0),
        }
        self.home = tmp_path / "home"
        self.cache = tmp_path / "cache"
        self.said = tmp_path / "said"
        self.said.mkdir()
        self.mirror = Mirror({REPO: (REVISION, self.folder)})

    def write_weights(self, value):
        """Put weights into the repository; return their sha256."""
        import numpy

        path = self.folder / "model.safetensors"
        save_file({"w": numpy.full(50_000, value, dtype="float64")}, path)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def environment(self, **more):
        kept = {k: v for k, v in os.environ.items() if "TOKEN" not in k}
        return kept | {
            "HF_ENDPOINT": self.mirror.url,
            "HF_HOME": str(self.home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_ETAG_TIMEOUT": "3",
            "LEARN_TRANSFORMERS_CACHE": str(self.cache),
            "MODELS": "hub",
            **more,
        }

    def ask(self, then="", **more):
        """Return (exit status, what was printed, seconds) of one use of the model.

        `then` is "load" to load the config afterwards, "list" to list the files. With
        NAPS=1 the client's pauses between its tries are short.
        """
        said = self.said / f"{time.monotonic_ns()}"
        start = time.monotonic()
        process = START.Process(
            target=use, args=(self.environment(**more), self.spec, then, said)
        )
        process.start()
        process.join(100)
        text = said.read_text("utf-8")
        assert process.exitcode in (0, 3), text
        assert "Traceback" not in text
        return process.exitcode, text, time.monotonic() - start

    def bodies(self, name="model.safetensors"):
        """Return how often a file was sent, the weights unless named."""
        got = [r for r in self.mirror.requests if r.startswith("GET")]
        return sum(r.endswith(f"/{name}") for r in got)

    def stored(self):
        """Return the weights that the Hub's client keeps, or None."""
        found = list(self.home.rglob("model.safetensors"))
        return found[0].read_bytes() if found else None


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    with place.mirror:
        yield place


def test_only_what_is_needed_is_fetched_and_listed(place):
    """A real repository holds more: pickles, ONNX, a README."""
    status, said, _ = place.ask("list")
    assert status == 0
    assert "FILES ['config.json', 'model.safetensors', 'vocab.txt']" in said
    assert place.bodies() == 1
    assert not [r for r in place.mirror.requests if r.endswith(tuple(OTHERS))]
    # As on the Hub: git's sha1 names a small file, a sha256 a large one.
    blobs = {p.name: len(p.resolve().name) for p in place.home.rglob("snapshots/*/*")}
    assert blobs == {"config.json": 40, "model.safetensors": 64, "vocab.txt": 40}


def test_a_repository_without_safetensors_is_refused(place, record_fault):
    """Before the library falls back on the pickle that lies beside it."""
    (place.folder / "model.safetensors").unlink()
    status, said, _ = place.ask()
    assert status == 3
    assert "has no model.safetensors at the revision 0123456" in said
    assert "a pickle can run any code" in said
    assert said.count("\n") == 1
    assert not [r for r in place.mirror.requests if r.startswith("GET /someone")]
    record_fault("a repository of the Hub has a pickle and no safetensors", said)


@pytest.mark.parametrize("revision", [REVISION[:7], "main", REVISION.upper() + "A"])
def test_a_revision_of_other_than_40_digits_is_refused(place, record_fault, revision):
    place.spec["revision"] = revision
    status, said, _ = place.ask()
    assert status == 3
    assert "40 hexadecimal digits" in said
    assert repr(revision) in said
    assert said.count("\n") == 1
    assert place.mirror.requests == []
    record_fault(f"the catalogue's revision is {revision!r}", said)


def test_without_a_pinned_hash_the_first_use_decides(place, record_fault):
    """The sha256 that the Hub announced is kept; other weights do not follow it."""
    first = place.spec.pop("sha256")
    assert place.ask()[0] == 0
    (marker,) = (place.cache / "hub").iterdir()
    assert json.loads(marker.read_text())["files"]["model.safetensors"][1] == first
    place.write_weights(1)
    next(place.home.rglob("model.safetensors")).resolve().write_bytes(b"damaged")
    status, said, _ = place.ask()
    assert status == 3
    assert "damaged model.safetensors" in said
    assert place.stored() is None
    record_fault(
        "other weights than at the first use, no sha256 in the catalogue", said
    )


def test_without_any_hash_nothing_is_taken(place, record_fault):
    place.spec.pop("sha256")
    place.mirror.fault = "no-hash"
    status, said, _ = place.ask()
    assert status == 3
    assert "announces no sha256" in said
    assert place.bodies() == 0
    record_fault("neither the Hub nor the catalogue has a sha256", said)


def test_files_that_are_not_here_are_said(record_fault):
    with pytest.raises(HelperError, match="No files of 'nope' are on") as caught:
        files_of("nope")
    record_fault("files_of given what model_for did not name", caught.value)


@pytest.mark.parametrize("kept", ["HF_TOKEN", "file"])
def test_a_refused_token_is_named(place, record_fault, kept, tmp_path):
    token, more = "hf_0123456789abcdefgh", {}
    if kept == "file":
        path = tmp_path / "token"
        path.write_text(token)
        more["HF_TOKEN_PATH"] = str(path)
    else:
        more["HF_TOKEN"] = token
    place.mirror.fault = "401"
    status, said, _ = place.ask(**more)
    assert status == 3
    assert "hf_0…efgh" in said
    assert token not in said
    assert (str(path) if kept == "file" else "variable HF_TOKEN") in said
    assert "expired" in said
    assert said.count("\n") == 1
    record_fault(f"the Hub refuses a token from {kept}", said)
    place.mirror.fault = ""
    assert place.ask(**more)[0] == 0
    assert place.mirror.tokens == {f"Bearer {token}"}


def test_a_dead_proxy_is_named(place, record_fault):
    """With an empty cache; the password in its address is not shown."""
    more = {"http_proxy": "http://user:secret@127.0.0.1:9", "NO_PROXY": "example.org"}
    more |= {"HTTP_PROXY": more["http_proxy"], "no_proxy": "example.org"}
    status, said, seconds = place.ask(**more)
    assert status == 3
    assert "through the proxy 127.0.0.1:9" in said
    assert "HTTP_PROXY" in said
    assert "secret" not in said
    assert seconds < 20
    record_fault("a dead proxy before the Hub, empty cache", said)


def test_every_row_of_the_catalogue_is_pinned():
    """By 40 digits; and by a sha256, but for the two that are published nowhere."""
    rows = catalogue()["hub"]
    unpinned = {name for name, row in rows.items() if "sha256" not in row}
    assert unpinned <= {
        "MIT/ast-finetuned-speech-commands-v2",
        "google/vit-base-patch16-224",
    }
    for name, row in rows.items():
        assert len(row["revision"]) == 40, name
        assert set(row["revision"]) <= set("0123456789abcdef"), name
        assert row["weights"].endswith(".safetensors"), name
        pinned = row.get("sha256", "0" * 64)
        assert len(pinned) == 64 and set(pinned) <= set("0123456789abcdef"), name


def test_first_use_downloads_second_does_not(place):
    assert place.ask()[0] == 0
    assert place.bodies() == 1
    status, said, _ = place.ask("load")
    assert status == 0
    assert "LOADED bert" in said
    assert place.bodies() == 1


def test_offline_works_once_fetched(place, record_fault):
    place.ask()
    place.mirror.requests.clear()
    status, said, _ = place.ask("load", HF_HUB_OFFLINE="1")
    assert status == 0
    assert "LOADED bert" in said
    assert place.mirror.requests == []
    record_fault("HF_HUB_OFFLINE=1, model fetched before", said)


def test_offline_with_an_empty_cache_is_said(place, record_fault):
    status, said, seconds = place.ask(HF_HUB_OFFLINE="1")
    assert status == 3
    assert "HF_HUB_OFFLINE is set" in said
    assert seconds < 20
    record_fault("HF_HUB_OFFLINE=1, empty cache", said)


def test_a_hub_that_is_down_costs_seconds_not_a_minute(place, record_fault):
    place.ask()
    place.mirror.stop()
    status, said, seconds = place.ask("load")
    assert status == 0
    assert "Working offline" in said
    assert "LOADED bert" in said
    assert seconds < 20  # the client by itself takes 53 s
    record_fault("Hub down, model fetched before", said)


@pytest.mark.parametrize("fault", ["429", "500", "401"])
def test_a_hub_that_refuses_does_not_stop_a_warm_cache(place, record_fault, fault):
    place.ask()
    place.mirror.fault = fault
    status, said, seconds = place.ask("load")
    assert status == 0
    assert "Working offline" in said
    assert "LOADED bert" in said
    assert seconds < 20
    record_fault(f"Hub answers {fault} to everything, model fetched before", said)


def test_a_hub_that_is_down_with_an_empty_cache(place, record_fault):
    place.mirror.stop()
    status, said, seconds = place.ask()
    assert status == 3
    assert "not reachable" in said
    assert seconds < 20
    record_fault("Hub down, empty cache", said)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("404", "no such repository or revision"),
        ("401", "private or gated"),
        ("403", "private or gated"),
        ("429", "too many requests"),
        ("500", "fault of its own"),
        ("cut", "broke off"),
        ("corrupt", "damaged model.safetensors"),
        ("corrupt-config", "damaged config.json"),
        ("blob-500", "broke off"),
    ],
)
def test_a_faulty_hub_ends_in_one_line(place, record_fault, fault, words):
    place.mirror.fault = fault
    status, said, _ = place.ask(NAPS="1")  # 13 s of a broken connection without
    assert status == 3
    assert words in said
    assert said.count("\n") == 1
    whole = (place.folder / "model.safetensors").read_bytes()
    assert place.stored() in (None, whole), "damaged weights were kept"
    place.mirror.fault = ""
    assert place.ask()[0] == 0, "the next try gets it right"
    assert place.stored() == whole
    record_fault(f"Hub, empty cache: {fault}", said)


@pytest.mark.parametrize("fault", ["corrupt", "cut", "blob-500"])
def test_a_passing_fault_is_tried_again(place, record_fault, fault):
    place.mirror.fault, place.mirror.until = fault, 1
    status, said, _ = place.ask(NAPS="1")
    assert status == 0, said
    assert place.stored() == (place.folder / "model.safetensors").read_bytes()
    record_fault(f"Hub: {fault}, once", said)


def test_a_hub_that_hangs_is_left(place, record_fault):
    place.mirror.fault = "hang"
    status, said, seconds = place.ask(HF_HUB_ETAG_TIMEOUT="1")
    assert status == 3
    assert "not reachable" in said
    assert seconds < 20
    record_fault("Hub takes the connection and never answers", said)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_damaged_copy_in_the_cache_is_fetched_again(place, record_fault, name):
    place.ask()
    path = next(place.home.rglob(name)).resolve()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    status, said, _ = place.ask()
    assert status == 0
    assert "damaged" in said
    assert path.read_bytes() == (place.folder / name).read_bytes()
    record_fault(f"{name} in the Hub's cache damaged", said)


def test_weights_that_are_not_the_pinned_ones_are_refused(place, record_fault):
    place.spec["sha256"] = "0" * 64
    status, said, _ = place.ask()
    assert status == 3
    assert "damaged model.safetensors" in said
    assert place.stored() is None
    record_fault("the Hub serves other weights than the pinned ones", said)


def test_other_revisions_in_the_cache_are_left_alone(place):
    place.ask()
    other = next(place.home.rglob("snapshots")) / ("f" * 40)
    other.mkdir()
    (other / "mine").write_text("kept")
    path = next(place.home.rglob("model.safetensors")).resolve()
    path.write_bytes(b"damaged")
    assert place.ask()[0] == 0
    assert (other / "mine").read_text() == "kept"


def test_two_processes_at_once_fetch_once(place, record_fault):
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: place.ask(), range(2)))
    assert [status for status, _, _ in both] == [0, 0]
    assert place.bodies() == 1
    record_fault(
        "two processes fetch the same Hub model at once", "one fetches, both use it"
    )
