"""Proves that minilm-nli answers the library's own zero-shot pipeline: labels of every
kind, independent scores, and bad input, each a right answer or one clear error."""

import csv
import math

import pytest
from wrong_inputs import SCRIPTS, WITH_NONE

from helpers.catalogue import MODELS
from recipes.minilm_nli import score


@pytest.fixture(scope="module")
def classifier(pipe):
    return pipe("zero-shot-classification", "minilm-nli")


def best(answer):
    return answer["labels"][0]


def by_label(answer):
    return dict(zip(answer["labels"], answer["scores"], strict=True))


def test_the_sentence_of_the_documentation(classifier):
    answer = classifier(
        "History isn't really a fun class", ["education", "politics", "business"]
    )
    assert best(answer) == "education"
    assert answer["scores"] == sorted(answer["scores"], reverse=True)
    assert math.isclose(sum(answer["scores"]), 1, abs_tol=1e-4)


@pytest.mark.parametrize(
    ("text", "right", "others"),
    [
        ("I love this phone, the screen is wonderful.", "positive", ["negative"]),
        ("The food was cold and the waiter was rude.", "negative", ["positive"]),
        ("I am so happy that you came!", "joy", ["anger", "fear", "sadness"]),
        ("I was terrified when the lights went out.", "fear", ["anger", "joy"]),
        ("Book a table for two at eight.", "restaurant", ["weather", "music"]),
        ("Will it rain tomorrow in Paris?", "weather", ["restaurant", "music"]),
        ("The striker scored twice in the final.", "sports", ["politics", "food"]),
        ("Parliament votes on the bill today.", "politics", ["sports", "cooking"]),
    ],
)
def test_feelings_requests_and_topics(classifier, text, right, others):
    assert best(classifier(text, [*others, right])) == right


def test_independent_scores_do_not_depend_on_the_other_labels(classifier):
    text = "The striker scored twice in the final."
    many = by_label(
        classifier(text, ["sports", "cooking", "politics"], multi_label=True)
    )
    alone = by_label(classifier(text, ["sports"], multi_label=True))
    assert math.isclose(many["sports"], alone["sports"], abs_tol=1e-5)
    assert many["sports"] > 0.5
    assert many["cooking"] < 0.5
    assert many["politics"] < 0.5


def test_two_labels_can_both_be_right(classifier):
    text = "The minister praised the team for winning the football cup."
    scores = by_label(
        classifier(text, ["sports", "politics", "cooking"], multi_label=True)
    )
    assert scores["sports"] > scores["cooking"]
    assert scores["politics"] > scores["cooking"]


def test_a_label_in_the_negative_changes_places(classifier):
    text = "The striker scored twice in the final."
    scores = by_label(
        classifier(
            text,
            ["sports", "cooking"],
            hypothesis_template="This text is not about {}.",
            multi_label=True,
        )
    )
    assert scores["cooking"] > scores["sports"]


def test_the_order_of_the_labels_does_not_matter(classifier):
    labels = ["sports", "politics", "food"]
    text = "Parliament votes on the bill today."
    one, two = (by_label(classifier(text, x)) for x in (labels, labels[::-1]))
    assert all(math.isclose(one[x], two[x], abs_tol=1e-5) for x in labels)


def test_one_label_is_judged_alone_and_labels_may_be_one_string(classifier):
    # One label has no other to compare with: it is judged alone, as in multi_label.
    alone = classifier("A text.", ["sports"])["scores"]
    both = classifier("A text.", ["sports", "food"], multi_label=True)
    assert alone[0] == pytest.approx(
        dict(zip(both["labels"], both["scores"], strict=True))["sports"], abs=1e-5
    )
    answer = classifier("Parliament votes on the bill today.", "sports, politics")
    assert best(answer) == "politics"


@pytest.mark.parametrize("labels", [[], ""])
def test_no_label_is_said(classifier, labels, record_fault):
    with pytest.raises(ValueError, match="at least one label") as caught:
        classifier("A text.", labels)
    record_fault("zero-shot without a label", caught.value)


def test_a_template_without_braces_is_said(classifier, record_fault):
    with pytest.raises(ValueError, match="hypothesis_template") as caught:
        classifier("A text.", ["sports"], hypothesis_template="This is sports.")
    record_fault("a template without braces", caught.value)


def test_an_empty_text_is_said(classifier, record_fault):
    with pytest.raises(ValueError, match="at least one sequence") as caught:
        classifier("", ["sports", "politics"])
    record_fault("zero-shot for an empty text", caught.value)


def test_a_list_with_none_is_said(classifier, record_fault):
    with pytest.raises((TypeError, ValueError)) as caught:
        classifier(WITH_NONE, ["sports", "politics"])
    record_fault("zero-shot for a list with None", caught.value)


def test_a_text_longer_than_the_model_reads(classifier):
    """The text is cut, the label never is."""
    path = MODELS.parent / "data" / "topics.csv"
    rows = csv.DictReader(path.open(encoding="utf-8"))
    some = " ".join(row["text"] for row in rows if row["label"] == "sports")
    text = " ".join((some.split() * 100)[:10_000])
    assert best(classifier(text, ["politics", "sports"])) == "sports"


@pytest.mark.parametrize("text", SCRIPTS)
def test_other_scripts_give_numbers(classifier, text):
    scores = classifier(text, ["weather", "sports", "politics"])["scores"]
    assert all(0 <= score <= 1 for score in scores)
    assert math.isclose(sum(scores), 1, abs_tol=1e-4)


def test_two_hundred_labels(classifier):
    labels = [f"number {i}" for i in range(199)] + ["football"]
    answer = classifier("The striker scored twice in the final.", labels, batch_size=50)
    assert len(answer["labels"]) == 200
    assert best(answer) == "football"


@pytest.mark.model
def test_a_missing_data_set_is_said(tmp_path, monkeypatch):
    """What is measured without one is in test_models.py, and left out here."""
    monkeypatch.setattr(score, "classifier", lambda: None)
    monkeypatch.setattr(score, "accuracy", lambda *_, **__: 0.5)
    monkeypatch.setattr(score, "independent", lambda *_: {})
    with pytest.raises(FileNotFoundError) as caught:
        score.measure(quick=False, data=tmp_path)
    for name in ("ag_news", "sst2", "clinc150"):
        assert f"The data set {name} " in str(caught.value)
    assert "accuracy on 120 topics of our own" in caught.value.found
    assert not set(caught.value.found) & set(score.ELSEWHERE)
