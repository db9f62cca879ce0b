"""Proves what notebook 02 claims: its table follows the library, its own task is
small and refuses nonsense, its widget answers with one line, its exercises point.

The cells are taken from the notebook as it stands, so that the page is what is tested.
"""

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pages
import pytest
import soundfile
import torch
from PIL import Image
from places import NOTEBOOKS
from transformers import AutoModelForCausalLM, logging, pipeline, pipelines
from transformers.pipelines.base import PipelineRegistry
from wrong_inputs import A_TEXT, wav

from helpers import (
    check,
    explore,
    model_for,
    photograph,
    register_own_tasks,
    sound,
    widgets,
)
from helpers.exercises import chapter_02

CELLS = pages.page("02_text_tasks")


def page(*ids):
    """Run cells of the page, nobody looking, and return the names that they leave."""
    logging.set_verbosity_error()  # as setup() does
    names = {"pipeline": pipeline, "model_for": model_for, "plt": plt}
    names |= {"Image": Image, "sound": sound, "soundfile": soundfile}
    names |= {"photograph": photograph}
    return pages.run(CELLS, ids, names)


@pytest.fixture
def kept():
    """Give the registry back as it was; the library quiet, as setup() leaves it."""
    logging.set_verbosity_error()
    before = dict(pipelines.PIPELINE_REGISTRY.supported_tasks)
    yield
    pipelines.PIPELINE_REGISTRY.supported_tasks.clear()
    pipelines.PIPELINE_REGISTRY.supported_tasks.update(before)


# --- the table ------------------------------------------------------------------


def test_the_table_says_what_the_library_does():
    row = page("table-ends", "table-row")["row"]
    for task in pipelines.get_supported_tasks():
        real = pipelines.check_task(task)[0]
        said = "available" if real == task else f"another name of {real}"
        assert row(task)[3] == said
        assert all(row(task)[1:3])
    for task, advice in pipelines.REMOVED_TASKS.items():
        assert row(task)[3] == f"removed. {advice}"
        with pytest.raises(KeyError, match="removed"):
            pipelines.check_task(task)
    assert row("image-to-text")[3] == "redirected to image-text-to-text"


def test_all_thirteen_have_both_ends_and_all_but_three_a_model():
    names = page("table-ends", "table-row", "table-show")
    assert len(set(names["THIRTEEN"])) == 13
    for task in names["THIRTEEN"]:
        _, goes_in, out, _, embedded, hub = names["row"](task)
        assert embedded and hub.endswith(" MB"), task
        assert {goes_in, out} <= {
            *["text", "image", "image, text", "sound", "speech", "labels", "boxes"],
            "vectors",
        }


class Smells(pipelines.Pipeline):
    """A task of a release that is still to come."""

    _load_feature_extractor = True
    _load_tokenizer = _load_processor = _load_image_processor = False


def test_the_table_is_right_on_a_release_to_come(monkeypatch):
    known = pipelines.SUPPORTED_TASKS
    tasks = {
        "smell-classification": {"impl": Smells, "pt": (), "type": "smell"},
        "summarization": known["text-generation"],  # it comes back
        "text-to-dance": known["text-to-audio"],
        "text-classification": known["text-classification"],
    }
    aliases = {"odour": "smell-classification"}
    fake = PipelineRegistry(supported_tasks=tasks, task_aliases=aliases)
    monkeypatch.setattr(pipelines, "PIPELINE_REGISTRY", fake)
    monkeypatch.setattr(pipelines, "TASK_ALIASES", aliases)
    removed = {"fill-mask": "Use something else."}
    monkeypatch.setattr(pipelines, "REMOVED_TASKS", removed)
    row = page("table-ends", "table-row")["row"]
    assert row("smell-classification")[:4] == [
        *["smell-classification", "sound", "labels", "available"]
    ]
    assert row("odour")[3] == "another name of smell-classification"
    assert row("text-to-dance")[1:4] == ["text", "dance", "available"]
    assert row("summarization")[3] == "available"
    assert row("fill-mask")[3] == "removed. Use something else."
    assert row("translation")[3] == "not the library's"
    # A release without any list of what it removed.
    monkeypatch.setattr(pipelines, "_resolve_deprecated_task", lambda task: task)
    monkeypatch.delattr(pipelines, "REMOVED_TASKS")
    assert row("fill-mask")[3] == "not the library's"
    assert row("text-classification")[3] == "available"


# --- the task of the page's own ---------------------------------------------------


def test_the_pipeline_that_a_reader_writes_is_small_and_stays(kept):
    lines = [line for line in CELLS["retired-class"].splitlines() if line.strip()]
    assert 15 <= len(lines) - 1 <= 20  # without the import
    ours = page("retired-class")["Summarize"]
    pipelines.PIPELINE_REGISTRY.supported_tasks.pop("summarize", None)
    pipelines.PIPELINE_REGISTRY.register_pipeline(
        "summarize", pipeline_class=ours, pt_model=AutoModelForCausalLM
    )
    register_own_tasks()
    assert pipelines.check_task("summarize")[1]["impl"] is ours


