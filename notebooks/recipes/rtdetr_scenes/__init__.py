"""rtdetr-scenes: finds things in composed scenes and names them.

One hour and a half on one of two cores. It needs the emoji (rendered once, some
minutes, with resvg-py) and the published convnext-emoji.
"""

NEEDS: tuple[str, ...] = ("emoji",)
