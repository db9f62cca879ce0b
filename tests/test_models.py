"""Proves that the catalogue, the cards and `model_for` say what is so."""

import copy
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from places import NOTEBOOKS
from safetensors.torch import load_file, save_file

from helpers import bases, files_of, hub, model_for, models, register_own_tasks, session
from helpers.catalogue import catalogue
from helpers.errors import HelperError
from recipes import module_of, scores

FIELDS = {
    "converter",
    "about",
    "base",
    "parts",
    "padded",
    "tokens",
    "minutes",
    "licence",
    "scores",
    "quick_scores",
}


@pytest.fixture(scope="module")
def classifier(pipe):
    return pipe("sentiment-analysis")


@pytest.mark.parametrize("task", catalogue()["tasks"])
def test_model_for_names_a_folder_in_one_line(task, capsys):
    chosen = model_for(task)
    said = capsys.readouterr().out
    assert set(chosen) == {"model", "device"}
    assert (Path(chosen["model"]) / "model.safetensors").is_file()
    assert said.count("\n") == 1
    entry = catalogue()["tasks"][task]
    assert re.search(r"\d+\.\d M parameters, \d+ MB", said)
    assert entry["embedded"] in said
    assert entry["hub"].split("/")[-1] in said


@pytest.mark.parametrize(("retired", "own"), models.RETIRED.items())
def test_a_retired_name_leads_to_our_own_task(retired, own, capsys):
    chosen = model_for(retired)
    said = capsys.readouterr().out
    assert chosen == model_for(own)
    assert said.count("\n") == 1
    assert f'pipeline("{own}", …)' in said


def test_an_unknown_task_is_said(record_fault):
    with pytest.raises(
        HelperError, match="no model for the task 'sentimental'"
    ) as caught:
        model_for("sentimental")
    assert "sentiment-analysis" in str(caught.value)
    record_fault("a task that does not exist", caught.value)


def test_an_unknown_mode_is_said(monkeypatch, record_fault):
    monkeypatch.setenv("MODELS", "huge")
    with pytest.raises(HelperError, match="MODELS=huge is not a mode") as caught:
        session.setup()
    record_fault("MODELS=huge", caught.value)


def test_a_notebook_shows_a_helper_error_as_one_line():
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    code = "from helpers import model_for; model_for('nope')"
    lines = []
    shell._showtraceback = lambda etype, value, text: lines.extend(text)
    shell.run_cell(code)
    assert len(lines) == 1
    assert lines[0].startswith("HelperError: There is no model for the task 'nope'")


@pytest.mark.parametrize(
    ("models_in", "asked", "found", "expected"),
    [
        ("embedded", None, None, "cpu"),
        ("embedded", None, "cuda", "cpu"),
        ("embedded", "auto", "mps", "mps"),
        ("embedded", "cuda", "cuda", "cuda"),
        ("hub", None, "cuda", "cuda"),
        ("hub", None, None, "cpu"),
        ("hub", "cpu", "mps", "cpu"),
    ],
)
def test_the_device_is_chosen(models_in, asked, found, expected, monkeypatch):
    accelerator = torch.device(found) if found else None
    monkeypatch.setattr(
        torch.accelerator, "current_accelerator", lambda check_available: accelerator
    )
    monkeypatch.setenv("MODELS", models_in)
    monkeypatch.setenv("DEVICE", asked or "")
    assert session.device() == expected


@pytest.mark.parametrize("models_in", ["embedded", "hub"])
def test_long_speech_stays_on_the_cpu_of_a_mac(models_in, monkeypatch):
    """Where convolutions on mps put out four seconds of sound at most."""
    there = torch.device("mps")
    monkeypatch.setattr(
        torch.accelerator, "current_accelerator", lambda check_available: there
    )
    monkeypatch.setattr(hub, "hub_model", lambda repo: {"model": repo})
    monkeypatch.setenv("MODELS", models_in)
    monkeypatch.setenv("DEVICE", "auto")
    assert model_for("text-to-speech")["device"] == "cpu"
    assert model_for("automatic-speech-recognition")["device"] == "mps"


