"""Proves that every chapter runs in hub mode, against a mirror on loopback.

The mirror serves embedded models under the catalogue's Hub ids: small repositories
with the right architecture, so that each cell and each assert of a page runs.
"""

import shutil
from pathlib import Path

import pytest
import tomli_w
from mirror import Mirror

from book import execute, sync_generated
from helpers import models
from helpers.catalogue import catalogue
from helpers.store import MANIFEST, sha256


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A mirror with a repository for every task's Hub model, and its catalogue."""
    place = tmp_path_factory.mktemp("hub")
    table = {name: dict(rows) for name, rows in catalogue().items()}
    repositories = {}
    for entry in table["tasks"].values():
        repo, spec = entry["hub"], dict(table["hub"][entry["hub"]])
        folder = place / repo.replace("/", "--")
        if not folder.exists():
            source = models.embedded(entry["embedded"])
            ignore = shutil.ignore_patterns(MANIFEST)
            shutil.copytree(source, folder, ignore=ignore)
        spec["sha256"] = sha256(folder / spec["weights"])
        table["hub"][repo] = spec
        repositories[repo] = (spec["revision"], folder)
    path = place / "catalogue.toml"
    path.write_text(tomli_w.dumps(table), "utf-8")
    with Mirror(repositories) as mirror:
        yield mirror, path, place


@pytest.mark.parametrize("path", sync_generated.chapters(), ids=lambda p: p.name)
def test_a_chapter_runs_in_hub_mode(path: Path, hub, monkeypatch):
    mirror, table, place = hub
    monkeypatch.setenv("MODELS", "hub")
    monkeypatch.setenv("LEARN_TRANSFORMERS_CATALOGUE", str(table))
    monkeypatch.setenv("LEARN_TRANSFORMERS_CACHE", str(place / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", mirror.url)
    monkeypatch.setenv("HF_HOME", str(place / "home"))
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    notebook, seconds, gb = execute.execute(path)
    said = "".join(
        output.get("text", "")
        for cell in notebook.cells
        for output in cell.get("outputs", [])
    )
    assert "Mode hub" in said
    assert any("resolve" in request for request in mirror.requests)
    assert seconds < 180  # 10 s on a calm machine; the suite may share it
    assert gb < 2.5
