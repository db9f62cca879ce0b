"""Scenes: pictures composed by code, so that all that is in them is known exactly.

A scene has one to six things of different sizes on a plain, gradient or patterned
ground, some overlapping. The things are drawings of emoji. `compose` says where each
thing is, what it is called and what colour the ground has; `questions` asks about
it and knows the answers. The same seed gives the same scene, at any size.

Training scenes use drawings in nine styles, each drawing turned, stretched and
coloured at random. Test scenes use Twemoji alone, as drawn, which no model here has
trained on: `things.png` holds its 52 drawings (CC BY 4.0, see README.md there).
"""

from __future__ import annotations

import colorsys
import random
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import inflect
import numpy as np
from PIL import Image, ImageEnhance

from recipes.datasets.emoji.drawings import LARGE, load_style

SCENES = Path(__file__).parent
SIZE = 160  # pixels; the models see a scene at this size
# Names are CLDR's. Things that a person tells apart at a glance, and that nearly
# every style has drawn.
NAMES = (SCENES / "names.txt").read_text("utf-8").splitlines()
# Grounds: hue in degrees, saturation and value, each from and to. Far enough apart
# that nobody would dispute the name.
GROUNDS = {
    "white": (0, 360, 0.00, 0.03, 0.96, 1.00),
    "grey": (0, 360, 0.00, 0.05, 0.45, 0.68),
    "red": (-6, 6, 0.75, 0.95, 0.75, 0.95),
    "orange": (24, 34, 0.80, 1.00, 0.92, 1.00),
    "yellow": (50, 58, 0.60, 0.95, 0.93, 1.00),
    "green": (95, 140, 0.50, 0.85, 0.50, 0.80),
    "blue": (205, 228, 0.50, 0.85, 0.65, 0.95),
    "purple": (268, 284, 0.45, 0.80, 0.50, 0.80),
    "pink": (330, 345, 0.25, 0.45, 0.95, 1.00),
}
PATTERNS = ("plain", "gradient", "stripes", "dots", "checks")
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six")


@dataclass
class Thing:
    """A thing of a scene: its name and its box (left, top, right, bottom) in pixels."""

    name: str
    box: tuple[float, float, float, float]

    @property
    def x(self) -> float:
        return (self.box[0] + self.box[2]) / 2

    @property
    def y(self) -> float:
        return (self.box[1] + self.box[3]) / 2


@dataclass
class Scene:
    """A picture and all that is in it; the things from the back to the front."""

    picture: Image.Image
    ground: str
    pattern: str
    things: list[Thing] = field(default_factory=list)

    @property
    def size(self) -> int:
        return self.picture.width

    def names(self) -> list[str]:
        """Return the different names in the order in which one reads: row by row of
        five rows, each from left to right."""
        rows = [(int(5 * t.y / self.size), t.x, t.name) for t in self.things]
        return list(dict.fromkeys(name for *_, name in sorted(rows)))

    def in_order(self) -> list[Thing]:
        """Return the things from left to right."""
        return sorted(self.things, key=lambda thing: thing.x)

    def count(self, name: str) -> int:
        return sum(thing.name == name for thing in self.things)


def cut(drawing: Image.Image) -> Image.Image:
    """Return a drawing without the empty rim around it."""
    box = drawing.getchannel("A").point(lambda a: 255 * (a > 24)).getbbox()
    return drawing.crop(box) if box else drawing


def unseen_drawings() -> dict[str, list[Image.Image]]:
    """Return the drawings of the test style, {name: [drawing]}, from things.png."""
    with Image.open(SCENES / "things.png") as file:
        sheet = file.convert("RGBA")
    side = sheet.height // 4
    found = {}
    for at, name in enumerate(NAMES):
        left, top = at // 4 * side, at % 4 * side
        found[name] = [cut(sheet.crop((left, top, left + side, top + side)))]
    return found


def styled_drawings(
    data: Path, styles: list[str], names: list[str] = NAMES
) -> dict[str, list[Image.Image]]:
    """Return {name: [a drawing in each style]} of what DATA/emoji holds.

    A style that has not drawn a thing is left out of that thing's list, and a thing
    that no style has drawn is left out. Raises MissingData where a style is missing.
    """
    found: dict[str, list[Image.Image]] = {name: [] for name in names}
    for style in styles:
        drawn = load_style(data, style, LARGE)
        for name in found.keys() & drawn.keys():
            found[name].append(cut(Image.fromarray(drawn[name])))
    return {name: drawings for name, drawings in found.items() if drawings}