def test_a_device_that_is_not_there_is_refused(monkeypatch, record_fault):
    monkeypatch.setenv("DEVICE", "cuda:7")
    with pytest.raises(HelperError, match="Expected one of: cpu") as caught:
        session.device()
    record_fault("DEVICE=cuda:7", caught.value)


def test_files_of_lists_what_is_loaded():
    files = dict(files_of(model_for("sentiment-analysis")["model"]))
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(files)
    assert "manifest.json" not in files


def test_parameters_are_counted_right(classifier):
    folder = Path(model_for("sentiment-analysis")["model"])
    assert models.parameters_of(folder) == classifier.model.num_parameters()


def test_whatever_decides_a_model_is_in_its_key(tmp_path, monkeypatch):
    """Its weights, its config, its row of the catalogue, its parts, and the code."""
    shutil.copytree(NOTEBOOKS / "models", tmp_path / "models")
    table = copy.deepcopy(catalogue())
    monkeypatch.setattr(models, "MODELS", tmp_path / "models")
    monkeypatch.setattr(models, "catalogue", lambda: table)
    monkeypatch.setattr(bases, "catalogue", lambda: table)
    keys = [models._key("fastvlm-scenes")]

    def changed():
        keys.append(models._key("fastvlm-scenes"))
        return len(set(keys)) == len(keys)

    folder = tmp_path / "models" / "fastvlm-scenes"
    (folder / "config.json").write_text("{}")
    assert changed()
    (folder / "tuned.safetensors").write_bytes(b"other weights")
    assert changed()
    table["embedded"]["fastvlm-scenes"]["parts"].reverse()
    assert changed()
    (tmp_path / "models" / "convnext-emoji" / "model.safetensors").write_bytes(b"other")
    assert changed(), "a part of a part"
    table["bases"]["SmolLM2-135M-Instruct"]["file_sha256"] = "f" * 64
    assert changed()
    monkeypatch.setattr(bases, "CONVERSION", bases.CONVERSION + 1)
    assert changed()
    monkeypatch.setattr(models, "ASSEMBLY", models.ASSEMBLY + 1)
    assert changed()


@pytest.fixture
def two_models(tmp_path, monkeypatch):
    """A tiny BERT called `first`, and `second`, a part of which is the first's."""
    from transformers import BertConfig, BertForSequenceClassification, BertModel

    torch.manual_seed(0)
    small = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BertConfig(intermediate_size=8, vocab_size=11, **small)
    first, second = BertModel(config), BertForSequenceClassification(config)
    first.save_pretrained(tmp_path / "models" / "first")
    folder = tmp_path / "models" / "second"
    second.config.architectures = ["BertForSequenceClassification"]
    second.config.save_pretrained(folder)
    own = {n: t for n, t in second.state_dict().items() if "classifier" in n}
    save_file(own, folder / "tuned.safetensors")
    part = {"model": "first", "from": "", "to": "bert."}
    table = {"embedded": {"first": {}, "second": {"parts": [part]}}}
    monkeypatch.setattr(models, "MODELS", tmp_path / "models")
    monkeypatch.setattr(models, "catalogue", lambda: table)
    monkeypatch.setenv("LEARN_TRANSFORMERS_CACHE", str(tmp_path / "cache"))
    return first, own, part


@pytest.mark.model
def test_a_model_is_put_together_from_its_parts(two_models):
    first, own, _ = two_models
    made = load_file(models.embedded("second") / "model.safetensors")
    for name, tensor in first.state_dict().items():
        assert torch.equal(made[f"bert.{name}"], tensor), name
    for name, tensor in own.items():
        assert torch.equal(made[name], tensor), name


@pytest.mark.model
def test_a_model_that_lacks_a_tensor_is_refused(two_models):
    two_models[2]["from"] = "encoder."
    two_models[2]["to"] = "bert.encoder."
    with pytest.raises(HelperError, match="second lacks 7 tensors, such as bert"):
        models.embedded("second")


