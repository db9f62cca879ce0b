"""Proves that SmolLM2 and MiniLM, used as they are, answer the library's pipelines, and
that bad texts end in a right answer or one clear error."""

import pytest
import torch
from wrong_inputs import LONG, SCRIPTS, WITH_NONE


@pytest.fixture(scope="module")
def extract(pipe):
    return pipe("feature-extraction")


@pytest.fixture(scope="module")
def write(pipe):
    return pipe("text-generation")


def mean(extract, text):
    """Return the mean of a text's output vectors, which stands for the text."""
    return torch.tensor(extract(text)[0]).mean(dim=0)


def test_the_mean_vector_tells_what_is_alike(extract):
    food = mean(extract, "a man is eating food")
    assert food.shape == (384,)
    meal = mean(extract, "somebody is having a meal")
    market = mean(extract, "the stock market fell")
    assert torch.cosine_similarity(food, meal, dim=0) > 0.6
    assert torch.cosine_similarity(food, market, dim=0) < 0.2


@pytest.mark.parametrize("text", ["", *SCRIPTS])
def test_odd_texts_have_a_vector(extract, text):
    assert torch.isfinite(mean(extract, text)).all()


def test_a_list_with_none_has_no_vectors(extract, record_fault):
    with pytest.raises((TypeError, ValueError)) as caught:
        extract(WITH_NONE)
    record_fault("feature-extraction for a list with None", caught.value)


def test_ten_thousand_words_have_a_vector_when_cut(extract, record_fault):
    with pytest.raises(RuntimeError, match="must match the size") as caught:
        extract(LONG)
    record_fault("feature-extraction for 10,000 words", caught.value)
    vectors = extract(LONG, truncation=True, max_length=512)[0]
    assert len(vectors) == 512


def test_a_text_is_continued_and_a_chat_answered(write):
    short = {"max_new_tokens": 5, "do_sample": False}
    text = write("The capital of France is", **short)[0]["generated_text"]
    assert text.startswith("The capital of France is") and "Paris" in text
    chat = [{"role": "user", "content": "What is 1 + 1?"}]
    answer = write(chat, **short)[0]["generated_text"][-1]
    assert answer["role"] == "assistant" and answer["content"]


@pytest.mark.parametrize("text", SCRIPTS[:3])
def test_other_scripts_are_continued(write, text):
    made = write(text, max_new_tokens=2, do_sample=False)[0]["generated_text"]
    assert made.startswith(text)


def test_an_empty_text_is_said_or_continued(write, record_fault):
    """Nothing to continue: the library says so, or begins a text of its own."""
    try:
        assert isinstance(write("", max_new_tokens=2)[0]["generated_text"], str)
    except (ValueError, RuntimeError, IndexError) as error:
        record_fault("text-generation for an empty text", error)


def test_a_list_with_none_is_not_continued(write, record_fault):
    with pytest.raises((TypeError, ValueError, AttributeError)) as caught:
        write(WITH_NONE, max_new_tokens=2)
    record_fault("text-generation for a list with None", caught.value)


def test_ten_thousand_words_are_cut_before_they_are_continued(write):
    cut = {"truncation": True, "max_length": 64}
    options = {"return_full_text": False, "max_new_tokens": 2}
    made = write(LONG, tokenizer_encode_kwargs=cut, **options)
    assert len(made[0]["generated_text"]) < 60
