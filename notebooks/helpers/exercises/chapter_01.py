"""The exercises of notebook 01: for each its solution, then its checker."""

from __future__ import annotations

import math

import torch

from . import Wrong, exercise


def close(found: float, expected: float) -> bool:
    """Return whether two scores agree to four digits, as padding moves the fifth."""
    return math.isclose(found, expected, abs_tol=1e-4)


@exercise(
    "01.1",
    "my_texts is a list of three strings; it goes into one call of classifier.",
    'my_texts = ["…", "…", "…"], one of them clear praise; then classifier(my_texts).',
)
def check_both_labels(answers, my_texts, classifier) -> None:
    if not isinstance(my_texts, list) or len(set(map(str, my_texts))) != 3:
        raise Wrong("Expected my_texts to be a list of three different sentences.")
    if not isinstance(answers, list) or len(answers) != 3:
        raise Wrong("Expected the list of three answers that the classifier gives.")
    if not all(isinstance(a, dict) and {"label", "score"} <= set(a) for a in answers):
        raise Wrong("Each answer should be a dictionary with a label and a score.")
    for text, given, found in zip(my_texts, answers, classifier(my_texts), strict=True):
        same = given["label"] == found["label"]
        if not same or not close(given["score"], found["score"]):
            raise Wrong(f"For {text!r} the classifier says {found}, not {given}.")
    if len({a["label"] for a in answers}) < 2:
        raise Wrong(f"All three are {answers[0]['label']}. Make one the opposite.")


def softmax(values: list[float]) -> list[float]:
    """The solution of 01.2: subtracting the largest changes nothing but the size."""
    powers = [math.exp(value - max(values)) for value in values]
    return [power / sum(powers) for power in powers]


@exercise(
    "01.2",
    "exp(a) / (exp(a) + exp(b)) stays the same if you subtract a number from both.",
    "Subtract max(values) from every value before math.exp.",
)
def check_softmax(answer) -> None:
    for values in ([0.0, 0.0], [2.0, -1.0, 0.5], [3.0], [-5.0, 5.0]):
        found = list(answer(list(values)))
        if len(found) != len(values):
            raise Wrong(f"{len(values)} numbers went in, {len(found)} came out.")
        if not all(close(f, e) for f, e in zip(found, softmax(values), strict=True)):
            raise Wrong(f"For {values} expected {softmax(values)}, got {found}.")
    try:
        found = list(answer([1000.0, 999.0]))
    except OverflowError:
        raise Wrong("exp(1000) is too large for a float: hint('01.2').") from None
    if not close(found[0], softmax([1000.0, 999.0])[0]):
        raise Wrong(f"[1000.0, 999.0] gave {found}: hint('01.2').")


@torch.no_grad()
def classify(texts: list[str], tokenizer, model) -> list[dict]:
    """The solution of 01.3: the three stages for a whole list."""
    inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="pt").to(
        model.device
    )
    best = model(**inputs).logits.softmax(dim=-1).max(dim=-1)
    return [
        {"label": model.config.id2label[index], "score": score}
        for index, score in zip(
            best.indices.tolist(), best.values.tolist(), strict=True
        )
    ]


@exercise(
    "01.3",
    "tokenizer(texts, padding=True, return_tensors='pt') makes one rectangle.",
    "Give the model input_ids and attention_mask: model(**inputs).logits.",
    "softmax(dim=-1) gives a row of scores per text; .max(dim=-1) has both the largest "
    "score and its place, which model.config.id2label turns into a label.",
)
def check_classify(answer, classifier) -> None:
    unseen = ["Bright.", "The second half of the evening bored all of us.", "", "Well?"]
    found = answer(list(unseen))
    if not isinstance(found, list) or len(found) != len(unseen):
        raise Wrong(f"{len(unseen)} texts went in; expected a list of as many answers.")
    for text, ours, theirs in zip(unseen, found, classifier(unseen), strict=True):
        if ours["label"] != theirs["label"] or not close(
            ours["score"], theirs["score"]
        ):
            raise Wrong(f"For {text!r} the pipeline says {theirs}, yours {ours}.")


def positive(text: str, classifier) -> float:
    """The solution of 01.4: pieces of at most 510 tokens, and two for the marks."""
    tokenizer = classifier.tokenizer
    size = tokenizer.model_max_length - tokenizer.num_special_tokens_to_add()
    ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    pieces = [ids[start : start + size] for start in range(0, len(ids), size)] or [[]]
    texts = [text] if len(pieces) == 1 else [tokenizer.decode(p) for p in pieces]
    answers = classifier(texts, top_k=None, truncation=True)
    scores = [{a["label"]: a["score"] for a in answer} for answer in answers]
    return sum(score["POSITIVE"] for score in scores) / len(scores)


@exercise(
    "01.4",
    "classifier(text, top_k=None) has the score of POSITIVE, whichever label wins.",
    "Split the words into pieces, say 200 each, and give the pieces as a list.",
    "sum(scores) / len(scores) is the mean; mind a text with a single piece.",
)
def check_positive(answer, classifier) -> None:
    for text in ("A good film.", "I hated every minute."):
        if not close(answer(text), positive(text, classifier)):
            raise Wrong(f"For {text!r} expected the pipeline's score of POSITIVE.")
    praise, scorn = "A good film. " * 300, "I hated every minute. " * 300
    mixed = answer(praise + scorn)
    if not 0 <= mixed <= 1:
        raise Wrong(f"A score lies between 0 and 1; a long text gave {mixed}.")
    if mixed > 0.8:
        raise Wrong("Half of that long text was scorn, and it did not count.")
    if mixed < 0.2:
        raise Wrong("Half of that long text was praise, and it did not count.")
    if not answer(praise) > mixed > answer(scorn):
        raise Wrong("Praise should score above a mixture, and that above scorn.")
    if answer(praise + scorn + praise) > 0.9:
        raise Wrong("There the verdict stood in the middle, and it was not read.")
