"""Proves what hub mode does with a Hub that works, is away, fails or lies.

A mirror on loopback serves a repository made here; each step is a process of its
own, because the Hub's client reads its environment once.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mirror import Mirror
from safetensors.numpy import save_file

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
REPO, REVISION = "someone/tiny", "0123456789" * 4
SCRIPT = """
import sys
from helpers.catalogue import catalogue
from helpers.errors import HelperError
from helpers.hub import hub_model
catalogue()["hub"][{repo!r}] = {spec!r}
try:
    print("GOT", hub_model({repo!r}))
except HelperError as error:
    print("ERROR", error)
    sys.exit(3)
if {load}:
    from transformers import AutoConfig
    found = hub_model({repo!r})
    name = found.pop("model")
    print("LOADED", AutoConfig.from_pretrained(name, **found).model_type)
"""


class Place:
    """A repository, a mirror that serves it, and an empty cache."""

    def __init__(self, tmp_path):
        import numpy

        self.folder = tmp_path / "repo"
        self.folder.mkdir()
        settings = {"model_type": "bert", "hidden_size": 8, "num_attention_heads": 1}
        (self.folder / "config.json").write_text(json.dumps(settings))
        (self.folder / "vocab.txt").write_text("[PAD]\n[UNK]\na\n")
        save_file({"w": numpy.zeros(50_000)}, self.folder / "model.safetensors")
        weights = (self.folder / "model.safetensors").read_bytes()
        self.spec = {
            "revision": REVISION,
            "weights": "model.safetensors",
            "sha256": hashlib.sha256(weights).hexdigest(),
        }
        self.home = tmp_path / "home"
        self.cache = tmp_path / "cache"
        self.mirror = Mirror({REPO: (REVISION, self.folder)})

    def environment(self, **more):
        return os.environ | {
            "HF_ENDPOINT": self.mirror.url,
            "HF_HOME": str(self.home),
            "HF_HUB_DISABLE_XET": "1",
            "LEARN_TRANSFORMERS_CACHE": str(self.cache),
            **more,
        }

    def ask(self, load=False, **more):
        """Return (exit status, what was printed, seconds) of one use of the model."""
        code = SCRIPT.format(repo=REPO, spec=self.spec, load=load)
        start = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=NOTEBOOKS,
            env=self.environment(**more),
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        assert done.returncode in (0, 3), done.stderr
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout, time.monotonic() - start

    def bodies(self):
        """Return how often the weights were sent."""
        got = [r for r in self.mirror.requests if r.startswith("GET")]
        return sum(r.endswith("model.safetensors") for r in got)

    def stored(self):
        """Return the weights that the Hub's client keeps, or None."""
        found = list(self.home.rglob("model.safetensors"))
        return found[0].read_bytes() if found else None


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    with place.mirror:
        yield place


def test_first_use_downloads_second_does_not(place):
    assert place.ask()[0] == 0
    assert place.bodies() == 1
    status, said, _ = place.ask(load=True)
    assert status == 0
    assert "LOADED bert" in said
    assert place.bodies() == 1


def test_offline_works_once_fetched(place, seen):
    place.ask()
    place.mirror.requests.clear()
    status, said, _ = place.ask(load=True, HF_HUB_OFFLINE="1")
    assert status == 0
    assert "LOADED bert" in said
    assert place.mirror.requests == []
    seen("HF_HUB_OFFLINE=1, model fetched before", said)


def test_offline_with_an_empty_cache_is_said(place, seen):
    status, said, seconds = place.ask(HF_HUB_OFFLINE="1")
    assert status == 3
    assert "HF_HUB_OFFLINE is set" in said
    assert seconds < 20
    seen("HF_HUB_OFFLINE=1, empty cache", said)


def test_a_hub_that_is_down_costs_seconds_not_a_minute(place, seen):
    place.ask()
    place.mirror.stop()
    status, said, seconds = place.ask(load=True)
    assert status == 0
    assert "Working offline" in said
    assert "LOADED bert" in said
    assert seconds < 20  # the client by itself takes 53 s
    seen("Hub down, model fetched before", said)


@pytest.mark.parametrize("fault", ["429", "500", "401"])
def test_a_hub_that_refuses_does_not_stop_a_warm_cache(place, seen, fault):
    place.ask()
    place.mirror.fault = fault
    status, said, seconds = place.ask(load=True)
    assert status == 0
    assert "Working offline" in said
    assert "LOADED bert" in said
    assert seconds < 20
    seen(f"Hub answers {fault} to everything, model fetched before", said)


def test_a_hub_that_is_down_with_an_empty_cache(place, seen):
    place.mirror.stop()
    status, said, seconds = place.ask()
    assert status == 3
    assert "not reachable" in said
    assert seconds < 20
    seen("Hub down, empty cache", said)


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
def test_a_faulty_hub_ends_in_one_line(place, seen, fault, words):
    place.mirror.fault = fault
    status, said, seconds = place.ask()
    assert status == 3
    assert words in said
    assert said.count("\n") == 1
    assert seconds < 40
    whole = (place.folder / "model.safetensors").read_bytes()
    assert place.stored() in (None, whole), "damaged weights were kept"
    place.mirror.fault = ""
    assert place.ask()[0] == 0, "the next try gets it right"
    assert place.stored() == whole
    seen(f"Hub, empty cache: {fault}", said)


@pytest.mark.parametrize("fault", ["corrupt", "cut", "blob-500"])
def test_a_passing_fault_is_tried_again(place, seen, fault):
    place.mirror.fault, place.mirror.until = fault, 1
    status, said, _ = place.ask()
    assert status == 0, said
    assert place.stored() == (place.folder / "model.safetensors").read_bytes()
    seen(f"Hub: {fault}, once", said)


def test_a_hub_that_hangs_is_left(place, seen):
    place.mirror.fault = "hang"
    status, said, seconds = place.ask()
    assert status == 3
    assert "not reachable" in said
    assert seconds < 20
    seen("Hub takes the connection and never answers", said)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_damaged_copy_in_the_cache_is_fetched_again(place, seen, name):
    place.ask()
    path = next(place.home.rglob(name)).resolve()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    status, said, _ = place.ask()
    assert status == 0
    assert "damaged" in said
    assert path.read_bytes() == (place.folder / name).read_bytes()
    seen(f"{name} in the Hub's cache damaged", said)


def test_weights_that_are_not_the_pinned_ones_are_refused(place, seen):
    place.spec["sha256"] = "0" * 64
    status, said, _ = place.ask()
    assert status == 3
    assert "damaged model.safetensors" in said
    assert place.stored() is None
    seen("the Hub serves other weights than the pinned ones", said)


def test_other_revisions_in_the_cache_are_left_alone(place):
    place.ask()
    other = next(place.home.rglob("snapshots")) / ("f" * 40)
    other.mkdir()
    (other / "mine").write_text("kept")
    path = next(place.home.rglob("model.safetensors")).resolve()
    path.write_bytes(b"damaged")
    assert place.ask()[0] == 0
    assert (other / "mine").read_text() == "kept"


def test_two_processes_at_once_fetch_once(place, seen):
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: place.ask(), range(2)))
    assert [status for status, _, _ in both] == [0, 0]
    assert place.bodies() == 1
    seen("two processes fetch the same Hub model at once", "one fetches, both use it")
