"""Proves what notebook 05 claims beyond its own asserts, and that its exercises tell
right from wrong: both scores by hand on texts the page has not seen, labels given
twice, a balanced labelled set. Bad input in general: tests/test_zero_shot.py."""

import csv
import functools
from collections import Counter

import pytest
from places import NOTEBOOKS
from scipy.special import expit, softmax
from verdicts import assert_pointer

from helpers import check
from helpers.exercises import chapter_05
from recipes.minilm_nli.templates import label_table

TEXTS = [
    "The bridge will stay closed until the river falls.",
    "Could you send me the recipe?",
    "Nobody expected her to win.",
]
LABELS = ["traffic", "cooking", "sports", "the weather"]


@pytest.fixture(scope="module")
def classifier(pipe):
    return pipe("zero-shot-classification")


@pytest.fixture(scope="module")
def embed(pipe):
    """A function like the page's: a unit vector per text, the mean over its tokens."""
    import torch

    extract = pipe("feature-extraction")
    tokenizer, encoder = extract.tokenizer, extract.model

    @torch.no_grad()
    def embed(texts):
        inputs = tokenizer(texts, padding=True, return_tensors="pt")
        states = encoder(**inputs).last_hidden_state
        mask = inputs["attention_mask"][:, :, None]
        vectors = (states * mask).sum(dim=1) / mask.sum(dim=1)
        return torch.nn.functional.normalize(vectors, dim=1).numpy()

    return embed


def logits(classifier, text, labels, template="This example is {}."):
    import torch

    pairs = [(text, template.format(label)) for label in labels]
    inputs = classifier.tokenizer(pairs, padding=True, return_tensors="pt")
    with torch.no_grad():
        return classifier.model(**inputs).logits.numpy()


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("template", ["This example is {}.", "{}", "I like {}."])
def test_competing_scores_are_a_softmax_over_entailment(classifier, text, template):
    answer = classifier(text, LABELS, hypothesis_template=template)
    by_hand = softmax(logits(classifier, text, LABELS, template)[:, 2])
    for label, score in zip(answer["labels"], answer["scores"], strict=True):
        assert score == pytest.approx(by_hand[LABELS.index(label)], abs=1e-5)


@pytest.mark.parametrize("text", TEXTS)
def test_scores_alone_leave_neutral_out(classifier, text):
    answer = classifier(text, LABELS, multi_label=True)
    table = logits(classifier, text, LABELS)
    by_hand = expit(table[:, 2] - table[:, 0])
    for label, score in zip(answer["labels"], answer["scores"], strict=True):
        assert score == pytest.approx(by_hand[LABELS.index(label)], abs=1e-5)


def test_a_label_given_twice_shares_its_score(classifier):
    once = classifier(TEXTS[0], ["traffic", "cooking"])
    twice = classifier(TEXTS[0], ["traffic", "traffic", "cooking"])
    assert twice["labels"] == ["traffic", "traffic", "cooking"]
    assert twice["scores"][0] == pytest.approx(twice["scores"][1], abs=1e-6)
    assert twice["scores"][0] < once["scores"][0]
    assert sum(twice["scores"]) == pytest.approx(1, abs=1e-5)


def test_an_empty_text_in_a_list_is_said(classifier, record_fault):
    with pytest.raises(ValueError, match="at least one sequence") as caught:
        classifier([TEXTS[0], ""], LABELS)
    record_fault("zero-shot for a list with an empty text", caught.value)


