"""The reader of texts: what becomes of a text before the model sees it.

Everything is in the tokenizer's own file (tokenizer.json), so that the library's
pipeline needs nothing else: small letters, numbers in words, one token per letter.
"""

from __future__ import annotations

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from recipes.common.digits import DIGITS

LETTERS = "abcdefghijklmnopqrstuvwxyz' .,?!;:-"
PAD, START, END = "<pad>", "<start>", "<end>"
LONGEST = 600  # letters; attention over more would fill the memory of a small machine
TEENS = (
    "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
)
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
SIGNS = {"&": " and ", "%": " percent", "+": " plus ", "=": " equals ", "@": " at "}
SHORT = {r"\bmr\.": "mister", r"\bmrs\.": "missus", r"\bdr\.": "doctor"}


def rules() -> list[tuple[str, str]]:
    """Return the replacements in their order: (regular expression, text)."""
    steps = [("[\u2018\u2019\u02bc]", "'"), ("[\u2010-\u2015/_]", "-")]
    steps += SHORT.items()
    # "$12" is read after its number; a look-behind must have a fixed length.
    behind = "|".join(rf"(?<=\$\d{{{n}}})(?![\d.,]*\d)" for n in range(1, 7))
    steps += [(behind, " dollars"), (r"\$", "")]
    steps += [(rf"[{sign}]", text) for sign, text in SIGNS.items()]
    steps += [(r"(?<=\d),(?=\d{3}\b)", ""), (r"(?<=\d)\.(?=\d)", " point ")]
    steps += [(r"\b0(?=\d)", "zero "), (r"(?<=\d)(?=\d{6}\b)", " million ")]
    steps += [(r"(?<=million )0{6}\b", ""), (r"(?<=million )0{1,5}(?=\d)", "")]
    # 1984 is read as a year, 19 84; 1900 as 19 hundred; 1905 as 19 oh 5.
    steps += [(r"(?<=\b1[1-9])(?=\d\d\b)", " ")]
    steps += [(r"(?<=\b1[1-9] )00\b", "hundred"), (r"(?<=\b1[1-9] )0(?=\d\b)", "oh ")]
    steps += [(r"(?<=\d)(?=\d{3}\b)", " thousand "), (r"(?<=thousand )000\b", "")]
    steps += [(r"(?<=thousand )0+(?=\d)", "")]
    steps += [(r"(?<=\b\d)(?=\d\d\b)", " hundred "), (r"(?<=hundred )00\b", "")]
    steps += [(r"(?<=hundred )0(?=\d\b)", "")]
    steps += [(rf"\b1{n}(?!\d)", word) for n, word in enumerate(TEENS.split())]
    for n, word in enumerate(TENS, 2):
        steps += [(rf"\b{n}0(?!\d)", word), (rf"\b{n}(?=\d(?!\d))", f"{word} ")]
    steps += [(str(n), f" {word} ") for n, word in enumerate(DIGITS)]
    steps += [(r"[^a-z' .,?!;:-]", " "), (r"\s+", " "), (r" (?=[.,?!;:])", "")]
    # Far too long a text ends in words that say so; each text ends in a mark.
    steps += [(rf"(?<=\A.{{{LONGEST}}}).+", " and so on")]
    steps += [(r"^ | $", ""), (r"(?<![.?!])\z", ".")]
    return steps


def new_tokenizer() -> PreTrainedTokenizerFast:
    """Return the tokenizer: one token per letter or mark, between start and end."""
    names = [PAD, START, END, *LETTERS]
    tokenizer = Tokenizer(WordLevel({name: i for i, name in enumerate(names)}, PAD))
    replace = [normalizers.Replace(Regex(old), new) for old, new in rules()]
    first = [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
    tokenizer.normalizer = normalizers.Sequence(first + replace)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, 1), (END, 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=PAD,
        model_input_names=["input_ids", "attention_mask"],
    )