def _ground(rng: random.Random, colour: str, pattern: str, size: int) -> Image.Image:
    """Return the ground: one colour, or two shades of it that share its name."""
    low, high, s0, s1, v0, v1 = GROUNDS[colour]
    hue, where = rng.uniform(low, high) / 360 % 1, rng.random()
    shades = [
        np.array(colorsys.hsv_to_rgb(hue, s0 + (s1 - s0) * t, v1 + (v0 - v1) * t))
        for t in ((where, where) if pattern == "plain" else (0.1, 0.9))
    ]
    across, down = np.meshgrid(*[(np.arange(size) + 0.5) / size] * 2)
    angle, step = rng.uniform(0, np.pi), rng.uniform(0.08, 0.2)
    along = across * np.cos(angle) + down * np.sin(angle)
    if pattern == "gradient":
        share = (along - along.min()) / np.ptp(along)
    elif pattern == "stripes":
        share = (along / step % 2 < 1).astype(float)
    elif pattern == "dots":
        share = np.hypot(across % step - step / 2, down % step - step / 2) < step / 4
    elif pattern == "checks":
        share = (across // step + down // step) % 2
    else:
        share = np.zeros((size, size))
    share = np.asarray(share, float)[..., None]
    mixed = shades[0] * (1 - share) + shades[1] * share
    return Image.fromarray((mixed * 255).round().astype(np.uint8))


def _varied(rng: random.Random, drawing: Image.Image) -> Image.Image:
    """Return a drawing as it might look in another style."""
    if rng.random() < 0.5:
        drawing = drawing.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    wide, high = drawing.size
    stretch = rng.uniform(0.85, 1.18)
    drawing = drawing.resize((max(8, round(wide * stretch)), high))
    if rng.random() < 0.6:
        turned = rng.gauss(0, 10)
        drawing = cut(drawing.rotate(turned, Image.Resampling.BILINEAR, expand=True))
    alpha, colours = drawing.getchannel("A"), drawing.convert("RGB")
    if rng.random() < 0.3:
        shift = round(rng.uniform(-22, 22))
        hue, *rest = colours.convert("HSV").split()
        hue = hue.point(lambda h: (h + shift) % 256)
        colours = Image.merge("HSV", (hue, *rest)).convert("RGB")
    for kind, most in (("Color", 0.6), ("Brightness", 0.25), ("Contrast", 0.3)):
        colours = getattr(ImageEnhance, kind)(colours).enhance(
            1 + rng.uniform(-1, 1) * most
        )
    if rng.random() < 0.08:
        colours = colours.convert("L").convert("RGB")
    colours.putalpha(alpha)
    return colours


def _overlap(a: tuple, b: tuple) -> float:
    """Return which part of the smaller of two boxes the other one covers."""
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    smaller = min((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))
    return max(wide, 0) * max(high, 0) / smaller


def compose(
    seed: int,
    drawings: dict[str, list[Image.Image]],
    things: tuple[int, int] = (2, 6),
    size: int = SIZE,
    vary: bool = False,
) -> Scene:
    """Return the scene of a seed: between things[0] and things[1] things, on a ground.

    `size` is the width and height in pixels. With `vary` each drawing is changed at
    random, which is for training.
    """
    rng = random.Random(f"scene {seed}")  # text, so that near seeds differ
    colour, pattern = rng.choice(list(GROUNDS)), rng.choice(PATTERNS)
    scene = Scene(_ground(rng, colour, pattern, size), colour, pattern)
    wanted = rng.randint(*things)
    names = rng.sample(list(drawings), wanted)
    for at in range(1, wanted):  # some things are there more than once
        if rng.random() < 0.22:
            names[at] = names[rng.randrange(at)]
    largest = 0.55 if wanted < 4 else 0.42
    # In half of the scenes things may overlap.
    overlap = 0.3 if rng.random() < 0.5 else 0.0
    boxes: list[tuple] = []
    for name in names:
        drawing = rng.choice(drawings[name])
        if vary:
            drawing = _varied(rng, drawing)
        side = rng.uniform(0.22, largest)
        extent = tuple(side * part / max(drawing.size) for part in drawing.size)
        box = _place(rng, extent, boxes, overlap)
        if box is None:
            continue
        boxes.append(box)
        _paste(scene, name, drawing, box)
    return scene


def _place(
    rng: random.Random, extent: tuple[float, float], boxes: list[tuple], overlap: float
) -> tuple[float, float, float, float] | None:
    """Return a box for a thing of a width and height, or None where no room is left.

    Boxes are shares of the scene's side. The centre keeps its distance from the other
    `boxes`, and of the smaller of two at most the share `overlap` is covered. The thing
    shrinks after every ten attempts in vain.
    """
    wide, high = extent
    for attempt in range(60):
        if attempt % 10 == 9:
            wide, high = wide * 0.9, high * 0.9
        left, top = rng.uniform(0, 1 - wide), rng.uniform(0, 1 - high)
        box = (left, top, left + wide, top + high)
        near = any(
            abs(left + wide / 2 - (b[0] + b[2]) / 2) < 0.18
            and abs(top + high / 2 - (b[1] + b[3]) / 2) < 0.18
            for b in boxes
        )
        if not near and all(_overlap(box, b) <= overlap for b in boxes):
            return box
    return None


def _paste(scene: Scene, name: str, drawing: Image.Image, box: tuple) -> None:
    """Put a drawing into a scene, where `box` (in shares of its side) says."""
    left, top, right, bottom = (round(edge * scene.size) for edge in box)
    right, bottom = max(right, left + 4), max(bottom, top + 4)
    small = drawing.resize(
        (right - left, bottom - top), Image.Resampling.BICUBIC, reducing_gap=2.0
    )
    scene.picture.paste(small, (left, top), small)
    scene.things.append(Thing(name, (left, top, right, bottom)))


# In words

ENGLISH = inflect.engine()


@cache
def counted(name: str, count: int) -> str:
    """Return "a cat", "an anchor", "two cats", "zero cats"."""
    if count == 1:
        return ENGLISH.a(name)
    return f"{NUMBERS[count]} {plural(name)}"


@cache
def plural(name: str) -> str:
    """Return "cats", "strawberries", "snowmen"."""
    return ENGLISH.plural(name)


def listed(scene: Scene) -> str:
    """Return all things as one reads them: "a cat, two dogs and an anchor"."""
    parts = [counted(name, scene.count(name)) for name in scene.names()]
    return ENGLISH.join(parts, final_sep="")