@pytest.mark.model
def test_it_gives_the_result_of_the_old_task_and_refuses_what_is_no_text(
    kept, record_fault
):
    ours = page("retired-class")["Summarize"]
    pipelines.PIPELINE_REGISTRY.supported_tasks.pop("summarize", None)
    pipelines.PIPELINE_REGISTRY.register_pipeline(
        "summarize", pipeline_class=ours, pt_model=AutoModelForCausalLM
    )
    summarize = pipeline("summarize", **model_for("text-generation"))
    news = (NOTEBOOKS / "data/tour/library.txt").read_text("utf-8").strip()
    (answer,) = summarize([news], max_new_tokens=12)
    assert set(answer) == {"summary_text"} and "library" in answer["summary_text"]
    for nothing in (None, 7, ["a", 7]):
        with pytest.raises(TypeError, match="summarize takes a text") as caught:
            summarize(nothing)
        record_fault(f"the page's summarize given {nothing!r}", caught.value)


# --- the widget -------------------------------------------------------------------


@pytest.fixture(scope="module")
def draw():
    names = page("table-ends", "table-row", "stages", "try-draw")
    return names["draw"]


BAD = [
    ("image-classification", A_TEXT, "HelperError"),
    ("image-classification", b"", "HelperError"),
    ("audio-classification", A_TEXT, "LibsndfileError"),
    ("audio-classification", wav(np.zeros(0)), "HelperError"),
]


@pytest.mark.model
@pytest.mark.parametrize(("task", "content", "error"), BAD)
def test_the_widget_answers_a_bad_file_with_one_line(
    task, content, error, draw, monkeypatch, capsys, record_fault
):
    monkeypatch.chdir(NOTEBOOKS)
    shown = []
    monkeypatch.setattr(widgets, "interactive", lambda: True)
    monkeypatch.setattr("IPython.display.display", shown.append)
    explore(draw, task=[task], text="a", file=lambda: ipywidgets.FileUpload())
    capsys.readouterr()
    upload = shown[0].children[2]
    upload.value = (
        {
            "name": "file",
            "type": "",
            "size": len(content),
            "content": memoryview(content),
            "last_modified": __import__("datetime").datetime(2026, 1, 1),
        },
    )
    said = capsys.readouterr().out.splitlines()
    assert said[-1].split("\x1b[2K")[-1].startswith(error), said
    assert "Traceback" not in "".join(said)
    record_fault(f"a file that is no input, for {task}", said[-1])


# --- the exercises ----------------------------------------------------------------


def transposed(patches, size, width):
    """Every number is there, rows and columns changed over."""
    return chapter_02.mend(patches, size, width).flip(-1)


def as_it_comes(text, other):
    """Forget that case and punctuation do not count."""
    return chapter_02.word_errors("x".join(text.split()), other)


WRONG = [
    ("02.1", lambda task: task, "expected"),
    ("02.1", chapter_02.check_task, "For 'text-generation' expected"),
    ("02.1", "text-generation", "It stopped with TypeError"),
    ("02.2", lambda found, least: {}, "expected {'dog': 2}"),
    ("02.2", lambda found, least: {"dog": 3, "apple": 1}, "expected"),
    ("02.2", lambda found: {}, "It stopped with TypeError"),
    ("02.3", lambda patches, size, width: patches, "make (3, 8, 8)"),
    ("02.3", lambda p, s, w: torch.zeros(3, 8, 8), "should be there once"),
    ("02.3", transposed, "in another order"),
    ("02.4", lambda said, heard: 0.0, "expected 0.600"),
    ("02.4", as_it_comes, "expected"),
    ("02.4", lambda said, heard: 1 / 0, "It stopped with ZeroDivisionError"),
    ("02.5", "answer", "derives from Pipeline"),
    ("02.5", Smells, "No task 'answer' with this class"),
]


@pytest.mark.parametrize(("number", "answer", "words"), WRONG)
def test_a_wrong_answer_gets_a_pointer(capsys, number, answer, words):
    check(number, answer)
    out = capsys.readouterr().out.strip()
    assert out.startswith(f"{number}: not yet.")
    assert words in out
    assert "\n" not in out


@pytest.mark.model
def test_the_solutions_beside_the_checkers_are_right(capsys, kept):
    pipelines.PIPELINE_REGISTRY.register_pipeline(
        "answer", pipeline_class=chapter_02.Answer, pt_model=AutoModelForCausalLM
    )
    check("02.1", chapter_02.what_runs)
    check("02.2", chapter_02.count)
    check("02.3", chapter_02.mend)
    check("02.4", chapter_02.word_errors)
    check("02.5", chapter_02.Answer)
    said = capsys.readouterr().out
    assert [f"02.{n}: right." in said for n in range(1, 6)] == [True] * 5


@pytest.mark.model
def test_an_answer_that_does_not_read_the_context_is_noticed(capsys, kept):
    class Forgets(chapter_02.Answer):
        def preprocess(self, asked):
            return super().preprocess({**asked, "context": ""})

    pipelines.PIPELINE_REGISTRY.register_pipeline(
        "answer", pipeline_class=Forgets, pt_model=AutoModelForCausalLM
    )
    check("02.5", Forgets)
    assert "Does the prompt hold both?" in capsys.readouterr().out
