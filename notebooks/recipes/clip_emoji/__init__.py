"""clip-emoji: pictures and words in one space, put together from models at hand.

Ten seconds. It needs the emoji (rendered once, some minutes, with resvg-py) and the
published convnext-emoji.
"""

NEEDS: tuple[str, ...] = ("emoji",)
FRAME = "This is a photo of {}."  # the pipeline's own words around a label