@pytest.mark.model
def test_an_adapter_is_merged(two_models, tmp_path):
    from peft import LoraConfig, get_peft_model

    how = LoraConfig(r=2, lora_alpha=2, target_modules=["query"])
    adapted = get_peft_model(copy.deepcopy(two_models[0]), how)
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter)
    adapted.save_pretrained(tmp_path / "models" / "first")
    name = "encoder.layer.0.attention.self.query.weight"
    expected = adapted.merge_and_unload().state_dict()[name]
    made = load_file(models.embedded("first") / "model.safetensors")
    assert torch.allclose(made[name], expected)
    assert not torch.allclose(made[name], two_models[0].state_dict()[name])


def test_only_what_is_named_is_padded():
    weights = {"new.weight": torch.ones(1, 2), "old.weight": torch.ones(1, 2)}
    wanted = {name: torch.full((2, 3), 7.0) for name in weights}
    models._pad(weights, wanted, ("new.",))
    assert weights["new.weight"].tolist() == [[1, 1, 0], [0, 0, 0]]
    assert weights["old.weight"].shape == (1, 2), "it must fail when it is loaded"


def test_the_catalogue_is_whole():
    table = catalogue()
    for spec in table["bases"].values():
        assert re.fullmatch("[0-9a-f]{64}", spec["wheel_sha256"])
        assert re.fullmatch("[0-9a-f]{64}", spec["file_sha256"])
        assert spec.get("hub") in {None, *table["hub"]}
    for name, spec in table["hub"].items():
        assert re.fullmatch("[0-9a-f]{40}", spec["revision"]), name
        assert spec["weights"].endswith(".safetensors"), name
        assert spec["licence"], name
    for task, entry in table["tasks"].items():
        assert entry["embedded"] in table["embedded"], task
        assert entry["hub"] in table["hub"], task
    for name, spec in table["embedded"].items():
        assert set(spec) <= FIELDS, name
        for part in [spec] if "base" in spec else spec.get("parts", []):
            where = "bases" if "base" in part else "embedded"
            assert part.get("base", part.get("model")) in table[where], name


def test_the_head_of_the_catalogue_explains_every_field():
    text = (NOTEBOOKS / "models" / "catalogue.toml").read_text("utf-8")
    head = text[: text.index("\n[")]
    for kind, rows in catalogue().items():
        for field in {field for row in rows.values() for field in row}:
            assert re.search(rf"^#.*\b{field}\b", head, re.MULTILINE), (kind, field)


def test_a_model_names_its_class():
    for name, spec in catalogue()["embedded"].items():
        folder = NOTEBOOKS / "models" / name
        here = {path.suffix for path in folder.iterdir()}
        assert here <= {".md", ".json", ".safetensors", ".jinja"}, name
        if not {"base", "converter"} & set(spec):
            config = json.loads((folder / "config.json").read_text("utf-8"))
            assert len(config["architectures"]) == 1, name


def test_the_library_knows_every_task_of_the_catalogue():
    from transformers.pipelines import PIPELINE_REGISTRY, SUPPORTED_TASKS, TASK_ALIASES

    register_own_tasks()
    own = PIPELINE_REGISTRY.supported_tasks
    assert set(catalogue()["tasks"]) <= {*SUPPORTED_TASKS, *TASK_ALIASES, *own}


@pytest.mark.model
@pytest.mark.parametrize("name", catalogue()["embedded"])
def test_a_card_says_no_more_than_is_measured(name):
    """The quick part of `make scores`: what needs no data set from elsewhere."""
    found = scores.measure(name, True, None)
    assert not scores.too_much(name, found)
    if name == "minilm-nli":  # shares of right answers, not speeds
        said = {
            row["measure"]: row["value"]
            for row in catalogue()["embedded"][name]["scores"]
        }
        for measure, value in found.items():
            assert value <= said[measure] + 0.02, f"the card can say more: {measure}"


