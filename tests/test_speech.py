"""Proves that the models of sound answer, and that odd sounds end in clear words."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from places import NOTEBOOKS
from wrong_inputs import LONG, NO_SOUND_FILES, NO_SOUNDS, RATE

from helpers import model_for, sound
from helpers.errors import HelperError


@pytest.fixture(scope="module")
def speak(pipe):
    return pipe("text-to-speech")


@pytest.fixture(scope="module")
def write_down(pipe):
    return pipe("automatic-speech-recognition")


@pytest.fixture(scope="module")
def digit(pipe):
    return pipe("audio-classification")


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
    letters = speak.tokenizer(LONG)["input_ids"]
    text = "".join(speak.tokenizer.convert_ids_to_tokens(letters)[1:-1])
    assert text.endswith("and so on.") and len(text) < 620


def test_stereo_and_other_rates_are_heard_alike(speak, write_down, digit, tmp_path):
    wave = spoken(speak, "seven")["raw"]
    path = tmp_path / "seven.wav"
    at_44 = soxr.resample(wave, RATE, 44_100)
    stereo = np.stack([at_44, at_44], axis=1)
    soundfile.write(path, stereo, 44_100)
    assert digit(sound(path))[0]["label"] == "7"
    assert digit(sound(stereo, 44_100))[0]["label"] == "7"
    one, two = (
        write_down(x)["text"] for x in (sound(wave, RATE), sound(stereo, 44100))
    )
    assert one == two


@pytest.mark.parametrize("seconds", [1, 30])
@pytest.mark.parametrize("loud", [0.0, 0.001, 0.1])
def test_silence_and_noise_end_in_a_word(write_down, loud, seconds):
    """Whisper invents something for silence, as the card says, but comes to an end."""
    noise = np.random.default_rng(0).normal(0, loud, seconds * RATE)
    heard = write_down({"raw": noise.astype("float32"), "sampling_rate": RATE})
    assert len(heard["text"]) < 1000  # " ." 256 times, at the worst


def test_a_digit_is_told_for_silence_too(digit):
    answers = digit({"raw": np.zeros(RATE, "float32"), "sampling_rate": RATE})
    assert 0.1 < answers[0]["score"] < 0.9


@pytest.mark.model
def test_a_bare_script_hears_without_notices():
    """Also without setup(): nothing on stderr but bars, which are off here."""
    code = """
import numpy
from transformers import pipeline
from helpers import model_for
task = "automatic-speech-recognition"
listen = pipeline(task, **model_for(task))
print(listen({"raw": numpy.zeros(16000, "float32"), "sampling_rate": 16000}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=NOTEBOOKS,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "text" in done.stdout
    assert done.stderr == ""


def test_whisper_is_told_what_its_authors_publish():
    folder = Path(model_for("automatic-speech-recognition")["model"])
    settings = json.loads((folder / "generation_config.json").read_text("utf-8"))
    # Without the first, Whisper is not told that no times are wanted, and hears worse.
    assert settings["no_timestamps_token_id"] == 50362
    assert settings["decoder_start_token_id"] == 50257
    assert settings["begin_suppress_tokens"] == [220, 50256]
    assert settings["num_beams"] == 1
    assert "forced_decoder_ids" not in settings  # the library prints a notice for it
    assert json.loads((folder / "config.json").read_text())["dtype"] == "float32"


def test_a_list_with_none_is_refused(speak, write_down, digit, record_fault):
    for name, use in (("speaking", speak), ("hearing", write_down), ("digits", digit)):
        with pytest.raises((TypeError, ValueError, AttributeError)) as caught:
            use([None])
        record_fault(f"{name}: a list with None", caught.value)


@pytest.mark.parametrize(("wave", "rate", "words"), NO_SOUNDS)
def test_what_is_no_sound_is_refused(wave, rate, words, record_fault):
    with pytest.raises(HelperError, match=words) as caught:
        sound(wave, rate)
    record_fault(f"sound of shape {wave.shape} at {rate} Hz", caught.value)


@pytest.mark.parametrize(("what", "make"), NO_SOUND_FILES)
def test_a_file_that_is_no_sound_is_refused(what, make, tmp_path, record_fault):
    with pytest.raises(HelperError, match="cannot be read as sound") as caught:
        sound(Path(make(tmp_path)))
    record_fault(what, caught.value)


def test_the_library_refuses_two_channels_and_no_rate(write_down, record_fault):
    with pytest.raises(ValueError, match="axis 0 as channels") as caught:
        write_down({"raw": np.zeros((100, 2), "float32"), "sampling_rate": RATE})
    record_fault("two channels given to the pipeline", caught.value)
