"""Proves that each recipe of text and sound runs from data to a model that loads: all
stages, on sets of a few lines made here, for a few steps."""

import importlib
import json
import zipfile
from itertools import product

import numpy as np
import pytest
import soundfile
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    MarianMTModel,
    VitsModel,
    set_seed,
)

from helpers.bases import base
from helpers.catalogue import MODELS
from helpers.store import sha256
from recipes import module_of
from recipes.datasets import prepare, sst2

pytestmark = pytest.mark.nightly

WORDS = ["film", "story", "plot", "joke", "scene", "hero"]


@pytest.fixture
def data(tmp_path):
    """Return a folder for data sets, and what puts one there as if it were whole."""
    folder = tmp_path / "data"

    def put(name, files):
        for file, text in files.items():
            path = folder / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text) if isinstance(text, bytes) else path.write_text(
                text, "utf-8"
            )
        here = [path for path in sorted((folder / name).iterdir()) if path.is_file()]
        written = {p.name: sha256(p) for p in here if p.name != prepare.MANIFEST}
        (folder / name / prepare.MANIFEST).write_text(json.dumps(written), "utf-8")

    return folder, put


@pytest.fixture
def put_texts(data, monkeypatch):
    """Put small copies of SST-2, CLINC150 and BANKING77 into the folder."""
    folder, put = data
    rows = []
    for n, (one, other) in enumerate(product(WORDS, WORDS)):
        mood = ("good", "bad")[n % 2]
        rows += [(f"the {one} is {mood} and its {other} is number {n} .", 1 - n % 2)]
        rows += [(f"a {mood} {one} with a {other} of {n} parts", 1 - n % 2)]
    lines = "".join(f"{text}\t{label}\n" for text, label in rows)
    put("sst2", {"train.tsv": f"sentence\tlabel\n{lines}"})
    monkeypatch.setattr(sst2, "HELD_OUT", 8)
    intents = ["alarm", "light_on", "weather", "play_music", "oil_change"]
    rows = [[f"please help with {i} number {n}", i] for i in intents for n in range(6)]
    table = {"train": rows, "val": rows, "test": rows, "oos_train": [["huh", "oos"]]}
    domains = {"home": ["light_on"], "auto_and_commute": ["oil_change"]}
    domains["other"] = [i for i in intents if i not in ("light_on", "oil_change")]
    put(
        "clinc150",
        {
            "data_full.json": json.dumps(table | {"oos_val": [["ahem", "oos"]]}),
            "domains.json": json.dumps(domains),
        },
    )
    lines = "".join(f"my card {n} is lost,card_{n % 3}\n" for n in range(12))
    put("banking77", {"train.csv": f"text,category\n{lines}"})
    return folder


@pytest.fixture
def small(tmp_path):
    """Return a `base` that has a small random model in the place of SmolLM2."""
    folder, name = tmp_path / "small", "SmolLM2-135M-Instruct"
    config = AutoConfig.from_pretrained(base(name))
    config.num_hidden_layers, config.hidden_size, config.intermediate_size = 2, 64, 96
    config.num_attention_heads, config.num_key_value_heads, config.head_dim = 4, 2, 16
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(base(name)).save_pretrained(folder)
    return lambda asked: folder if asked == name else base(asked)


def loaded(folder):
    """Return (the class that the config names, with what was published in it; the
    names of the published tensors). The rest of the model is random."""
    config = AutoConfig.from_pretrained(folder)
    model = getattr(transformers, config.architectures[0])(config)
    tensors = load_file(folder / "tuned.safetensors")
    state = {name: tensor.float() for name, tensor in tensors.items()}
    assert not model.load_state_dict(state, strict=False).unexpected_keys
    return model, set(tensors)


