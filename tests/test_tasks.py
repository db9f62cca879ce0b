"""Proves that our own tasks answer as in transformers 4, and refuse nonsense."""

import pytest
from transformers.pipelines import PIPELINE_REGISTRY
from wrong_inputs import LONG, NOT_TEXTS

from helpers import register_own_tasks

TEXT = (
    "The ferry to the island was cancelled on Monday because of strong wind. About "
    "two hundred passengers had to spend the night in the harbour town, where the "
    "sports hall was opened for them. Ferries should run again on Tuesday at noon."
)


@pytest.fixture(scope="module")
def summarize(pipe):
    return pipe("summarize")


def test_registering_twice_changes_nothing():
    register_own_tasks()
    before = dict(PIPELINE_REGISTRY.supported_tasks)
    register_own_tasks()
    assert PIPELINE_REGISTRY.supported_tasks == before
    assert {"summarize", "translate", "describe-image"} <= set(before)


def test_a_summary_is_shorter_and_about_the_text(summarize):
    answer = summarize(TEXT)
    assert set(answer[0]) == {"summary_text"}
    made = answer[0]["summary_text"]
    assert 10 < len(made) < len(TEXT)
    assert "ferry" in made.lower() or "ferries" in made.lower()


def test_the_same_text_gives_the_same_summary_and_a_list_gives_a_list(summarize):
    one, two = summarize([TEXT, TEXT], max_new_tokens=20)
    assert one == two


@pytest.mark.parametrize("bad", NOT_TEXTS)
def test_what_is_not_a_text_is_refused(summarize, bad, record_fault):
    with pytest.raises(ValueError, match="not a text") as caught:
        summarize([bad])
    record_fault(f"summarize given {bad!r}", caught.value)


def test_a_text_beyond_the_context_is_refused(summarize, record_fault):
    with pytest.raises(ValueError, match="takes at most 7,936") as caught:
        summarize(LONG)
    record_fault("summarize given 10,000 words", caught.value)


def test_another_script_is_answered(summarize):
    assert summarize("Поезд отправляется в девять часов.", max_new_tokens=10)
