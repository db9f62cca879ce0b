"""Proves that the recipes of the picture models make what the library loads: each one
trained for a step or two on a tiny share of drawings, published into a folder of its
own and loaded from there; and that their parts do what they claim.
"""

import json
import random
import shutil

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from transformers import (
    AutoConfig,
    AutoTokenizer,
    ConvNextBackbone,
    LlamaConfig,
    LlamaForCausalLM,
    pipeline,
)

from helpers import bases, models
from helpers.catalogue import MODELS, NOTEBOOKS
from recipes.clip_emoji import train as clip
from recipes.common import scene_encoder
from recipes.convnext_emoji import augment
from recipes.convnext_emoji import train as convnext
from recipes.convnext_emoji.word_loss import WordLoss
from recipes.datasets import prepare
from recipes.datasets.emoji import captions, drawings, labels
from recipes.datasets.emoji.twemoji_test import unseen
from recipes.datasets.scenes import notebook_pictures
from recipes.datasets.scenes.compose import NAMES, compose, unseen_drawings
from recipes.fastvlm_scenes import conversations, grids
from recipes.fastvlm_scenes import train as fastvlm
from recipes.rtdetr_scenes import train as rtdetr

NOUN = '{:08} 05 n 01 {} 0 000 | a thing called {}; "look at it"\n'


@pytest.fixture(scope="module")
def known():
    return list(AutoConfig.from_pretrained(MODELS / "convnext-emoji").id2label.values())


