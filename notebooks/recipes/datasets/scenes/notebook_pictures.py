"""Draw the scenes of the notebooks, notebooks/data/scenes/, from things.png.

python draw.py
"""

from pathlib import Path

from recipes.datasets.scenes.compose import compose, sheet

FOLDER = Path(__file__).resolve().parents[2] / "data" / "scenes"
# Name of the file: (seed, fewest and most things).
SCENES = {
    "strawberries": (3000, (1, 4)),
    "dog": (3001, (1, 4)),
    "guitar": (3018, (1, 4)),
    "bus": (3020, (1, 4)),
    "cat": (3022, (1, 4)),
    "doughnuts": (3024, (4, 6)),
    "clocks": (3027, (4, 6)),
    "elephant": (3031, (4, 6)),
}

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    drawings = sheet()
    for name, (seed, things) in SCENES.items():
        picture = compose(seed, drawings, things, size=256).picture
        picture.quantize(128).save(FOLDER / f"{name}.png", optimize=True)
