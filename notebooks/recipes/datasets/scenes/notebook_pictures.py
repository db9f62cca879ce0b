"""Draw the scenes of the notebooks, notebooks/data/scenes/, from things.png.

In notebooks/: python -m recipes.datasets.scenes.notebook_pictures
"""

from helpers.catalogue import NOTEBOOKS
from recipes.datasets.scenes.compose import compose, unseen_drawings

FOLDER = NOTEBOOKS / "data" / "scenes"
# Name of the file: (seed, fewest and most things).
PICTURES = {
    "strawberries": (3000, (1, 4)),
    "dog": (3001, (1, 4)),
    "guitar": (3018, (1, 4)),
    "bus": (3020, (1, 4)),
    "cat": (3022, (1, 4)),
    "doughnuts": (3024, (4, 6)),
    "clocks": (3027, (4, 6)),
    "elephant": (3031, (4, 6)),
}


def main() -> None:
    """Compose the eight scenes at 256 pixels, in 128 colours."""
    FOLDER.mkdir(exist_ok=True)
    drawings = unseen_drawings()
    for name, (seed, things) in PICTURES.items():
        picture = compose(seed, drawings, things, size=256).picture
        picture.quantize(128).save(FOLDER / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
