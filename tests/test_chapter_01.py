"""Proves what notebook 01 claims: its exercises refuse what only looks right, with a
pointer, and accept what is right, however it is written.
"""

import math

import pytest
import torch
from verdicts import assert_pointer

from helpers import check
from helpers.exercises import chapter_01

TEXTS = ["What a good day.", "What an awful day.", "I hate this."]
SAME = ["Good.", "Very good.", "How good."]
INVENTED = [{"label": x, "score": 0.9} for x in ("POSITIVE", "NEGATIVE", "NEGATIVE")]


@pytest.fixture(scope="module")
def classifier(pipe):
    return pipe("sentiment-analysis")


def checked(capsys, number, answer, classifier, texts=TEXTS):
    """Return what the page says to an answer."""
    given = {"01.1": (texts, classifier), "01.2": ()}.get(number, (classifier,))
    capsys.readouterr()
    check(number, answer, *given)
    return capsys.readouterr().out.strip()


# --- answers that only look right ---------------------------------------------------


def shares(values):
    """Divide by the sum, without the exponential."""
    return [value / (sum(values) or 1) for value in values]


def plain(values):
    """The definition as it stands, which 1000 is too large for."""
    powers = [math.exp(value) for value in values]
    return [power / sum(powers) for power in powers]


def overflows(values):
    """The same with tensors, which give nan instead of an error."""
    powers = torch.tensor(values).exp()
    return (powers / powers.sum()).tolist()


def answers(logits, model):
    """Make the pipeline's answers of scores for each label."""
    best = logits.max(dim=-1)
    labels = [model.config.id2label[i] for i in best.indices.tolist()]
    pairs = zip(labels, best.values.tolist(), strict=True)
    return [{"label": label, "score": score} for label, score in pairs]


def stages(classifier, last, *leave_out):
    """The three stages, with another last one or without some of the inputs."""
    tokenizer, model = classifier.tokenizer, classifier.model

    @torch.no_grad()
    def classify(texts):
        inputs = tokenizer(texts, padding=True, return_tensors="pt").to(model.device)
        kept = {name: x for name, x in inputs.items() if name not in leave_out}
        return answers(last(model(**kept).logits), model)

    return classify


def softmax(logits):
    return logits.softmax(dim=-1)


def score(text, classifier):
    """The score of POSITIVE for what fits of a text."""
    found = classifier(text, top_k=None, truncation=True)
    return next(a["score"] for a in found if a["label"] == "POSITIVE")


def pieces(text, size=100):
    words = text.split(" ")
    return [" ".join(words[i : i + size]) for i in range(0, len(words), size)]


def ends(text):
    """The first and last fifty words of a text."""
    words = text.split()
    parts = [words] if len(words) < 100 else [words[:50], words[-50:]]
    return [" ".join(part) for part in parts]


def mean(texts, classifier):
    return sum(score(text, classifier) for text in texts) / len(texts)


# An exercise, how an answer is made of the classifier, and what is said to it.
WRONG = [
    ("01.1", lambda c: "a sentence", "Expected the list of three"),
    ("01.1", lambda c: [1, 2, 3], "a dictionary with a label"),
    ("01.1", lambda c: INVENTED, "the classifier says"),
    ("01.1", lambda c: c(TEXTS[::-1]), "the classifier says"),
    ("01.2", lambda c: lambda values: values, "expected"),
    ("01.2", lambda c: lambda values: [1.0], "came out"),
    ("01.2", lambda c: "softmax", "It stopped with TypeError"),
    ("01.2", lambda c: shares, "expected"),
    ("01.2", lambda c: plain, "exp(1000) is too large for a float"),
    ("01.2", lambda c: overflows, "hint('01.2')"),
    ("01.3", lambda c: lambda texts: [], "expected a list of as many"),
    ("01.3", lambda c: lambda texts: 1 / 0, "It stopped with ZeroDivisionError"),
    ("01.3", lambda c: stages(c, torch.sigmoid), "the pipeline says"),
    ("01.3", lambda c: stages(c, softmax, "attention_mask"), "the pipeline says"),
    ("01.4", lambda c: lambda text: 0.5, "expected the pipeline's score"),
    ("01.4", lambda c: lambda text: c(text)[0]["score"], "score of POSITIVE"),
    ("01.4", lambda c: lambda text: score(text, c), "scorn, and it did not count"),
    (
        "01.4",
        lambda c: lambda text: max(score(piece, c) for piece in pieces(text)),
        "scorn, and it did not count",
    ),
    (
        "01.4",
        lambda c: lambda text: min(score(piece, c) for piece in pieces(text)),
        "praise, and it did not count",
    ),
    ("01.4", lambda c: lambda text: mean(ends(text), c), "in the middle"),
]


@pytest.mark.parametrize(("number", "make", "words"), WRONG)
def test_what_only_looks_right_gets_a_pointer(capsys, classifier, number, make, words):
    out = checked(capsys, number, make(classifier), classifier)
    assert_pointer(out, number, words)


def test_three_of_a_kind_and_one_text_thrice_are_refused(capsys, classifier):
    out = checked(capsys, "01.1", classifier(SAME), classifier, SAME)
    assert "All three are POSITIVE" in out
    out = checked(capsys, "01.1", classifier(TEXTS), classifier, ["Good."] * 3)
    assert "three different sentences" in out


# --- right answers -------------------------------------------------------------------


def ours(classifier):
    """The solution of 01.3 with the classifier's parts."""
    parts = classifier.tokenizer, classifier.model
    return lambda texts: chapter_01.classify(texts, *parts)


RIGHT = [
    ("01.1", lambda c: c(TEXTS)),
    ("01.1", lambda c: [c(text)[0] for text in TEXTS]),
    ("01.2", lambda c: chapter_01.softmax),
    ("01.2", lambda c: lambda values: torch.tensor(values).softmax(0).tolist()),
    ("01.3", ours),
    ("01.3", lambda c: lambda texts: [c(text)[0] for text in texts]),
    ("01.3", lambda c: stages(c, softmax)),
    ("01.4", lambda c: lambda text: chapter_01.positive(text, c)),
    ("01.4", lambda c: lambda text: mean(pieces(text), c)),
]


@pytest.mark.parametrize(("number", "make"), RIGHT)
def test_right_answers_are_accepted_however_they_are_written(
    capsys, classifier, number, make
):
    out = checked(capsys, number, make(classifier), classifier)
    assert out == f"{number}: right."