def test_the_labelled_set_is_balanced_and_has_no_text_twice():
    with (NOTEBOOKS / "data" / "topics.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len({row["text"] for row in rows}) == 120
    assert set(Counter(row["label"] for row in rows).values()) == {20}
    assert len({row["label"] for row in rows}) == 6


def test_the_cars_requests_are_balanced_and_their_labels_new_to_the_recipe():
    with (NOTEBOOKS / "data/requests/car.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len({row["text"] for row in rows}) == 120
    counts = Counter(row["label"] for row in rows)
    assert list(counts.values()) == [20] * 6
    table = label_table()
    known = {name for topic in table["topic"] for name in topic["names"]}
    known |= {
        name
        for names in table["sets"].values()
        for row in names.values()
        for name in row
    }
    assert not known & set(counts)


def said(capsys):
    return capsys.readouterr().out.strip()


def oven(labels, scores, text=chapter_05.OVEN):
    return {"sequence": text, "labels": labels, "scores": scores}


FOUR = ["kitchen appliances", "music", "politics", "travel"]
WRONG = [
    ("05.1", "kitchen", "Expected the dictionary"),
    ("05.1", oven(FOUR, [0.9, 0.05, 0.03, 0.02], "A text."), "Ask about the text"),
    ("05.1", oven(["repair"] * 4, [0.25] * 4), "four different labels, got 1"),
    ("05.1", oven(["an oven", *FOUR[1:]], [0.9, 0.05, 0.03, 0.02]), "'an oven' uses"),
    ("05.1", oven(FOUR, [0.9, 0.8, 0.3, 0.2]), "Let the labels compete"),
    ("05.1", oven(FOUR, [0.97, 0.01, 0.01, 0.01]), "the answer is what it returns"),
    ("05.2", lambda text, labels: labels[0], "a dictionary with labels and scores"),
    (
        "05.2",
        lambda text, labels: {"labels": labels[:1], "scores": [1.0]},
        "in some order",
    ),
    (
        "05.2",
        lambda text, labels: {"labels": labels, "scores": [0.5] * len(labels)},
        "the pipeline gives",
    ),
    ("05.3", lambda text, labels, threshold: labels[0], "got 'politics'"),
    ("05.3", lambda text, labels, threshold: None, "got None"),
    ("05.4", lambda text, labels: "something else", "Expected one of the labels"),
    ("05.4", lambda text, labels: "football", "Nothing went through the model"),
]


@pytest.mark.parametrize(("number", "answer", "words"), WRONG)
def test_a_wrong_answer_gets_a_pointer(capsys, classifier, number, answer, words):
    capsys.readouterr()
    check(number, answer, classifier)
    out = said(capsys)
    assert_pointer(out, number, words)


def test_the_usual_slips_are_noticed(capsys, classifier):
    """A single label left to compete, labels unsorted, competing with a threshold,
    and all forty labels through the model."""

    def competing(text, labels):
        table = logits(classifier, text[:2000], labels)
        scores = softmax(table[:, 2])
        order = scores.argsort()[::-1]
        return {"labels": [labels[i] for i in order], "scores": scores[order].tolist()}

    def unsorted(text, labels):
        answer = classifier(text, labels)
        by_label = dict(zip(answer["labels"], answer["scores"], strict=True))
        return {"labels": labels, "scores": [by_label[label] for label in labels]}

    def always(text, labels, threshold):
        answer = classifier(text, labels)
        return answer["labels"][0] if answer["scores"][0] >= threshold else None

    capsys.readouterr()
    check("05.2", competing, classifier)
    assert "the pipeline gives weather" in said(capsys)
    check("05.2", unsorted, classifier)
    assert "should come first" in said(capsys)
    check("05.3", always, classifier)
    assert "alone," in said(capsys)
    check("05.4", lambda t, x: classifier(t, x)["labels"][0], classifier)
    assert "40 pairs went through" in said(capsys)


def test_an_answer_that_the_classifier_gave_otherwise_is_noticed(capsys, classifier):
    """Scores that are the classifier's own, by another template or each judged alone;
    and short lists that no entailment has seen, or that hold any five labels."""
    other = {"hypothesis_template": "This text is not about {}."}
    for way, words in (
        (other, "the answer is what it returns"),
        ({"multi_label": True}, "Let the labels compete"),
    ):
        answer = classifier(chapter_05.OVEN, ["repair", *FOUR[:3]], **way)
        check("05.1", answer, classifier)
        assert words in said(capsys)
    same = classifier(chapter_05.OVEN, ["cinema", *FOUR[1:]])
    check("05.1", same, classifier)
    assert "not above 0.8" in said(capsys)
    check("05.4", lambda t, x: classifier(t, x[:5])["labels"][0], classifier)
    assert "is about" in said(capsys)


def test_answers_written_in_another_way_are_right(capsys, classifier, embed):
    """Labels as one string; a pipeline's two steps apart; labels judged one by one;
    a short list of three by the labels' own words."""

    def by_steps(text, labels):
        steps = classifier.preprocess(text, labels)
        table = [classifier.forward(step)["logits"][0].tolist() for step in steps]
        if len(labels) == 1:
            return {"labels": labels, "scores": [softmax(table[0][::2])[1]]}
        scores = softmax([row[2] for row in table])
        order = sorted(range(len(labels)), key=lambda i: -scores[i])
        return {"labels": [labels[i] for i in order], "scores": sorted(scores)[::-1]}

    def one_by_one(text, labels, threshold):
        scores = {label: classifier(text, label)["scores"][0] for label in labels}
        best = max(scores, key=scores.get)
        return best if scores[best] >= threshold else None

    def three(text, labels):
        near = sorted(
            labels, key=lambda label: -float(embed([label])[0] @ vector(text))
        )
        scores = [classifier(text, label)["scores"][0] for label in near[:3]]
        return near[scores.index(max(scores))]

    @functools.cache
    def vector(text):
        return embed([text])[0]

    capsys.readouterr()
    check("05.1", classifier(chapter_05.OVEN, ", ".join(FOUR)), classifier)
    check("05.2", by_steps, classifier)
    check("05.3", one_by_one, classifier)
    check("05.4", three, classifier)
    assert said(capsys).splitlines() == [f"05.{n}: right." for n in range(1, 5)]


def test_the_solutions_beside_the_checkers_are_right(capsys, classifier, embed):
    tokenizer, model = classifier.tokenizer, classifier.model
    capsys.readouterr()
    check("05.1", classifier(chapter_05.OVEN, FOUR), classifier)
    check("05.2", lambda t, x: chapter_05.zero_shot(t, x, tokenizer, model), classifier)
    check(
        "05.3",
        lambda t, x, limit: chapter_05.label_or_none(t, x, limit, classifier),
        classifier,
    )
    check("05.4", lambda t, x: chapter_05.quick(t, x, classifier, embed), classifier)
    assert said(capsys).splitlines() == [f"05.{n}: right." for n in range(1, 5)]
