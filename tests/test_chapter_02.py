"""Proves what notebook 02 claims: its table follows the library, its own task is
small and refuses nonsense, its exercises refuse what only looks right.

The cells are taken from the notebook as it stands, so that the page is what is tested.
"""

import re

import pages
import pytest
from places import NOTEBOOKS
from transformers import AutoModelForCausalLM, Pipeline, logging, pipeline, pipelines
from transformers.pipelines.base import PipelineRegistry
from verdicts import assert_pointer

from helpers import check, model_for, register_own_tasks
from helpers.exercises import chapter_02
from helpers.tasks import THIRTEEN, task_row, task_table

CELLS = pages.page("02_text_tasks")


@pytest.fixture(autouse=True)
def quiet():
    """Keep the library as quiet as setup() does: its warning of a name that it sends
    on cannot be printed."""
    logging.set_verbosity_error()


@pytest.fixture
def kept():
    """Give the registry back as it was."""
    before = dict(pipelines.PIPELINE_REGISTRY.supported_tasks)
    yield
    pipelines.PIPELINE_REGISTRY.supported_tasks.clear()
    pipelines.PIPELINE_REGISTRY.supported_tasks.update(before)


def register(name, kind):
    pipelines.PIPELINE_REGISTRY.supported_tasks.pop(name, None)
    pipelines.PIPELINE_REGISTRY.register_pipeline(
        name, pipeline_class=kind, pt_model=AutoModelForCausalLM
    )


# --- the table ------------------------------------------------------------------


def test_the_table_says_what_the_library_does():
    for task in pipelines.get_supported_tasks():
        real = pipelines.check_task(task)[0]
        said = "available" if real == task else f"another name of {real}"
        assert task_row(task)[3] == said
        assert all(task_row(task)[1:3])
    for task in pipelines.REMOVED_TASKS:
        assert task_row(task)[3] == "removed"
        with pytest.raises(KeyError, match="removed"):
            pipelines.check_task(task)
    assert task_row("image-to-text")[3] == "redirected to image-text-to-text"


def test_all_thirteen_have_both_ends_and_a_model():
    table = task_table()
    assert list(table.index) == list(THIRTEEN)
    assert len(set(THIRTEEN)) == 13
    ends = {"text", "image", "image, text", "sound", "speech", "labels", "boxes"}
    assert set(table["in"]) | set(table["out"]) <= ends | {"vectors"}
    assert all(table["embedded model"])


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
    smell = ("smell-classification", "sound", "labels", "available", "")
    assert task_row("smell-classification") == smell
    assert task_row("odour")[3] == "another name of smell-classification"
    assert task_row("text-to-dance")[1:4] == ("text", "dance", "available")
    assert task_row("summarization")[3] == "available"
    assert task_row("fill-mask")[3] == "removed"
    assert task_row("translation")[3] == "not the library's"
    # A release without any list of what it removed.
    monkeypatch.setattr(pipelines, "_resolve_deprecated_task", lambda task: task)
    monkeypatch.delattr(pipelines, "REMOVED_TASKS")
    assert task_row("fill-mask")[3] == "not the library's"
    assert task_row("text-classification")[3] == "available"


# --- the task of the page's own ---------------------------------------------------


@pytest.fixture
def ours(kept):
    """The page's Summarize, registered as on the page."""
    made = pages.run(CELLS, ["retired-class"], {"Pipeline": Pipeline})["Summarize"]
    register("summarize", made)
    return made


def test_the_pipeline_that_a_reader_writes_is_small_and_stays(ours):
    lines = [line for line in CELLS["retired-class"].splitlines() if line.strip()]
    assert 15 <= len(lines) <= 20
    register_own_tasks()
    assert pipelines.check_task("summarize")[1]["impl"] is ours


@pytest.mark.model
def test_it_gives_the_result_of_the_old_task_and_refuses_what_is_no_text(
    ours, generator, record_fault
):
    parts = {"model": generator.model, "tokenizer": generator.tokenizer}
    summarize = pipeline("summarize", **parts)
    news = (NOTEBOOKS / "data/tour/library.txt").read_text("utf-8").strip()
    (answer,) = summarize([news], max_new_tokens=12)
    assert set(answer) == {"summary_text"} and "library" in answer["summary_text"]
    for nothing in (None, 7, ["a", 7]):
        with pytest.raises(TypeError, match="summarize takes a text") as caught:
            summarize(nothing)
        record_fault(f"the page's summarize given {nothing!r}", caught.value)


# --- the exercises ----------------------------------------------------------------


@pytest.fixture(scope="module")
def generator():
    return pipeline("text-generation", **model_for("text-generation"), dtype="float32")


@pytest.fixture(scope="module")
def given(generator, pipe):
    """What the page gives to the checker of an exercise besides the answer."""
    register_own_tasks()
    return {
        "02.1": [],
        "02.2": [pipe("feature-extraction")],
        "02.3": [pipe("translate")],
        "02.4": [generator],
    }


def by_product(texts, encoder):
    """Forget to divide by the lengths."""
    means = {x: chapter_02.torch.tensor(encoder(x))[0].mean(dim=0) for x in texts}
    pairs = chapter_02.combinations(texts, 2)
    return set(max(pairs, key=lambda p: float(means[p[0]] @ means[p[1]])))


