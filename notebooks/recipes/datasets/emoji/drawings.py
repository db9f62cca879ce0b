"""Emoji as drawings of everyday things in many styles.

Emoji art has what a small model of pictures needs: things with English names and
keywords (Unicode's CLDR), each drawn by independent artists, under clear licences.
The recipes of the picture models get the drawings from npm with this module; it is
not needed to use the models.

`render(data)` makes DATA/emoji-drawings from the packages in DATA/emoji, which
`prepare` has fetched: some minutes, with resvg-py, a package on PyPI. The folder
holds `things.json`, a list of things (name, emoji, code, keywords, group, subgroup,
styles), and one `STYLE.npz` per style with `names` and, in two sizes, `small` and
`large`: uint8 arrays (things, size, size, 4) of red, green, blue and opacity, not
multiplied by the opacity. `load_things` and `load_style` read them.

Twemoji is the test style, which no model is trained on; Streamline is the validation
style, which drew 300 of the things.
"""

from __future__ import annotations

import io
import json
import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from recipes.datasets.prepare import MissingData, ready, source, stem

SMALL, LARGE = 64, 128  # pixels
GROUPS = {
    3: "animals and nature",
    4: "food and drink",
    5: "travel and places",
    6: "activities",
    7: "objects",
}
ROWS = source("emoji")["packages"]
# The folders in DATA/emoji: of the names (Unicode's CLDR) and of each style.
(NAMES,) = [stem(row) for row in ROWS if "style" not in row]
PACKAGES = {row["style"]: stem(row) for row in ROWS if "style" in row}
TEST_STYLE = "twemoji"
VALIDATION_STYLE = "streamline"
TRAINING_STYLES = [s for s in PACKAGES if s not in (TEST_STYLE, VALIDATION_STYLE)]
NO_LETTERS = re.compile(r"[^a-z0-9]+")


def squash(name: str) -> str:
    """Return a name's letters and digits alone: "Hot-Beverage" is "hotbeverage"."""
    return NO_LETTERS.sub("", name.lower())


def bare(code: str) -> str:
    """Return a code without the selectors that choose text or picture."""
    return code.upper().replace("-FE0F", "").replace("-FE0E", "")


def read_json(path: Path):
    """Return what a JSON file holds."""
    return json.loads(path.read_text("utf-8"))


def things_of(package: Path) -> tuple[list[dict], dict[str, str]]:
    """Return the things (name, emoji, code, keywords, group, subgroup) and which
    spelling of a name means which code. `package` is emojibase's folder."""
    things, spellings = [], {}
    for row in read_json(package / "en" / "data.json"):
        code = bare(row["hexcode"])
        spellings.setdefault(squash(row["label"]), code)
        if row.get("group") in GROUPS:
            things.append(
                {
                    "name": row["label"],
                    "emoji": row["emoji"],
                    "code": code,
                    "keywords": row.get("tags", []),
                    "group": GROUPS[row["group"]],
                    "subgroup": row["subgroup"],
                }
            )
    for path in sorted((package / "en" / "shortcodes").glob("*.json")):
        for code, names in read_json(path).items():
            for name in names if isinstance(names, list) else [names]:
                spellings.setdefault(squash(name), bare(code))
    for code, name in read_json(package / "meta" / "unicode-names.json").items():
        spellings.setdefault(squash(name.split("(")[0]), bare(code))
    return things, spellings


def sources(package: Path, spellings: dict[str, str]) -> dict[str, str | Path]:
    """Return the drawings of a style's package: {code: an SVG's text, or a file}."""
    if (package / "assets").is_dir():
        return {bare(p.stem): p for p in sorted((package / "assets").glob("*.webp"))}
    icons = read_json(package / "icons.json")
    codes = package / "chars.json"
    known = read_json(codes) if codes.is_file() else {}
    names = {name: bare(code) for code, name in known.items()}
    found = {}
    for name, icon in icons["icons"].items():
        # "tiger-2" is another drawing of a tiger where there is no such name.
        plain = re.sub(r"-\d$", "", name)
        code = names.get(name) or spellings.get(squash(name))
        code = code or spellings.get(squash(plain))
        if code is None or code in found:
            continue
        width = icon.get("width", icons.get("width", 16))
        height = icon.get("height", icons.get("height", 16))
        left, top = icon.get("left", 0), icon.get("top", 0)
        found[code] = (
            '<svg xmlns="http://www.w3.org/2000/svg" '
            'xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="{left} {top} {width} {height}">{icon["body"]}</svg>'
        )
    return found


def rasterize(drawing: str | Path, size: int) -> np.ndarray:
    """Return a drawing as uint8 (size, size, 4), fitted into the square."""
    import resvg_py

    if isinstance(drawing, Path):
        picture = Image.open(drawing).convert("RGBA")
    else:
        png = resvg_py.svg_to_bytes(svg_string=drawing, width=size)
        picture = Image.open(io.BytesIO(bytes(png))).convert("RGBA")
    if picture.size != (size, size):
        picture.thumbnail((size, size), Image.Resampling.LANCZOS)
        square = Image.new("RGBA", (size, size))
        left, top = (size - picture.width) // 2, (size - picture.height) // 2
        square.paste(picture, (left, top))
        picture = square
    return np.asarray(picture)


def render(data: Path) -> Path:
    """Return DATA/emoji-drawings, all styles rendered, made where it is not there.

    Raises MissingData where a package or resvg-py is missing.
    """
    folder = data / "emoji-drawings"
    if folder.is_dir():
        return folder
    packages = ready("emoji", data)
    if find_spec("resvg_py") is None:
        raise MissingData("Emoji are rendered with resvg-py: pip install resvg-py.")
    things, spellings = things_of(packages / NAMES / "package")
    aside = folder.with_name(f"{folder.name}.writing")  # half a folder never counts
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    for style, package in PACKAGES.items():
        found = sources(packages / package / "package", spellings)
        number = render_style(style, found, things, aside)
        print(f"{style}: {number} things", flush=True)
    things = [thing for thing in things if "styles" in thing]
    text = json.dumps(things, indent=1, ensure_ascii=False)
    (aside / "things.json").write_text(text + "\n", "utf-8")
    aside.rename(folder)
    print(f"{len(things)} things")
    return folder


def render_style(
    style: str, found: dict[str, str | Path], things: list[dict], folder: Path
) -> int:
    """Write FOLDER/STYLE.npz and add the style to the things that it has drawn; return
    how many these are."""
    names, small, large = [], [], []
    for thing in things:
        drawing = found.get(thing["code"])
        if drawing is None:
            continue
        pixels = rasterize(drawing, LARGE)
        if pixels[..., 3].mean() < 2:  # nothing was drawn
            continue
        names.append(thing["name"])
        large.append(pixels)
        small.append(rasterize(drawing, SMALL))
        thing.setdefault("styles", []).append(style)
    np.savez(
        folder / f"{style}.npz",
        names=np.array(names),
        small=np.stack(small),
        large=np.stack(large),
    )
    return len(names)


def load_things(data: Path) -> list[dict]:
    """Return the things that at least one style has drawn, in Unicode's order."""
    return read_json(render(data) / "things.json")


def load_style(data: Path, style: str, size: int = SMALL) -> dict[str, np.ndarray]:
    """Return {name: uint8 (size, size, 4)} of a style, at SMALL or LARGE pixels."""
    with np.load(render(data) / f"{style}.npz") as file:
        pixels = file["small" if size == SMALL else "large"]
        return dict(zip(file["names"].tolist(), pixels, strict=True))
