"""The world of pictures: everyday things, drawn by many hands.

Emoji art has what a small model of pictures needs: things with English names and
keywords (Unicode's CLDR), each drawn by independent artists, under clear licences.
The recipes of the picture models get the drawings from npm with this module; it is
not needed to use the models.

    python world.py FOLDER       needs npm, resvg-py and Pillow; two minutes

FOLDER then holds `things.json`, a list of things (name, emoji, keywords, group,
styles), and one `STYLE.npz` a style with `names` and, for two sizes, `small` and
`large`: uint8 arrays (things, size, size, 4), red, green, blue and opacity, not
multiplied by the opacity. `drawings(FOLDER, style)` reads them.

Twemoji is the style that no model is trained on, and Streamline is a second one.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import subprocess
import tarfile
from pathlib import Path

import numpy as np

SMALL, LARGE = 64, 128  # pixels
GROUPS = {
    3: "animals and nature",
    4: "food and drink",
    5: "travel and places",
    6: "activities",
    7: "objects",
}
NAMES = "emojibase-data@17.0.0"  # MIT; names and keywords are Unicode's CLDR
STYLES = {  # style: (package on npm, licence)
    "noto": ("@iconify-json/noto@1.2.9", "Apache-2.0"),
    "noto-v1": ("@iconify-json/noto-v1@1.2.5", "Apache-2.0"),
    "fxemoji": ("@iconify-json/fxemoji@1.2.2", "Apache-2.0"),
    "fluent-emoji": ("@iconify-json/fluent-emoji@1.2.7", "MIT"),
    "fluent-emoji-flat": ("@iconify-json/fluent-emoji-flat@1.2.6", "MIT"),
    "fluent-emoji-3d": ("@lobehub/fluent-emoji-3d@1.1.0", "MIT"),
    "emojione": ("@iconify-json/emojione@1.2.3", "CC BY 4.0"),
    "emojione-v1": ("@iconify-json/emojione-v1@1.2.3", "CC BY-SA 4.0"),
    "openmoji": ("@iconify-json/openmoji@1.2.29", "CC BY-SA 4.0"),
    "twemoji": ("@iconify-json/twemoji@1.2.5", "CC BY 4.0"),
    "streamline": ("@iconify-json/streamline-emojis@1.2.4", "CC BY 4.0"),
}
TEST = "twemoji"
ASIDE = "streamline"  # a second unseen hand, which drew 300 of the things
TRAIN = [style for style in STYLES if style not in (TEST, ASIDE)]
WORDS = re.compile(r"[^a-z0-9]+")


def fetch(package: str, folder: Path) -> Path:
    """Return the folder of an npm package's files, fetched once."""
    at = folder / WORDS.sub("-", package.lower()).strip("-")
    if not at.is_dir():
        said = subprocess.run(
            ["npm", "pack", "--silent", package],
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
        )
        with tarfile.open(folder / said.stdout.split()[-1]) as archive:
            archive.extractall(at, filter="data")
    return at / "package"


def squash(name: str) -> str:
    return WORDS.sub("", name.lower())


def bare(code: str) -> str:
    """Return a code without the selectors that choose text or picture."""
    return code.upper().replace("-FE0F", "").replace("-FE0E", "")


def things_of(folder: Path) -> tuple[list[dict], dict[str, str]]:
    """Return the things (name, emoji, code, keywords, group) and which spelling of a
    name means which code."""
    english = fetch(NAMES, folder) / "en"
    rows = json.loads((english / "data.json").read_text())
    things, spellings = [], {}
    for row in rows:
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
    for path in sorted((english / "shortcodes").glob("*.json")):
        for code, names in json.loads(path.read_text()).items():
            for name in names if isinstance(names, list) else [names]:
                spellings.setdefault(squash(name), bare(code))
    old = json.loads((english.parent / "meta" / "unicode-names.json").read_text())
    for code, name in old.items():
        spellings.setdefault(squash(name.split("(")[0]), bare(code))
    return things, spellings


def sources(style: str, folder: Path, spellings: dict) -> dict[str, object]:
    """Return the drawings of a style: {code: text of an SVG, or a file}."""
    package = fetch(STYLES[style][0], folder)
    if style == "fluent-emoji-3d":
        return {bare(p.stem): p for p in sorted((package / "assets").glob("*.webp"))}
    icons = json.loads((package / "icons.json").read_text())
    codes = package / "chars.json"
    known = json.loads(codes.read_text()) if codes.is_file() else {}
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


def render(drawing: object, size: int) -> np.ndarray:
    """Return a drawing as uint8 (size, size, 4), fitted into the square."""
    import resvg_py
    from PIL import Image

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


def drawings(folder: Path, style: str, size: int = SMALL) -> dict[str, np.ndarray]:
    """Return {name: uint8 (size, size, 4)} of a style that `main` has rendered."""
    with np.load(folder / f"{style}.npz") as file:
        pixels = file["small" if size == SMALL else "large"]
        return dict(zip(file["names"].tolist(), pixels, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    packages = folder / "npm"
    packages.mkdir(parents=True, exist_ok=True)
    things, spellings = things_of(packages)
    for style in STYLES:
        found = sources(style, packages, spellings)
        names, small, large = [], [], []
        for thing in things:
            drawing = found.get(thing["code"])
            if drawing is None:
                continue
            pixels = render(drawing, LARGE)
            if pixels[..., 3].mean() < 2:  # nothing was drawn
                continue
            names.append(thing["name"])
            large.append(pixels)
            small.append(render(drawing, SMALL))
            thing.setdefault("styles", []).append(style)
        np.savez(
            folder / f"{style}.npz",
            names=np.array(names),
            small=np.stack(small),
            large=np.stack(large),
        )
        print(f"{style}: {len(names)} things", flush=True)
    things = [thing for thing in things if "styles" in thing]
    text = json.dumps(things, indent=1, ensure_ascii=False)
    (folder / "things.json").write_text(text + "\n")
    print(f"{len(things)} things")


if __name__ == "__main__":
    main()