@pytest.fixture(scope="module")
def data(tmp_path_factory, known):
    """What `prepare` and `render` make, with Twemoji's drawings for every style."""
    data = tmp_path_factory.mktemp("data")
    folder = data / "emoji-drawings"
    folder.mkdir()
    names = known + sorted(labels.left_out())
    pictures = unseen(known)
    pictures += [pictures[0]] * (len(names) - len(known))
    pixels = np.stack([np.asarray(picture.convert("RGBA")) for picture in pictures])
    pixels[..., 3] = 255 * (pixels[..., :3].min(-1) < 250)
    styles = list(drawings.PACKAGES)
    first = folder / f"{styles[0]}.npz"
    np.savez(first, names=np.array(names), small=pixels, large=pixels)
    for style in styles[1:]:
        shutil.copy(first, folder / f"{style}.npz")
    things = [{"name": n, "keywords": [n, "a thing"], "styles": styles} for n in names]
    (folder / "things.json").write_text(json.dumps(things), "utf-8")
    (package,) = prepare.source("wordnet-3_1")["packages"]
    words = data / "wordnet-3_1" / prepare.stem(package)
    words.mkdir(parents=True)
    nouns = [NOUN.format(at, name, name) for at, name in enumerate(("dog", "cat"), 1)]
    (words / "data.noun").write_text("".join(nouns), "utf-8")
    return data


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A copy of models/, from which `embedded` makes models in a cache of their own."""
    shutil.copytree(MODELS, tmp_path / "models")

    def stored(key, build):
        folder = tmp_path / "cache" / key
        if not folder.exists():
            folder.mkdir(parents=True)
            build(folder)
        return folder

    monkeypatch.setattr(models, "MODELS", tmp_path / "models")
    monkeypatch.setattr(models, "stored", stored)
    return tmp_path / "models"


@pytest.fixture
def scene():
    return compose(3, unseen_drawings(), (2, 3))


def same_files(one, other, names):
    for name in names:
        a, b = ((folder / name).read_text("utf-8") for folder in (one, other))
        assert a == b if name.endswith(".jinja") else json.loads(a) == json.loads(b)


def same_tensors(one, other):
    """Check that two files hold tensors of the same names, shapes and kinds."""
    first, second = load_file(one), load_file(other)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert tensor.shape == second[name].shape, name
        assert tensor.dtype == second[name].dtype, name


# From start to end, a step or two


@pytest.mark.nightly
def test_convnext_is_trained_and_published(data, published, tmp_path, known):
    folder = published / "convnext-emoji"
    convnext.train(data, tmp_path, steps=3)
    shutil.rmtree(folder)
    convnext.publish(tmp_path, folder)
    ours = MODELS / "convnext-emoji"
    same_files(folder, ours, ["config.json", "preprocessor_config.json"])
    same_tensors(folder / "model.safetensors", ours / "model.safetensors")
    made = str(models.embedded("convnext-emoji"))
    assert pipeline("image-classification", made)(unseen(known)[0])[0]["label"] in known


@pytest.mark.nightly
def test_clip_is_put_together_and_published(data, published, tmp_path, known):
    folder = published / "clip-emoji"
    clip.train(data, tmp_path)
    shutil.rmtree(folder)
    clip.publish(tmp_path, folder)
    ours = MODELS / "clip-emoji"
    same_files(folder, ours, ["config.json", "preprocessor_config.json"])
    same_tensors(folder / "tuned.safetensors", ours / "tuned.safetensors")
    made = str(models.embedded("clip-emoji"))
    choose = pipeline("zero-shot-image-classification", made)
    said = choose(unseen(known)[0], candidate_labels=known[:5])
    assert sum(row["score"] for row in said) == pytest.approx(1)
    # What the recipe measures with is what the library loads.
    own = load_file(folder / "tuned.safetensors")
    for name, tensor in clip.assembled(own).state_dict().items():
        assert torch.equal(tensor, choose.model.state_dict()[name]), name


@pytest.mark.nightly
def test_rtdetr_is_trained_and_published(data, published, tmp_path, scene):
    folder = published / "rtdetr-scenes"
    small = {"steps": 2, "batch": 2}
    rtdetr.train(data, tmp_path, rtdetr.ENCODER | small, rtdetr.DETECTOR | small)
    shutil.rmtree(folder)
    rtdetr.publish(tmp_path, folder)
    ours = MODELS / "rtdetr-scenes"
    same_files(folder, ours, ["config.json", "preprocessor_config.json"])
    for name in ("tuned.safetensors", "adapter_model.safetensors"):
        same_tensors(folder / name, ours / name)
    made = str(models.embedded("rtdetr-scenes"))
    found = pipeline("object-detection", made)(scene.picture, threshold=0.0)
    assert {row["label"] for row in found} <= set(NAMES)
    # What was learned is what is loaded, the low-rank changes merged.
    learned = load_file(tmp_path / rtdetr.RESULT)
    loaded = load_file(models.embedded("rtdetr-scenes") / "model.safetensors")
    name = "model.backbone.model.encoder.stages.3.layers.1.dwconv.weight"
    assert torch.allclose(learned[name], loaded[name], atol=1e-3)


@pytest.mark.nightly
def test_fastvlm_is_trained_and_published(data, published, tmp_path, scene):
    folder = published / "fastvlm-scenes"
    small = {"steps": 1, "scenes": 2, "asked": 2}
    fastvlm.train(data, tmp_path, {k: v | small for k, v in fastvlm.STAGES.items()})
    shutil.rmtree(folder)
    fastvlm.publish(tmp_path, folder)
    ours = MODELS / "fastvlm-scenes"
    same_files(
        folder, ours, ["config.json", "processor_config.json", "chat_template.jinja"]
    )
    for name in ("tuned.safetensors", "adapter_model.safetensors"):
        same_tensors(folder / name, ours / name)
    made = str(models.embedded("fastvlm-scenes"))
    content = [{"type": "image", "image": scene.picture}]
    content.append({"type": "text", "text": "What is in the picture?"})
    answer = pipeline("image-text-to-text", made)(
        text=[{"role": "user", "content": content}], max_new_tokens=5
    )
    assert answer[0]["generated_text"]


def test_a_stage_that_is_done_is_not_done_again(data, tmp_path, monkeypatch):
    """Both recipes of several stages go on with the first whose result is missing."""
    begun = []
    monkeypatch.setattr(rtdetr, "train_encoder", lambda *_: begun.append("encoder"))
    monkeypatch.setattr(rtdetr, "train_detector", lambda *_: begun.append("detector"))
    (tmp_path / "encoder.safetensors").touch()
    rtdetr.train(data, tmp_path)
    for name in ("language", "projector", "together"):
        function = f"train_{name}"
        monkeypatch.setattr(fastvlm, function, lambda *how: begun.append(how[-1]))
    for name in ("language", "sides", "together"):
        (tmp_path / f"{name}.safetensors").touch()
    fastvlm.train(data, tmp_path)
    assert begun == ["detector", tmp_path]


# Drawings, names, words


def test_an_absent_package_is_one_clear_error(tmp_path):
    with pytest.raises(prepare.MissingData, match="emoji.*python -m recipes prepare"):
        drawings.load_things(tmp_path)


def test_half_a_folder_of_drawings_does_not_count(tmp_path, monkeypatch):
    """Rendering that is interrupted leaves no folder that looks whole."""
    monkeypatch.setattr(drawings, "ready", lambda name, data: data / name)
    monkeypatch.setattr(drawings, "find_spec", lambda name: True)
    monkeypatch.setattr(drawings, "things_of", lambda package: ([], {}))
    monkeypatch.setattr(drawings, "sources", lambda *_: {})

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(drawings, "render_style", stop)
    with pytest.raises(KeyboardInterrupt):
        drawings.render(tmp_path)
    assert not (tmp_path / "emoji-drawings").exists()
    monkeypatch.setattr(drawings, "render_style", lambda *_: 0)
    assert (drawings.render(tmp_path) / "things.json").is_file()


def test_a_drawing_is_found_by_its_name_or_its_code(tmp_path):
    icons = {
        "dog-face": {"body": "<g/>"},
        "tiger-2": {"body": "<h/>", "width": 8},
        "nobody": {"body": "<i/>"},
    }
    text = json.dumps({"icons": icons, "height": 32})
    (tmp_path / "icons.json").write_text(text, "utf-8")
    found = drawings.sources(tmp_path, {"dogface": "1F436", "tiger": "1F405"})
    assert set(found) == {"1F436", "1F405"}
    assert 'viewBox="0 0 8 32"' in found["1F405"]


def test_the_labels_are_those_of_the_committed_model(data, known):
    assert labels.known_names(drawings.load_things(data)) == known
    with pytest.raises(ValueError, match="not among the things"):
        labels.known_names(drawings.load_things(data)[: len(known)])


def test_a_thing_is_said_in_several_ways(data, tmp_path):
    things = [{"name": "dog", "keywords": ["pet", "puppy"]}]
    words = captions.definitions(data)
    assert words["dog"] == ["a thing called dog"]
    (row,) = captions.captions(things, words, lambda texts: torch.ones(len(texts), 1))
    assert row["names"] == ["dog"] and row["glosses"] == ["a thing called dog"]
    assert {"pet", "puppy"} <= set(row["phrases"])


# Pictures


@pytest.mark.parametrize("force", [0.0, 1.0])
def test_augmented_drawings_are_pictures(force):
    torch.manual_seed(0)
    colour = torch.rand(20, 3, 96, 96)
    opacity = torch.ones(20, 1, 96, 96)
    made = augment.augment(torch.cat([colour, opacity], 1), 32, force)
    assert made.shape == (20, 3, 32, 32)
    assert made.min() >= -1 and made.max() <= 1
    assert torch.isfinite(made).all()


def test_the_word_loss_is_least_where_pictures_lie_at_their_words():
    torch.manual_seed(0)
    texts = [{"names": [n], "phrases": [], "glosses": []} for n in "abcd"]
    vectors = dict(zip("abcd", torch.randn(4, 384), strict=True))
    loss = WordLoss(texts, vectors, width=384)
    nn.init.eye_(loss.visual.weight)
    right, wrong = torch.arange(4), torch.arange(4).roll(1)
    pooled = torch.stack(list(vectors.values())) - loss.mean
    assert loss(pooled, right) < loss(pooled, wrong) - 1


def test_the_notebooks_scenes_are_composed_as_they_are(tmp_path, monkeypatch):
    """So are the scenes that the scores are measured on."""
    monkeypatch.setattr(notebook_pictures, "FOLDER", tmp_path)
    notebook_pictures.main()
    for path in (NOTEBOOKS / "data" / "scenes").glob("*.png"):
        one, other = (np.asarray(Image.open(f)) for f in (path, tmp_path / path.name))
        assert np.array_equal(one, other), path.name


# The encoder of scenes


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    made = ConvNextBackbone(scene_encoder.encoder_config()).eval()
    scene_encoder.load_encoder(made, MODELS / "convnext-emoji")
    return made


def test_the_encoder_starts_from_convnext(encoder):
    own = load_file(MODELS / "convnext-emoji" / "model.safetensors")
    name = "encoder.stages.1.layers.0.pwconv1.weight"
    assert torch.equal(encoder.state_dict()[name], own[f"convnext.{name}"].float())
    for name, parameter in encoder.named_parameters():
        assert parameter.requires_grad == scene_encoder.learns(name), name


def test_an_encoder_with_other_tensors_is_refused(encoder, tmp_path):
    from safetensors.torch import save_file

    save_file({"convnext.nothing": torch.ones(1)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="lacks tensors of the encoder"):
        scene_encoder.load_encoder(encoder, tmp_path)


def test_a_change_of_low_rank_is_kept_whole(encoder):
    """And it goes on learning, while the matrix under it stays as it is."""
    learned = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    for name in scene_encoder.large_matrices(encoder):
        high, wide = learned[f"{name}.weight"].shape
        learned[f"{name}.weight"] += torch.randn(high, 9) @ torch.randn(9, wide) / 99
    other = ConvNextBackbone(scene_encoder.encoder_config()).eval()
    other.load_state_dict(learned)
    scene_encoder.to_low_rank(encoder, learned)
    pixels = torch.rand(1, 3, 160, 160)
    one, two = (model(pixels).feature_maps[-1] for model in (encoder, other))
    assert torch.allclose(one, two, atol=1e-3)
    learns = {n for n, p in encoder.named_parameters() if p.requires_grad}
    assert not [name for name in learns if "base_layer.weight" in name]
    assert [name for name in learns if "lora_A" in name]
    assert "encoder.stages.2.layers.0.dwconv.weight" in learns


def test_the_cells_say_where_things_are(scene):
    cells = scene_encoder.cells(scene)
    assert cells.shape == (5, 5)
    for thing in scene.things:
        at = cells[int(thing.y / scene.size * 5), int(thing.x / scene.size * 5)]
        assert NAMES[at] in scene.names()
    assert (cells == scene_encoder.NOTHING).sum() >= 25 - len(scene.things)


# Grids and conversations


@pytest.mark.parametrize("noisy", [False, True])
def test_the_shares_of_a_cell_add_up_to_one(noisy, scene):
    rng = random.Random(0)
    grid = grids.noisy_shares(scene, rng) if noisy else grids.shares(scene)
    assert torch.allclose(grid.sum(-1), torch.ones(25), atol=1e-5)
    assert (grid >= 0).all()


def test_a_packed_question_is_learned_as_if_it_were_alone(scene):
    """The loss over questions in one row is that of each question by itself."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(bases.base("SmolLM2-135M-Instruct"))
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=13,
        num_attention_heads=2,
        num_key_value_heads=2,
        attn_implementation="eager",
    )
    lora = LoraConfig(r=2, target_modules=["q_proj"])
    model = get_peft_model(LlamaForCausalLM(config), lora).eval()
    probe, rng = nn.Linear(32, 5), random.Random(0)
    how = {"asked": 4, "weights": {"what": 1, "where": 1, "side": 1}}
    talk = conversations.conversation(scene, rng, tokenizer, how)
    grid = torch.randn(1, 25, 32)

    def loss(turns):
        return conversations.losses(grid, [turns], tokenizer, model, probe)

    with torch.no_grad():
        together, alone = loss(talk), [loss([turn]) for turn in talk]
    answers = sum(len(t.answer) * a["answers"] for t, a in zip(talk, alone))
    named = sum(len(t.named) * a["probe"] for t, a in zip(talk, alone))
    assert any(turn.named for turn in talk)
    assert together["answers"] * sum(len(t.answer) for t in talk) == pytest.approx(
        answers.item(), rel=1e-4
    )
    assert together["probe"] * sum(len(t.named) for t in talk) == pytest.approx(
        named.item(), rel=1e-4
    )


def test_the_same_step_has_the_same_scenes(data):
    """So a training that was interrupted goes on with the scenes that come next."""
    drawn = unseen_drawings()
    how = fastvlm.STAGES["sides"]
    first, again, next_one = (
        [seed for seed, _ in fastvlm.some_scenes(drawn, how, step)]
        for step in (0, 0, 1)
    )
    assert first == again and not set(first) & set(next_one)
    assert len(first) == how["scenes"]
