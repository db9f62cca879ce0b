"""Proves that the series runs in hub mode, against a mirror that looks like the Hub.

The mirror serves tiny models, nearly all random, of the architectures that the Hub has,
see hub_models.py. Each task answers; one chapter runs whole. `make nightly` runs the
other chapters, the solutions and every choice of every widget.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import hub_models
import nbformat
import pytest
import tomli_w
from filelock import FileLock
from hub_models import OTHER_FILES
from mirror import Mirror

from book import downloads, execute, sync_generated
from helpers.catalogue import NOTEBOOKS, catalogue
from helpers.store import sha256

SOLUTIONS = sorted((NOTEBOOKS / "solutions").glob("*.ipynb"))
# Exercises whose right answers only a model that has learned can give.
LEARNED = {"01.1", "02.4", "04.4", "05.1", "05.4", "12.4"}
# Runs in every kernel: explore() draws each choice of a menu and both ends of a slider.
EVERY_CHOICE = """
def every_choice(draw, **controls):
    kinds = {name: value for name, value in controls.items() if not callable(value)}
    first = {n: v[0] if isinstance(v, (list, tuple)) else v for n, v in kinds.items()}
    first |= {name: None for name in controls if name not in kinds}
    draw(**first)
    for name, value in kinds.items():
        for choice in value[1:] if isinstance(value, (list, tuple)) else ():
            print("choice", name, choice)
            draw(**first | {name: choice})


try:
    import helpers

    helpers.explore = every_choice
except ImportError:
    pass
"""
ANSWERS = """
import json, sys
from PIL import Image
from transformers import pipeline
from helpers import model_for, register_own_tasks, setup, sound
from helpers.catalogue import catalogue

setup()
register_own_tasks()
picture = Image.open("data/scenes/guitar.png").convert("RGB")
ask = [{"role": "user", "content": [
    {"type": "image", "image": picture}, {"type": "text", "text": "What is this?"}]}]
nine = sound("data/tour/nine.wav")
few = {"max_new_tokens": 3}
GIVEN = {
    "text-generation": ("It is", few | {"do_sample": False}),
    "summarize": ("The ferry was late. " * 9, few),
    "translate": ("Save the file.", few),
    "zero-shot-classification": ("It rains.", {"candidate_labels": ["rain", "art"]}),
    "automatic-speech-recognition": (dict(nine), {}),
    "audio-classification": (dict(nine), {}),
    "zero-shot-image-classification": (picture, {"candidate_labels": ["a", "b"]}),
    "image-text-to-text": (None, {"text": ask, "generate_kwargs": few}),
    "describe-image": (picture, few),
}
for task in catalogue()["tasks"]:
    pipe = pipeline(task, **model_for(task))
    value = picture if task.startswith(("image-", "object")) else "It is late."
    value, options = GIVEN.get(task, (value, {}))
    answer = pipe(**options) if value is None else pipe(value, **options)
    kind = type(pipe.model).__name__
    print("ANSWER", json.dumps([task, kind, repr(answer)[:300]]), flush=True)
"""


@pytest.fixture(scope="session")
def repositories(tmp_path_factory, worker_id):
    """{id: (revision, folder)} and the catalogue's file, built once for all workers."""
    place = tmp_path_factory.getbasetemp()
    place = (place if worker_id == "master" else place.parent) / "hub"
    with FileLock(f"{place}.lock"):
        table = {name: dict(rows) for name, rows in catalogue().items()}
        served = {}
        for repo in sorted({entry["hub"] for entry in table["tasks"].values()}):
            spec = dict(table["hub"][repo])
            folder = place / repo.replace("/", "--")
            if not folder.exists():
                aside = folder.with_name(f"{folder.name}.part")
                hub_models.build(repo, aside).rename(folder)
            if "sha256" in spec:  # where there is none, the mirror's is trusted
                spec["sha256"] = sha256(folder / spec["weights"])
            table["hub"][repo] = spec
            served[repo] = (spec["revision"], folder)
        path = place / "catalogue.toml"
        if not path.exists():
            path.write_text(tomli_w.dumps(table), "utf-8")
    return served, path


@pytest.fixture(scope="class")
def hub(repositories, tmp_path_factory):
    """A mirror, and the environment in which it is the Hub, its cache empty."""
    served, table = repositories
    place = tmp_path_factory.mktemp("cache")
    with Mirror(served) as mirror:
        yield (
            mirror,
            {
                "MODELS": "hub",
                "LEARN_TRANSFORMERS_CATALOGUE": str(table),
                "LEARN_TRANSFORMERS_CACHE": str(place / "cache"),
                "HF_ENDPOINT": mirror.url,
                "HF_HOME": str(place / "home"),
                "HF_HUB_DISABLE_XET": "1",
            },
        )


def printed(notebook: nbformat.NotebookNode) -> str:
    """Return all that a notebook prints."""
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    return "".join(output.get("text", "") for output in outputs)


