"""convnext-emoji: the encoder of pictures that every picture model here shares.

A ConvNeXt from scratch on emoji in nine styles: 40 minutes on two cores that had other
work, half of that on two calm ones. It needs the emoji (rendered once, two minutes,
with resvg-py) and WordNet.
"""

NEEDS: tuple[str, ...] = ("emoji", "wordnet-3_1")
# Of the encoder's four stages; rtdetr-scenes and fastvlm-scenes read them too.
WIDTHS, DEPTHS = (48, 96, 192, 320), (2, 2, 4, 2)