def test_minilm_sst2(put_texts, small, tmp_path, monkeypatch):
    from recipes.minilm_sst2 import train

    monkeypatch.setattr(train, "base", small)
    monkeypatch.setattr(train, "BATCH", 16)
    monkeypatch.setattr(train, "REQUESTS", 10)
    monkeypatch.setitem(train.STUDENT, "epochs", 1)
    work, folder = tmp_path / "work", tmp_path / "published"
    work.mkdir()
    train.train(put_texts, work)
    train.publish(work, folder)
    _, names = loaded(folder)
    assert "classifier.weight" in names and "bert.pooler.dense.weight" in names
    assert not [name for name in names if "embeddings" in name]
    # What was trained is not trained again, and comes out the same.
    first = (folder / "tuned.safetensors").read_bytes()
    (work / "student.safetensors").unlink()
    train.train(put_texts, work)
    train.publish(work, folder)
    assert (folder / "tuned.safetensors").read_bytes() == first


TUNED = {
    "minilm-sst2": "student.safetensors",
    "minilm-nli": "second.safetensors",
    "whisper-digits": "learned.safetensors",
}


@pytest.mark.parametrize("name", TUNED)
def test_publish_writes_what_is_committed(name, tmp_path):
    """From the committed tensors as the result of training: the same files again."""
    train = importlib.import_module(f"{module_of(name)}.train")
    work, folder = tmp_path / "work", tmp_path / "published"
    work.mkdir()
    tensors = load_file(MODELS / name / "tuned.safetensors")
    save_file(
        {key: tensor.float() for key, tensor in tensors.items()}, work / TUNED[name]
    )
    train.publish(work, folder)
    made = {path.name for path in folder.iterdir()}
    committed = {path.name for path in (MODELS / name).iterdir()} - {"README.md"}
    assert made == committed
    for key, tensor in load_file(folder / "tuned.safetensors").items():
        assert torch.equal(tensor, tensors[key]), key
    for file in committed - {"tuned.safetensors"}:
        one, other = (
            json.loads((at / file).read_text("utf-8")) for at in (folder, MODELS / name)
        )
        for config in (one, other):
            config.pop("transformers_version", None)
        assert one == other, file


def test_publish_writes_the_committed_voice(tmp_path):
    from recipes.vits_espeak import train

    work, folder = tmp_path / "work", tmp_path / "published"
    work.mkdir()
    tensors = load_file(MODELS / "vits-espeak" / "model.safetensors")
    parts = {"acoustic": {}, "decoder": {}}
    for key, tensor in tensors.items():
        part, _, rest = key.partition(".")
        if part == "decoder":
            parts["decoder"][rest] = tensor.float()
        elif part in train.ACOUSTIC_PARTS:
            at = train.ACOUSTIC_PARTS.index(part)
            parts["acoustic"][f"{at}.{rest}"] = tensor.float()
    for name, part in (parts | {"joint": parts["decoder"]}).items():
        save_file(part, work / f"{name}.safetensors")
    train.publish(work, folder)
    for key, tensor in load_file(folder / "model.safetensors").items():
        if not key.startswith("posterior_encoder"):  # not used
            assert torch.equal(tensor, tensors[key]), key
    for file in ("tokenizer.json", "tokenizer_config.json"):
        one, other = (
            json.loads((at / file).read_text("utf-8"))
            for at in (folder, MODELS / "vits-espeak")
        )
        assert one == other, file


SYNSET = '{at:08d} 03 n 01 {word} 0 {above} | a thing that people call {word}; "so"\n'


