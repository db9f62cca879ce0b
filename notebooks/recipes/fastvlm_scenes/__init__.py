"""fastvlm-scenes: SmolLM2 sees composed scenes, through the encoder of rtdetr-scenes.

Three hours and a half on one core. It needs the emoji (rendered once, some minutes,
with resvg-py) and the published rtdetr-scenes.
"""

NEEDS: tuple[str, ...] = ("emoji",)