def right(said: str) -> set[str]:
    """Return the exercises that are answered rightly."""
    return set(re.findall(r"^(\d\d\.\d+): right", said, flags=re.MULTILINE))


def said_in(path: Path, hub, monkeypatch) -> str:
    """Execute a notebook in hub mode; return all that it prints."""
    mirror, environment = hub
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    notebook, seconds, gb = execute.execute(path)
    assert seconds < 300  # some 20 s on a calm machine; the suite may share it
    assert gb < 2.5
    wanted = [r for r in mirror.requests if "/resolve/" in r or "/large/" in r]
    assert not [r for r in wanted if r.endswith(tuple(OTHER_FILES))], "never needed"
    return printed(notebook)


def fetched(mirror: Mirror) -> set[str]:
    """Return the repositories that a mirror was asked for."""
    asked = " ".join(mirror.requests)
    return {repo for repo in mirror.repositories if f"/{repo}/resolve/" in asked}


def named(path: Path) -> set[str]:
    """Return the repositories behind the tasks that a notebook names."""
    return {catalogue()["tasks"][task]["hub"] for task in downloads.tasks_of(path)}


class TestTasks:
    """Every task of the catalogue, loaded one after the other in one process."""

    @pytest.fixture(scope="class")
    def answers(self, hub):
        mirror, environment = hub
        done = subprocess.run(
            [sys.executable, "-c", ANSWERS],
            cwd=NOTEBOOKS,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        lines = [x for x in done.stdout.splitlines() if x.startswith("ANSWER ")]
        rows = [json.loads(line.removeprefix("ANSWER ")) for line in lines]
        return {task: row for task, *row in rows}, done, mirror

    @pytest.mark.parametrize("task", catalogue()["tasks"])
    def test_a_task_answers(self, answers, task):
        found, done, _ = answers
        assert task in found, done.stderr[-2000:]
        assert found[task][1] not in ("[]", "''"), "an empty answer"

    @pytest.mark.parametrize(
        ("task", "kind"),
        {
            "sentiment-analysis": "DistilBertForSequenceClassification",
            "summarize": "BartForConditionalGeneration",
            "translate": "T5ForConditionalGeneration",
            "zero-shot-classification": "BartForSequenceClassification",
            "automatic-speech-recognition": "Wav2Vec2ForCTC",
            "audio-classification": "ASTForAudioClassification",
            "text-to-speech": "VitsModel",
            "image-classification": "ViTForImageClassification",
            "object-detection": "RTDetrForObjectDetection",
            "image-text-to-text": "Idefics3ForConditionalGeneration",
        }.items(),
    )
    def test_the_mirror_has_the_architecture_of_the_hub(self, answers, task, kind):
        assert answers[0][task][0] == kind

    def test_nothing_is_fetched_that_nobody_needs(self, answers):
        _, done, mirror = answers
        assert "your numbers will differ" in done.stdout
        wanted = [r for r in mirror.requests if "/resolve/" in r or "/large/" in r]
        assert not [r for r in wanted if r.endswith(tuple(OTHER_FILES))]


class TestFirstChapter:
    def test_it_runs_in_hub_mode(self, hub, monkeypatch):
        path = sync_generated.chapters()[0]
        said = said_in(path, hub, monkeypatch)
        assert "Mode hub" in said
        assert "your numbers will differ" in said
        assert fetched(hub[0]) == named(path)

    def test_its_megabytes_are_those_of_its_models(self):
        path = sync_generated.chapters()[0]
        rows = [catalogue()["hub"][repo] for repo in named(path)]
        sizes = downloads.megabytes(path)
        assert sizes["hub"] == sum(row["mb"] for row in rows) > 0
        assert 0 < sizes["embedded"] < sizes["hub"]


def chapter_class(path: Path) -> type:
    """Return a class of tests for one chapter: a load scope of its own."""

    class Chapter:
        @pytest.mark.nightly
        def test_it_runs_in_hub_mode_with_every_choice(
            self, hub, monkeypatch, tmp_path
        ):
            start = tmp_path / "profile_default" / "startup"
            start.mkdir(parents=True)
            (start / "every_choice.py").write_text(EVERY_CHOICE)
            monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
            assert "Mode hub" in said_in(path, hub, monkeypatch)
            assert fetched(hub[0]) <= named(path)

        @pytest.mark.nightly
        @pytest.mark.parametrize(
            "solutions", [s for s in SOLUTIONS if s.name == path.name], ids=["all"]
        )
        def test_its_solutions_run_in_hub_mode(self, hub, monkeypatch, solutions):
            stored = nbformat.read(solutions, as_version=4)
            said = said_in(solutions, hub, monkeypatch)
            assert right(printed(stored)) - right(said) <= LEARNED

    Chapter.__name__ = Chapter.__qualname__ = f"TestChapter{path.stem[:2]}"
    return Chapter


for _path in sync_generated.chapters():
    _chapter = chapter_class(_path)
    globals()[_chapter.__name__] = _chapter
del _chapter
