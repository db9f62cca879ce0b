"""The exercises of notebook 02: for each its solution, then its checker."""

from __future__ import annotations

import math
import re
from collections import Counter

import torch
from transformers import Pipeline, pipeline
from transformers.pipelines import PIPELINE_REGISTRY, check_task

from ..models import model_for
from . import Wrong, exercise


def what_runs(task: str) -> str | None:
    """The solution of 02.1: the library's own name, or None where it refuses."""
    try:
        return check_task(task)[0]
    except KeyError:
        return None


@exercise(
    "02.1",
    "pipelines.check_task(task)[0] is the name that the library uses itself.",
    "For a name that is gone it raises KeyError: try … except KeyError: return None.",
)
def check_what_runs(answer) -> None:
    names = ["text-generation", "sentiment-analysis", "image-to-text", "summarization"]
    for task in [*names, "text-to-speech", "translation_en_to_fr", "make-coffee"]:
        found, expected = answer(task), what_runs(task)
        if found != expected:
            raise Wrong(f"For {task!r} expected {expected!r}, got {found!r}.")


def count(found: list[dict], least: float) -> dict[str, int]:
    """The solution of 02.2: labels of the boxes that are sure enough, counted."""
    return dict(Counter(box["label"] for box in found if box["score"] >= least))


@exercise(
    "02.2",
    "Each box is a dictionary with a label and a score.",
    "Start with counts = {} and, for a box that is sure enough, set "
    "counts[label] = counts.get(label, 0) + 1.",
)
def check_count(answer) -> None:
    sure = [("dog", 0.9), ("dog", 0.5), ("apple", 0.4), ("dog", 0.2)]
    found = [{"label": label, "score": score, "box": {}} for label, score in sure]
    for boxes, least in [(found, 0.5), (found, 0.0), (found, 0.95), ([], 0.5)]:
        got, expected = dict(answer(list(boxes), least)), count(boxes, least)
        if got != expected:
            names = [(box["label"], box["score"]) for box in boxes]
            raise Wrong(
                f"For {names} and at least {least} expected {expected}, got {got}."
            )


def mend(patches: torch.Tensor, size: int, width: int) -> torch.Tensor:
    """The solution of 02.3: name all five sides, then bring them into order."""
    grid = patches.reshape(-1, width // size, patches.shape[1] // size**2, size, size)
    return grid.permute(2, 0, 3, 1, 4).flatten(3).flatten(1, 2)


@exercise(
    "02.3",
    "How many channels? patches.shape[1] // size**2. One patch is "
    "patches[i].reshape(channels, size, size).",
    "Patch i lies in row i // (width // size) and column i % (width // size): fill "
    "torch.zeros(channels, height, width) with one slice after the other.",
)
def check_mend(answer) -> None:
    random = torch.Generator().manual_seed(0)
    for channels, height, width, size in [(3, 8, 8, 4), (3, 8, 12, 2), (1, 6, 3, 3)]:
        pixels = torch.rand(1, channels, height, width, generator=random)
        patches = torch.nn.functional.unfold(pixels, size, stride=size)[0].T
        got, pixels = answer(patches.clone(), size, width), pixels[0]
        shape = tuple(getattr(got, "shape", ()))
        if shape != tuple(pixels.shape):
            raise Wrong(
                f"{len(patches)} patches of {size} and a width of {width} make "
                f"{tuple(pixels.shape)}, got {shape}."
            )
        if sorted(got.flatten().tolist()) != sorted(pixels.flatten().tolist()):
            raise Wrong("Every number of the patches should be there once.")
        if not torch.equal(got, pixels):
            raise Wrong(
                "The numbers are all there, in another order: patches go row by "
                "row, and a patch is its first channel, then the next."
            )


def word_errors(said: str, heard: str) -> float:
    """The solution of 02.4: the edit distance between two lists of words."""
    said, heard = (re.findall(r"[a-z0-9']+", text.lower()) for text in (said, heard))
    before = list(range(len(heard) + 1))
    for i, word in enumerate(said, start=1):
        row = [i]
        for j, other in enumerate(heard, start=1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (word != other)))
        before = row
    return before[-1] / len(said)


@exercise(
    "02.4",
    "Let distance[i][j] be the fewest changes between the first i words said and the "
    "first j heard. distance[i][0] is i, and distance[0][j] is j.",
    "distance[i][j] is the least of: one above + 1, one to the left + 1, and the one "
    "above to the left, + 1 if the two words differ.",
    "Divide the last number by how many words were said. Lower case first, and leave "
    'the punctuation out: re.findall(r"[a-z0-9\']+", text.lower()).',
)
def check_word_errors(answer) -> None:
    for said, heard in [
        ("Good morning.", "good morning"),
        ("A pipeline is one idea.", "I like this one idea."),
        ("Open the door", "Open door"),
        ("Open the door", "Open up the red door"),
        ("one two three four", "two three four one"),
        ("nine", "Thank you."),
        ("nine", ""),
    ]:
        got, expected = answer(said, heard), word_errors(said, heard)
        if not math.isclose(got, expected, abs_tol=1e-6):
            raise Wrong(
                f"{said!r} heard as {heard!r}: expected {expected:.3f}, got {got}."
            )


class Answer(Pipeline):
    """The solution of 02.5: a question about a text, in a prompt."""

    _load_tokenizer = True
    _load_processor = _load_image_processor = _load_feature_extractor = False

    def _sanitize_parameters(self, **options):
        return {}, options, {}

    def preprocess(self, asked):
        ask = f"{asked['context']}\n\nAnswer in one short sentence: {asked['question']}"
        return self.tokenizer.apply_chat_template(
            [{"role": "user", "content": ask}],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )

    def _forward(self, inputs, **options):
        options = {"max_new_tokens": 30, "do_sample": False} | options
        made = self.model.generate(**inputs, **options)
        return made[:, inputs["input_ids"].shape[1] :]

    def postprocess(self, made):
        text = self.tokenizer.decode(made[0], skip_special_tokens=True)
        return {"answer": text.strip()}


ASKED = [
    ("What did Anna leave?", "Anna left her umbrella on the train.", "umbrella"),
    ("Who owns the blue car?", "The blue car belongs to Mr. Weber.", "weber"),
]


@exercise(
    "02.5",
    "Begin with a copy of Summarize. Only preprocess gets another value: a "
    "dictionary, whose context and question go into the prompt.",
    "postprocess returns {'answer': text}.",
    "PIPELINE_REGISTRY.register_pipeline('answer', pipeline_class=Answer, "
    "pt_model=AutoModelForCausalLM), as for summarize.",
)
def check_answer(answer) -> None:
    if not (isinstance(answer, type) and issubclass(answer, Pipeline)):
        raise Wrong("Expected a class that derives from Pipeline.")
    entry = PIPELINE_REGISTRY.supported_tasks.get("answer", {})
    if entry.get("impl") is not answer:
        raise Wrong("No task 'answer' with this class is registered: hint('02.5').")
    run = pipeline("answer", **model_for("text-generation"))
    for question, context, word in ASKED:
        got = run({"question": question, "context": context})
        got = got[0] if isinstance(got, list) else got
        if not isinstance(got, dict) or set(got) != {"answer"}:
            raise Wrong(f"Expected {{'answer': …}}, got {got!r}.")
        if word not in got["answer"].lower():
            raise Wrong(
                f"Asked {question!r} about {context!r}, it says {got['answer']!r}. "
                "Does the prompt hold both?"
            )