def test_a_card_that_says_too_much_is_noticed(monkeypatch, record_fault):
    row = {"measure": "accuracy", "value": 0.9, "text": ""}
    table = {"embedded": {"ours": {"scores": [row]}}}
    monkeypatch.setattr(scores, "catalogue", lambda: table)
    assert not scores.too_much("ours", {"accuracy": 0.9})
    said = scores.too_much("ours", {"accuracy": 0.88})
    assert said == ["ours: the card says 0.9 for accuracy, measured 0.88"]
    assert scores.too_much("ours", {"speed": 1.0})
    record_fault("a card that says more than its model can do", said[0])


@pytest.mark.parametrize("name", catalogue()["embedded"])
def test_a_model_has_its_card_recipe_and_scores(name):
    spec = catalogue()["embedded"][name]
    folder = NOTEBOOKS / "models" / name
    for module in ["score"] + ["train"] * (not {"base", "converter"} & set(spec)):
        assert find_spec(f"{module_of(name)}.{module}"), module
    card = (folder / "README.md").read_text("utf-8")
    for part in ("## Data", "## Score", "## What it cannot do", "icence"):
        assert part in card, part
    assert spec["scores"] and spec["scores"][0]["text"]


@pytest.mark.model
def test_importing_the_helpers_is_quick():
    code = """
import time, transformers
start = time.perf_counter(); import helpers
print(time.perf_counter() - start)
"""
    runs = [
        float(subprocess.check_output([sys.executable, "-c", code], cwd=NOTEBOOKS))
        for _ in range(2)
    ]
    assert min(runs) < 0.3


# One task a model, for the models of the Hub whose scores for a text are published.
PUBLISHED = {
    entry["hub"]: task
    for task, entry in catalogue()["tasks"].items()
    if "published" in catalogue()["hub"][entry["hub"]]
}


@pytest.mark.model
@pytest.mark.parametrize("task", PUBLISHED.values())
def test_figures_published_for_the_full_size_model(task):
    """The Hub's own model gives the published scores; needs the Hub."""
    if not os.environ.get("LEARN_TRANSFORMERS_NETWORK"):
        pytest.skip("skipped: no Hub")
    published = catalogue()["hub"][catalogue()["tasks"][task]["hub"]]["published"]
    expected = {}
    for row in published:
        expected.setdefault(row["text"], {})[row["label"]] = row["score"]
    found = full_size_scores(task, expected)
    for text, row in expected.items():
        for label, score in row.items():
            assert found[text][label] == pytest.approx(score, abs=1e-3), text


def full_size_scores(task, expected):
    """Return {text: {label: score}} by the Hub's model, in a process of its own."""
    code = f"""
import json
from transformers import pipeline
from helpers import model_for
classifier = pipeline({task!r}, **model_for({task!r}))
found = {{}}
for text, labels in {expected!r}.items():
    if classifier.task == "zero-shot-classification":
        answer = classifier(text, list(labels))
        found[text] = dict(zip(answer["labels"], answer["scores"]))
    else:
        answers = classifier(text, top_k=None)
        found[text] = {{answer["label"]: answer["score"] for answer in answers}}
print(json.dumps(found))
"""
    out = subprocess.check_output(
        [sys.executable, "-c", code],
        cwd=NOTEBOOKS,
        env=os.environ | {"MODELS": "hub"},
        text=True,
    )
    return json.loads(out.splitlines()[-1])


def test_scores_side_by_side_name_their_data():
    """A published score beside a measured one: the same data, or said not to be."""
    table = catalogue()
    rows = list(table["tasks"].values())
    rows += [kind for row in rows for kind in row.values() if isinstance(kind, dict)]
    for row in rows:
        measured = table["embedded"][row["embedded"]]["scores"][0]["text"]
        if published := table["hub"][row["hub"]].get("score"):
            sets = (
                "GLUE's 872 validation sentences of SST-2",
                "LibriSpeech's clean test",
            )
            both = any(same in measured and same in published for same in sets)
            assert both or published.endswith("not the same data"), row