@pytest.fixture
def put_pairs(put_texts, data):
    """Put small copies of the other sets of minilm-nli into the folder."""
    _, put = data
    for part in ("dev", "test"):
        count = range(20)
        premises = "\n".join(f"A man number {n} is eating ." for n in count)
        hypotheses = "\n".join(f"Somebody eats {n} ." for n in count)
        labels = "\n".join(["entailment", "neutral", "contradiction", "neutral"] * 5)
        files = {"s1": premises, "s2": hypotheses, "labels": labels}
        put("snli", {f"{name}.{part}": text for name, text in files.items()})
    lines = "".join(f"I feel {n} things\t{n % 3},2\tid\n" for n in range(12))
    put("goemotions", {"train.tsv": lines, "labels.txt": "joy\nanger\nfear\nsadness"})
    put("hwu64", {"train.csv": "wake me,alarm_set\nhello,general_joke\n" * 4})
    put("dbpedia", {"train.csv": "0,A firm in Oslo .\n1,A school in Rome .\n" * 4})
    put("trec", {"train.txt": "HUM:ind Who wrote it ?\nLOC:city Which city ?\n" * 4})
    put("uci_news", {"news.csv": "id,title,u,p,category\n1,Shares fall,u,p,b\n" * 4})
    row = {"headline": "Rain", "short_description": "It rains.", "category": "WEATHER"}
    put("huffpost", {"news.json": (json.dumps(row) + "\n") * 3})
    put("development", {"toy.csv": "text,label\nIt rains,weather\nA goal,sports\n"})
    root = SYNSET.format(at=1, word="entity", above="000")
    nouns = [
        SYNSET.format(at=n, word=f"thing{n}", above="001 @ 00000001 n 0000")
        for n in range(2, 12)
    ]
    for version in ("3_0", "3_1"):
        (package,) = prepare.packages(prepare.source(f"wordnet-{version}"))
        path = f"{prepare.stem(package)}/data.noun"
        put(f"wordnet-{version}", {path: "  licence\n" + root + "".join(nouns)})
    return put_texts


def test_minilm_nli(put_pairs, small, tmp_path, monkeypatch, capsys):
    from recipes.minilm_nli import distil, draw, train, written
    from recipes.minilm_nli.templates import label_table

    monkeypatch.setattr(train, "STEPS", 10)
    monkeypatch.setattr(distil, "STEPS", 10)
    monkeypatch.setattr(draw, "PAIRS", 12)
    monkeypatch.setattr(distil, "PAIRS", 12)
    work, folder = tmp_path / "work", tmp_path / "published"
    work.mkdir()
    texts = [
        json.dumps([i, about, f"Today there was news about {about} in the paper."])
        for i, topic in enumerate(label_table()["topic"])
        for about in topic["about"]
    ]
    (work / "written.jsonl").write_text("\n".join(texts), "utf-8")
    train.train(put_pairs, work)
    train.publish(work, folder)
    said = capsys.readouterr().out
    assert "'toy': " in said, "the development set was not scored"
    model, names = loaded(folder)
    assert model.config.id2label[2] == "entailment"
    assert "bert.encoder.layer.2.output.dense.weight" in names
    assert not [name for name in names if "layer.1." in name]
    first = load_file(work / "first.safetensors")
    second = load_file(work / "second.safetensors")
    assert first.keys() == second.keys()
    monkeypatch.setattr(written, "TEXTS", 2)
    monkeypatch.setattr(written, "base", small)
    assert len(written.write()) == 2


def test_minilm_nli_says_that_nothing_else_is_scored(tmp_path, capsys):
    from recipes.minilm_nli.model import development_files

    assert development_files(tmp_path) == []
    assert "The data set development (texts by which" in capsys.readouterr().out


@pytest.fixture
def espeak():
    """Skip where the synthesizer's library is not installed."""
    from recipes.common.espeak import Espeak

    try:
        return Espeak("en-us", 130, 40, 50, 2)
    except FileNotFoundError as error:
        pytest.skip(f"skipped: {error}")


def test_whisper_digits(espeak, data, tmp_path, monkeypatch):
    from recipes.whisper_digits import train

    folder, put = data
    clips, rng = folder / "fsdd", np.random.default_rng(0)
    clips.mkdir(parents=True)
    people = ("george", "jackson", "lucas", "nicolas")
    for digit, person in product(range(10), people):
        wave = rng.normal(0, 0.1, 4000)
        soundfile.write(clips / f"{digit}_{person}_0.wav", wave, 8000)
    put("fsdd", {})
    monkeypatch.setattr(train, "VOICES", {"en-us": train.VOICES["en-us"]})
    monkeypatch.setattr(train, "TIMBRES", [""])
    monkeypatch.setattr(train, "COPIES", 1)
    monkeypatch.setattr(train, "EPOCHS", 1)
    monkeypatch.setattr(train, "BATCH", 16)
    work, published = tmp_path / "work", tmp_path / "published"
    work.mkdir()
    train.train(folder, work)
    train.publish(work, published)
    model, names = loaded(published)
    assert model.config.max_source_positions == 100
    assert "encoder.layers.3.fc1.weight" in names
    assert not [name for name in names if name.startswith("encoder.layers.2.")]
    assert (published / "preprocessor_config.json").is_file()
    scores = train.hold_out(folder, [("lucas", "nicolas")])
    assert 0 <= scores["lucas and nicolas"] <= 1


