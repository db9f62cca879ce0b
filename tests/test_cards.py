"""Proves that the parameters and the failures a card tells of are the model's own.

Each failure stands on the card word for word, and the model makes that mistake.
"""

import re

import numpy as np
import pytest
from places import NOTEBOOKS

from helpers import sound
from helpers.catalogue import catalogue
from helpers.models import embedded, size_of

SILENCE = {"raw": np.zeros(16_000, np.float32), "sampling_rate": 16_000}


def card(name: str) -> str:
    return (NOTEBOOKS / "models" / name / "README.md").read_text("utf-8")


@pytest.mark.parametrize("name", catalogue()["embedded"])
def test_a_card_counts_the_parameters_as_the_pages_do(name):
    said = re.search(r"^\| Parameters \| (.+? M)\b", card(name), re.MULTILINE)[1]
    assert size_of(embedded(name)).startswith(f"{said} parameters")


@pytest.mark.parametrize(
    "question", ["What is the capital of Zubrowka?", "What is 17 + 26?"]
)
def test_the_language_model_makes_things_up(question, pipe):
    write = pipe("text-generation", "SmolLM2-135M-Instruct", dtype="float32")
    chat = [{"role": "user", "content": question}]
    made = write(chat, max_new_tokens=24, do_sample=False)[0]["generated_text"]
    said = made[-1]["content"]
    quoted = rf'"{re.escape(question)}".*? "(.+?)…?"'
    assert said.startswith(re.search(quoted, card("SmolLM2-135M-Instruct"))[1])


def test_two_opposites_are_alike_for_the_encoder(pipe):
    read = pipe("feature-extraction", "all-MiniLM-L6-v2")
    texts = ["The film was good.", "The film was not good."]
    one, other = (np.mean(read(text)[0], axis=0) for text in texts)
    alike = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    words = f'"{texts[0]}" and "{texts[1]}" are {alike:.2f} alike'
    assert words in card("all-MiniLM-L6-v2"), words


def test_silence_is_a_word_and_a_digit(pipe):
    hear = pipe("automatic-speech-recognition", "whisper-tiny.en", dtype="float32")
    said = hear(dict(SILENCE))["text"].strip()
    assert f'a second of silence is "{said}"' in card("whisper-tiny.en"), said
    first = pipe("audio-classification", "whisper-digits")(dict(SILENCE))[0]
    words = f"a {first['label']} for it, with a score of {first['score']:.2f}"
    assert words in card("whisper-digits"), words


def test_the_voice_is_misheard(pipe):
    speak = pipe("text-to-speech", "vits-espeak")
    hear = pipe("automatic-speech-recognition", "whisper-tiny.en", dtype="float32")
    for text in ["Heavy clouds covered the valley in the afternoon.", "A good map"]:
        made = speak(text)
        wave = sound(made["audio"].squeeze(), made["sampling_rate"])
        said = hear(wave)["text"].strip()
        assert f'"{text}" as "{said.strip(".")}"' in card("vits-espeak"), said


def test_feelings_and_irony_are_taken_wrongly(pipe):
    judge = pipe("zero-shot-classification", "minilm-nli")
    headache, delay = "My headache is finally gone.", "Great, another delay."
    answer = judge(headache, ["joy", "sadness", "anger"])
    words = f"{answer['labels'][0]} for it among joy, sadness and anger, with "
    words = f'"{headache}" is {words}{answer["scores"][0]:.2f}'
    assert words in card("minilm-nli"), words
    answer = judge(delay, ["positive", "negative"])
    words = f'"{delay}" is {answer["labels"][0]}, with {answer["scores"][0]:.2f}'
    assert words in card("minilm-nli"), words
    feel = pipe("text-classification", "minilm-sst2")
    for text, middle in [(headache, " for it, with a score of"), (delay, ", with")]:
        answer = feel(text)[0]
        words = f'"{text}" is {answer["label"]}{middle} {answer["score"]:.2f}'
        assert words in card("minilm-sst2"), words


def test_what_is_no_message_is_translated_wrongly(pipe):
    translate = pipe("translate", "marian-en-fr-ui")
    for text in [
        "My headache is finally gone.",
        "Stocks fell on Tuesday after the central bank raised interest rates.",
    ]:
        said = translate(text)[0]["translation_text"]
        assert f'"{text}" becomes "{said}"' in card("marian-en-fr-ui"), said


def test_one_crown_is_two_things(pipe):
    picture = str(NOTEBOOKS / "data" / "scenes" / "guitar.png")
    found = pipe("object-detection", "rtdetr-scenes")(picture)
    scores = {box["label"]: box["score"] for box in found}
    words = f"a crown ({scores['crown']:.2f}) and a birthday cake "
    words += f"({scores['birthday cake']:.2f})"
    assert words in card("rtdetr-scenes"), words


def test_an_alarm_clock_that_fills_the_picture_is_none(pipe):
    picture = str(NOTEBOOKS / "data" / "museum" / "pictures" / "p019.png")
    said = pipe("describe-image", "fastvlm-scenes")(picture)[0]["generated_text"]
    assert "The alarm clock of the museum without one is" in card("fastvlm-scenes")
    assert "clock" not in said
