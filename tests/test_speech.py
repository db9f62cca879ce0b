"""Proves that the models of sound answer, and that odd sounds end in clear words."""

import numpy as np
import pytest
import soundfile
from transformers import pipeline

from helpers import model_for, sound
from helpers.errors import HelperError

RATE = 16_000


@pytest.fixture(scope="module")
def speak():
    return pipeline("text-to-speech", **model_for("text-to-speech"))


@pytest.fixture(scope="module")
def write_down():
    task = "automatic-speech-recognition"
    return pipeline(task, **model_for(task))


@pytest.fixture(scope="module")
def digit():
    return pipeline("audio-classification", **model_for("audio-classification"))


def spoken(speak, text):
    made = speak(text)
    return sound(made["audio"].squeeze(), made["sampling_rate"])


def test_what_is_spoken_is_written_down(speak, write_down, capfd):
    wave = spoken(speak, "She wrote a long letter to her friend in Canada.")
    capfd.readouterr()
    heard = write_down(wave)["text"]
    assert "letter" in heard and "friend" in heard and "Canada" in heard
    assert "<|" not in heard
    assert capfd.readouterr().err == ""


def test_a_digit_is_told(speak, digit):
    answers = digit(spoken(speak, "seven"), top_k=3)
    assert answers[0]["label"] == "7"
    assert len(answers) == 3


def test_numbers_and_signs_are_read(speak):
    model, tokenizer = speak.model, speak.tokenizer
    letters = tokenizer("In 1984 I paid $12 & 5%.")["input_ids"]
    text = "".join(tokenizer.convert_ids_to_tokens(letters)[1:-1])
    assert text == ("in nineteen eighty four i paid twelve dollars and five percent.")
    assert model.config.noise_scale == 0.0


@pytest.mark.parametrize("text", ["", "Привет", "?!", "好"])
def test_a_text_without_letters_is_a_short_silence(speak, text):
    wave = speak(text)["audio"].squeeze()
    assert 0 < len(wave) < 2 * RATE
    assert np.isfinite(wave).all()


def test_a_very_long_text_ends_in_so_on(speak):
    letters = speak.tokenizer("word " * 10_000)["input_ids"]
    text = "".join(speak.tokenizer.convert_ids_to_tokens(letters)[1:-1])
    assert text.endswith("and so on.") and len(text) < 620


def test_stereo_and_other_rates_are_heard_alike(speak, digit, tmp_path):
    wave = spoken(speak, "seven")["raw"]
    path = tmp_path / "seven.wav"
    import soxr

    at_44 = soxr.resample(wave, RATE, 44_100)
    soundfile.write(path, np.stack([at_44, at_44], axis=1), 44_100)
    assert digit(sound(path))[0]["label"] == "7"


def test_silence_is_answered(write_down, digit):
    short = {"generate_kwargs": {"max_new_tokens": 20}}
    silence = {"raw": np.zeros(RATE, "float32"), "sampling_rate": RATE}
    # Whisper invents words for silence; the card says so.
    assert isinstance(write_down(dict(silence), **short)["text"], str)
    assert digit(dict(silence))[0]["score"] <= 1.0


@pytest.mark.parametrize(
    ("wave", "rate", "words"),
    [
        (np.array([0.1, np.nan, 0.2], "float32"), RATE, "1 values that are NaN"),
        (np.zeros(0, "float32"), RATE, r"of shape \(0,\)"),
        (np.zeros((2, 3, 4), "float32"), RATE, r"of shape \(2, 3, 4\)"),
        (np.zeros(10, "float32"), None, "the rate None"),
        (np.zeros(10, "float32"), -1, "the rate -1"),
    ],
)
def test_what_is_no_sound_is_refused(wave, rate, words, seen):
    with pytest.raises(HelperError, match=words) as caught:
        sound(wave, rate)
    seen(f"sound of shape {wave.shape} at {rate} Hz", caught.value)


def test_a_file_that_is_no_sound_is_refused(tmp_path, seen):
    path = tmp_path / "note.wav"
    path.write_text("not a sound")
    with pytest.raises(HelperError, match="cannot be read as sound") as caught:
        sound(path)
    seen("a text file named .wav", caught.value)
    with pytest.raises(HelperError, match="cannot be read as sound"):
        sound(tmp_path / "absent.wav")


def test_the_library_refuses_two_channels_and_no_rate(write_down, seen):
    with pytest.raises(ValueError, match="axis 0 as channels") as caught:
        write_down({"raw": np.zeros((100, 2), "float32"), "sampling_rate": RATE})
    seen("two channels given to the pipeline", caught.value)