def by_first_token(texts, encoder):
    """Take the first token for the text."""
    return chapter_02.alike(texts, lambda text: [encoder(text)[0][:1]])


def same_set(message, translate):
    """Forget that a placeholder may occur twice."""
    french = translate(message)[0]["translation_text"]
    names = [set(re.findall(r"\{\w+\}", text)) for text in (message, french)]
    return french if names[0] == names[1] else message


def same_number(message, translate):
    """Only count the braces."""
    french = translate(message)[0]["translation_text"]
    return french if french.count("{") == message.count("{") else message


class Invents(chapter_02.Answer):
    """Never compare with the context."""

    def postprocess(self, asked):
        text = self.tokenizer.decode(asked["made"][0], skip_special_tokens=True)
        return {"answer": text}


class Substring(chapter_02.Answer):
    """Compare letters, not words."""

    def postprocess(self, asked):
        text = Invents.postprocess(self, asked)["answer"].strip(" .")
        found = text.lower() in asked["context"].lower()
        return {"answer": text if found else None}


class Silent(chapter_02.Answer):
    """Never answer, which is never wrong."""

    def postprocess(self, asked):
        return {"answer": None}


class Forgets(chapter_02.Answer):
    """Leave the context out of the prompt."""

    def preprocess(self, asked):
        return super().preprocess({**asked, "context": ""})


WRONG = [
    ("02.1", lambda task: task, "For 'ner' expected 'token-classification'"),
    ("02.1", lambda task: pipelines.TASK_ALIASES.get(task, task), "'image-to-text'"),
    ("02.1", chapter_02.check_task, "For 'fill-mask' expected 'fill-mask'"),
    ("02.1", "fill-mask", "It stopped with TypeError"),
    ("02.2", by_product, "divide each by its length"),
    ("02.2", by_first_token, "the mean over all tokens"),
    ("02.2", lambda texts, encoder: texts[:2], "opposite ways"),
    ("02.3", lambda m, translate: translate(m)[0]["translation_text"], "{n} is there"),
    ("02.3", same_set, "{n} is there once"),
    ("02.3", same_number, "the program fills in {user}"),
    ("02.3", lambda message, translate: message, "both have the same placeholders"),
    ("02.4", "answer", "derives from Pipeline"),
    ("02.4", Smells, "No task 'answer' with this class"),
    ("02.4", Invents, "nothing of that is in the context"),
    ("02.4", Substring, "it stands inside another word"),
    ("02.4", Silent, "which is in"),
    ("02.4", Forgets, "should hold both"),
]


@pytest.mark.model
@pytest.mark.parametrize(("number", "answer", "words"), WRONG)
def test_what_only_looks_right_gets_a_pointer(
    capsys, number, answer, words, given, kept
):
    if isinstance(answer, type) and issubclass(answer, chapter_02.Answer):
        register("answer", answer)
    capsys.readouterr()
    check(number, answer, *given[number])
    out = capsys.readouterr().out.strip()
    assert_pointer(out, number, words)


def by_table(task):
    """The names that are gone are those that the library does not list."""
    gone = task not in pipelines.get_supported_tasks() and task != "image-to-text"
    return None if gone else pipelines.check_task(task)[0]


def by_matrix(texts, encoder):
    """All cosines at once, the diagonal left out."""
    torch = chapter_02.torch
    features = encoder(texts, return_tensors=True)
    means = torch.stack([feature[0].mean(dim=0) for feature in features])
    means = torch.nn.functional.normalize(means, dim=1)
    cosines = (means @ means.T).fill_diagonal_(-2)
    one, other = divmod(int(cosines.argmax()), len(texts))
    return [texts[one], texts[other]]


def by_counts(message, translate):
    """Count each placeholder of either text."""
    french = translate([message])[0]["translation_text"]
    names = re.findall(r"\{[^{}]*\}", message + french)
    kept = all(message.count(name) == french.count(name) for name in names)
    return french if kept else message


class Attribute(chapter_02.Answer):
    """Keep the context on the pipeline, and compare with a pattern."""

    def preprocess(self, asked):
        self.context = asked["context"]
        return super().preprocess(asked)["inputs"]

    def _forward(self, inputs, **options):
        made = self.model.generate(**inputs, do_sample=False, max_new_tokens=20)
        return made[:, inputs["input_ids"].shape[1] :]

    def postprocess(self, made):
        text = self.tokenizer.decode(made[0], skip_special_tokens=True).strip(" .")
        pattern = rf"\b{re.escape(text)}\b"
        found = text and re.search(pattern, self.context, flags=re.IGNORECASE)
        return {"answer": text if found else None}


RIGHT = [
    ("02.1", chapter_02.what_runs),
    ("02.1", by_table),
    ("02.2", chapter_02.alike),
    ("02.2", by_matrix),
    ("02.3", chapter_02.safe),
    ("02.3", by_counts),
    ("02.4", chapter_02.Answer),
    ("02.4", Attribute),
]


@pytest.mark.model
@pytest.mark.parametrize(("number", "answer"), RIGHT)
def test_right_answers_are_accepted_however_they_are_written(
    capsys, number, answer, given, kept
):
    if number == "02.4":
        register("answer", answer)
    capsys.readouterr()
    check(number, answer, *given[number])
    assert capsys.readouterr().out.strip() == f"{number}: right."
