"""Proves that the committed translation model answers well and fails clearly.

The model is loaded as a user loads it: from its folder, by the library's own classes.
"""

from pathlib import Path

import pytest
import torch

from recipes.marian_en_fr_ui import corpus, score
from recipes.marian_en_fr_ui.model import SmoothedLoss

FOLDER = Path(__file__).resolve().parent.parent / "notebooks/models/marian-en-fr-ui"


@pytest.fixture(scope="module")
def model():
    from transformers import AutoModelForSeq2SeqLM

    return AutoModelForSeq2SeqLM.from_pretrained(FOLDER).eval()


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(FOLDER)


@pytest.fixture
def translate(model, tokenizer):
    def translate(texts):
        inputs = tokenizer(texts, return_tensors="pt", padding=True, truncation=True)
        with torch.no_grad():
            made = model.generate(**inputs)
        return tokenizer.batch_decode(made, skip_special_tokens=True)

    return translate


def test_the_three_required_sentences(translate):
    answers = translate(list(score.REQUIRED))
    for answer, good in zip(answers, score.REQUIRED.values(), strict=True):
        assert answer in good


def test_a_batch_answers_as_one_by_one(translate):
    texts = ["Save the file", "Enter a valid email address.", "Open a new window"]
    assert translate(texts) == [translate([text])[0] for text in texts]


def test_the_quick_scores_are_those_of_the_catalogue():
    from helpers.catalogue import catalogue

    measured = score.measure(quick=True)
    stated = catalogue()["embedded"]["marian-en-fr-ui"]["scores"]
    compared = [s for s in stated if s["measure"] in measured]
    assert len(compared) == len(measured)
    for entry in compared:
        assert measured[entry["measure"]] >= entry["value"] * 0.995, entry


def test_an_empty_text_ends_in_an_answer(translate):
    for answer in translate(["", "   "]):
        assert len(answer) < 200


def test_ten_thousand_words_are_cut_and_answered(translate, tokenizer):
    text = " ".join(["Save the file."] * 3334)
    assert tokenizer(text, truncation=True)["input_ids"][-1] == tokenizer.eos_token_id
    assert translate([text])[0]


def test_ten_thousand_words_uncut_are_refused(model, tokenizer, seen):
    text = " ".join(["Save the file."] * 3334)
    inputs = tokenizer(text, return_tensors="pt")
    with pytest.raises((IndexError, RuntimeError)) as caught:
        model.generate(**inputs)
    seen("10,000 words to be translated, without truncation", caught.value)


@pytest.mark.parametrize(
    "text", ["保存文件", "Сохранить файл", "احفظ الملف", "שמור 😀 ¿?", "\x00\ufffd\n\t"]
)
def test_other_scripts_end_in_an_answer(translate, tokenizer, text):
    assert isinstance(translate([text])[0], str)
    # Nothing is unknown: the tokenizer falls back to bytes.
    assert tokenizer.unk_token_id not in tokenizer(text)["input_ids"]


@pytest.mark.parametrize(
    "text", ["Version 12.5", "%1$s of 10,000", "L'été « %(name)s » n'est {id} ?"]
)
def test_the_tokenizer_gives_a_text_back(tokenizer, text):
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_something_that_is_no_text_is_refused(tokenizer, seen):
    with pytest.raises((TypeError, ValueError)) as caught:
        tokenizer(["Save the file", None], return_tensors="pt", padding=True)
    seen("a None among the texts to be translated", caught.value)


def test_the_folder_holds_safetensors_and_nothing_that_runs():
    files = {path.name for path in FOLDER.iterdir() if path.is_file()}
    assert {"model.safetensors", "tokenizer.json", "config.json"} <= files
    assert not {f for f in files if f.endswith((".bin", ".pt", ".pkl", ".model"))}
    assert (FOLDER / "model.safetensors").stat().st_size < 25e6
    assert "auto_map" not in (FOLDER / "config.json").read_text("utf-8")


def test_no_notice_on_loading(capfd):
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    AutoTokenizer.from_pretrained(FOLDER)
    AutoModelForSeq2SeqLM.from_pretrained(FOLDER)
    assert capfd.readouterr() == ("", "")


def test_every_package_has_its_licence_on_the_card():
    packages = corpus.packages
    card = (FOLDER / "README.md").read_text("utf-8")
    rows = [row for use in ("train", "validate", "test") for row in packages(use)]
    assert len({row["file"] for row in rows}) == len(rows) > 100
    for row in rows:
        assert f"| {row['name']} | {row['version']} | {row['licence']} |" in card
        assert len(row["sha256"]) == 64


def test_the_fast_loss_is_torchs_own():
    torch.manual_seed(0)
    states, matrix = torch.randn(150, 32), torch.randn(100, 32)
    target = torch.randint(0, 100, (150,))
    found = []
    for loss in (
        lambda s, m: SmoothedLoss.apply(s, m, target, 0.1),
        lambda s, m: torch.nn.functional.cross_entropy(
            s @ m.T, target, label_smoothing=0.1
        ),
    ):
        leaves = [t.clone().requires_grad_() for t in (states, matrix)]
        value = loss(*leaves)
        found.append([value.detach(), *torch.autograd.grad(value, leaves)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)
