"""The exercises of notebook 02: for each its solution, then its checker."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations

import torch
from transformers import Pipeline, pipeline
from transformers.pipelines import PIPELINE_REGISTRY, check_task

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
    names = ["fill-mask", "ner", "sentiment-analysis", "image-to-text", "summarization"]
    for task in [*names, "translation_en_to_fr", "make-coffee"]:
        found, expected = answer(task), what_runs(task)
        if found != expected:
            raise Wrong(f"For {task!r} expected {expected!r}, got {found!r}.")


def alike(texts: list[str], encoder) -> set[str]:
    """The solution of 02.2: the pair of texts with the largest cosine."""
    means = [torch.as_tensor(encoder(text))[0].mean(dim=0) for text in texts]

    def cosine(pair: tuple[int, int]) -> float:
        return torch.cosine_similarity(*(means[i] for i in pair), dim=0).item()

    return {texts[i] for i in max(combinations(range(len(texts)), 2), key=cosine)}


class Planted:
    """Stands in for an encoder: vectors of a text that were chosen beforehand."""

    def __init__(self, vectors: dict[str, list[list[float]]]) -> None:
        self.vectors = vectors

    def __call__(self, texts, return_tensors: bool = False, **options):
        if not isinstance(texts, str):
            return [self(text, return_tensors) for text in texts]
        features = [self.vectors[texts]]
        return torch.tensor(features) if return_tensors else features


# Texts with planted vectors, the pair that is most alike, and what it may be taken for.
PLANTED = [
    (
        {"a": [[1.0, 0.1]], "b": [[1.0, 0.0]], "c": [[9.0, 9.0]]},
        "Long vectors win: divide each by its length before you compare.",
    ),
    (
        {
            "a": [[1.0, 0.0], [0.0, 9.0]],
            "b": [[0.0, 1.0], [0.1, 9.0]],
            "c": [[1.0, 0.0], [9.0, 0.0]],
        },
        "Take the mean over all tokens of a text, not one of them.",
    ),
    (
        {"a": [[1.0, 0.0]], "b": [[-1.0, 0.0]], "c": [[0.9, 0.6]]},
        "Vectors that point in opposite ways have a cosine of -1, the least of all.",
    ),
]
ALIKE = [
    [
        "My bike has a flat tyre.",
        "The bank closes at four.",
        "A wheel of my bicycle has lost its air.",
        "My bank has a flat roof.",
    ],
    [
        "The doctor told me to rest.",
        "We moved to a bigger house last year and I still have to paint every wall.",
        "I should stay in bed, says the physician.",
    ],
]


@exercise(
    "02.2",
    "encoder(text) is a list of one list of vectors, one per token: the mean over the "
    "tokens stands for the text, as on the page.",
    "itertools.combinations(texts, 2) gives each pair once; max(…, key=…) the best.",
)
def check_alike(answer, encoder) -> None:
    trials = [(list(vectors), Planted(vectors), why) for vectors, why in PLANTED]
    trials += [(texts, encoder, "Their cosine is higher.") for texts in ALIKE]
    for texts, model, why in trials:
        got, expected = answer(list(texts), model), alike(texts, model)
        if isinstance(got, str) or len(got) != 2 or not set(got) <= set(texts):
            raise Wrong(f"Expected a set of two of the texts, got {got!r}.")
        if set(got) != expected:
            one, other = sorted(expected)
            said = f"Of {len(texts)} texts, {one!r} and {other!r} are most alike, "
            raise Wrong(f"{said}not {' and '.join(map(repr, sorted(got)))}. {why}")


def placeholders(text: str) -> list[str]:
    """Return what stands in braces in a text, sorted, each as often as it does."""
    return sorted(re.findall(r"\{\w+\}", text))


def safe(message: str, translate) -> str:
    """The solution of 02.3: the translation, unless it lost a placeholder."""
    french = translate(message)[0]["translation_text"]
    return french if placeholders(french) == placeholders(message) else message


MESSAGES = ["Delete {name}?", "{a} + {b}", "Move {file} to {folder}", "Save the file"]
# A message, a translation that somebody might make of it, and whether it is safe.
TRANSLATED = [
    ("Saved {n} of {n} files", "{n} fichiers enregistrés", "{n} is there once, not"),
    ("Hello {user}", "Bonjour {utilisateur}", "the program fills in {user}, not"),
    ("Your files", "Vos {n} fichiers", "nothing fills in"),
    ("{file} in {folder}", "Dans {folder} : {file}", None),
    ("Done", "Terminé", None),
]


@exercise(
    "02.3",
    'translate(message)[0]["translation_text"] is the French text, and '
    're.findall(r"\\{\\w+\\}", text) lists what stands in braces.',
    "The order may change, the number may not: compare sorted lists, not sets.",
)
def check_safe(answer, translate) -> None:
    for message, french, why in TRANSLATED:

        def fixed(texts, text=french):
            texts = [texts] if isinstance(texts, str) else texts
            return [{"translation_text": text} for _ in texts]

        got, expected = answer(message, fixed), message if why else french
        if got != expected:
            why = f"{why} in {french!r}" if why else "both have the same placeholders"
            raise Wrong(
                f"{message!r} translated as {french!r}: expected {expected!r}, got "
                f"{got!r}, for {why}."
            )
    for message in MESSAGES:
        got, expected = answer(message, translate), safe(message, translate)
        if got != expected:
            raise Wrong(f"For {message!r} expected {expected!r}, got {got!r}.")


def words_of(text: str) -> list[str]:
    """Return the words of a text in small letters, without punctuation."""
    return re.findall(r"\w+", text.lower())


def stands_in(answer: str, context: str) -> bool:
    """Return whether the words of an answer stand in a context, one after the other."""
    wanted, given = words_of(answer), words_of(context)
    places = range(len(given) - len(wanted) + 1)
    return bool(wanted) and any(given[i : i + len(wanted)] == wanted for i in places)


class Answer(Pipeline):
    """The solution of 02.4: a question about a text, and an answer out of it."""

    _load_tokenizer = True
    _load_processor = _load_image_processor = _load_feature_extractor = False

    def _sanitize_parameters(self, **options):
        return {}, options, {}

    def preprocess(self, asked):
        ask = f"Answer with words from the text above.\nQuestion: {asked['question']}"
        inputs = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": f"{asked['context']}\n\n{ask}"}],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
        return {"inputs": inputs, "context": asked["context"]}

    def _forward(self, asked, **options):
        inputs = asked["inputs"]
        options = {"max_new_tokens": 20, "do_sample": False} | options
        made = self.model.generate(**inputs, **options)
        return asked | {"made": made[:, inputs["input_ids"].shape[1] :]}

    def postprocess(self, asked):
        text = self.tokenizer.decode(asked["made"][0], skip_special_tokens=True)
        text = text.strip()
        return {"answer": text if stands_in(text, asked["context"]) else None}


@contextmanager
def says(generator, text: str) -> Iterator[list[str]]:
    """Let a model generate a given text whatever it is asked; yield its prompts."""
    model, tokenizer, prompts = generator.model, generator.tokenizer, []
    said = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]

    def generate(inputs=None, input_ids=None, **options):
        ids = inputs if input_ids is None else input_ids
        prompts.append(tokenizer.decode(ids[0]))
        return torch.cat([ids, said.to(ids.device)], dim=1)

    model.generate = generate
    try:
        yield prompts
    finally:
        del model.generate


TRAIN = "Anna left her umbrella on the train. Mr. Weber found it."
# A question, its context, what a model may say, and what is wrong with saying that.
SAID = [
    ("What did Anna leave?", TRAIN, "Her umbrella.", None),
    ("Who found it?", TRAIN, "Mr. Weber", None),
    ("Where does Anna live?", TRAIN, "In Paris.", "nothing of that is in the context"),
    ("Who drives the train?", TRAIN, "Anna found it.", "the words do not follow"),
    ("What is red?", "The carpet is old.", "car", "it stands inside another word"),
    ("Who lost it?", TRAIN, "", "an empty answer is no answer"),
]
REAL = [
    ("What did Anna leave on the train?", "Anna left her umbrella on the train."),
    ("How much is a ticket?", "A ticket costs five euros."),
    ("Who found the dog?", "Mr. Weber found the dog."),
]


@exercise(
    "02.4",
    "Begin with a copy of Summarize. preprocess gets the dictionary; question and "
    "context go into the prompt, and the context has to reach postprocess as well.",
    "A stage may return a dictionary: {'inputs': …, 'context': …}, and _forward hands "
    "the context on.",
    're.findall(r"\\w+", text.lower()) gives the words of a text; look for those of '
    "the answer among those of the context, as a list within a list.",
)
def check_answer(answer, generator) -> None:
    if not (isinstance(answer, type) and issubclass(answer, Pipeline)):
        raise Wrong("Expected a class that derives from Pipeline.")
    entry = PIPELINE_REGISTRY.supported_tasks.get("answer", {})
    if entry.get("impl") is not answer:
        raise Wrong("No task 'answer' with this class is registered: see hint('02.4').")
    parts = {"model": generator.model, "tokenizer": generator.tokenizer}
    run = pipeline("answer", device=generator.device, **parts)

    def reply(question: str, context: str) -> str | None:
        got = run({"question": question, "context": context})
        got = got[0] if isinstance(got, list) else got
        if not isinstance(got, dict) or set(got) != {"answer"}:
            raise Wrong(f"Expected {{'answer': …}}, got {got!r}.")
        return got["answer"]

    for question, context, said, why in SAID:
        with says(generator, said) as prompts:
            got = reply(question, context)
        prompt = "".join(prompts)
        if question not in prompt or context not in prompt:
            raise Wrong("The prompt should hold both the question and the context.")
        if why and got is not None:
            raise Wrong(
                f"The model says {said!r} to {question!r} about {context!r}: expected "
                f"None, got {got!r}, for {why}."
            )
        if not why and words_of(got or "") != words_of(said):
            raise Wrong(
                f"The model says {said!r}, which is in {context!r}: got {got!r}."
            )
    answers = [reply(question, context) for question, context in REAL]
    for (question, context), got in zip(REAL, answers, strict=True):
        if got is not None and not stands_in(got, context):
            raise Wrong(f"Asked {question!r}, it says {got!r}, not in {context!r}.")
    if answers.count(None) > 1:
        raise Wrong(
            f"Asked {len(REAL)} questions that their contexts answer, it answers "
            f"{len(REAL) - answers.count(None)}. Ask for words from the text."
        )