def test_vits_espeak(espeak, put_texts, tmp_path, monkeypatch):
    from recipes.vits_espeak import spoken, train

    monkeypatch.setattr(
        spoken,
        "word_strings",
        lambda: [
            f"{a}, the {b} and {c}." for a, b, c in product(WORDS, WORDS, WORDS[:3])
        ],
    )
    monkeypatch.setattr(spoken, "SENTENCES", 10)
    monkeypatch.setattr(spoken, "FRAMES", 800)
    monkeypatch.setattr(spoken, "HELD_OUT", 5)
    for plan in (train.ACOUSTIC, train.DECODER, train.JOINT):
        monkeypatch.setitem(plan, "steps", 2)
        monkeypatch.setitem(plan, "batch", 4)
        monkeypatch.setitem(plan, "frames", 16)
    work, folder = tmp_path / "work", tmp_path / "published"
    work.mkdir()
    train.train(put_texts, work)
    train.publish(work, folder)
    model = VitsModel.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    set_seed(0)
    wave = model(**tokenizer("two films", return_tensors="pt")).waveform
    assert wave.isfinite().all() and wave.shape[1] >= 256
    lines = spoken.SpokenLines(work)
    # Of 118; left out are those whose first sound is late, as that of "plot" is.
    assert len(lines.lines) > 85, "espeak's words were not found in the texts"
    letters = [sum(line["durations"][1:-1]) for line in lines.lines]
    assert min(letters) > 20  # frames of 16 ms


PO = """msgid ""
msgstr "Content-Type: text/plain; charset=utf-8\\n"

"""


def test_marian_en_fr_ui(data, tmp_path, monkeypatch):
    from recipes.marian_en_fr_ui import score, tokenizer, train

    folder, _ = data
    archives = folder / prepare.ARCHIVES
    archives.mkdir(parents=True)
    rows = []
    for use, nouns in (("train", WORDS), ("validate", ["index"]), ("test", ["note"])):
        messages = "".join(
            f'msgid "Delete the {noun} %(name)s for {n} of your days"\n'
            f'msgstr "Supprimer le {noun} %(name)s pour {n} de vos jours"\n\n'
            for noun, n in product(nouns, range(20))
        )
        path = archives / f"{use}-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{use}/locale/fr/LC_MESSAGES/django.po", PO + messages)
        rows.append(
            f'{{ name = "{use}", version = "1.0", licence = "MIT", use = "{use}", '
            f'file = "{path.name}", sha256 = "{sha256(path)}" }}'
        )
    table = tmp_path / "packages.toml"
    table.write_text(f"packages = [{', '.join(rows)}]", "utf-8")
    row = {"what": "catalogues", "licence": "MIT", "table": str(table)}
    monkeypatch.setattr(prepare, "sources", lambda: {"ui-packages": row})
    monkeypatch.setattr(tokenizer, "VOCABULARY", 400)
    monkeypatch.setattr(train, "HELD_OUT", 10)
    monkeypatch.setattr(train, "BATCH", 512)
    monkeypatch.setattr(train, "MINUTES", 1 / 60)
    monkeypatch.setattr(train, "EXAMPLES", ["Delete"])
    monkeypatch.setattr(score, "REQUIRED", {})
    seen = score.SEEN.read_bytes()
    work, published = tmp_path / "work", tmp_path / "published"
    work.mkdir()
    train.train(folder, work)
    train.publish(work, published)
    model = MarianMTModel.from_pretrained(published)
    assert model.dtype == torch.float32
    made = AutoTokenizer.from_pretrained(published)
    assert made.decode(made("Delete 3 notes")["input_ids"], True) == "Delete 3 notes"
    assert score.SEEN.read_bytes() == seen, "only publish writes into the repository"
    assert (work / "seen.txt").is_file()
    assert len(score.test_set(archives)) == 20
