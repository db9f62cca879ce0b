"""Let SmolLM2 say in other words what each drawn thing is: clues.json, for train.py.

    python clues.py --data FOLDER     FOLDER as ../convnext-emoji/train.py leaves it

Three short lists of examples, each of things that are not drawn here, show what a clue
is: by use, by looks, by who needs it. For each thing and list, one answer is greedy and
two are sampled. What names the thing, repeats itself or has no end is dropped, and so
is a clue given for more than three things. Half of what stays is nonsense: train.py
keeps what MiniLM does not find far from the thing.

6,705 answers in 25 minutes of one core; 2,836 stayed. Seed 0.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

from helpers.bases import base

SEED = 0
TOGETHER, LONGEST = 64, 20  # answers at a time, tokens of one
TRIES, TEMPERATURE, TOP = 3, 0.7, 0.9
FIRST = "A clue describes a thing without naming it.\n\n"
EXAMPLES = [
    {
        "pillow": "you rest your head on it at night",
        "refrigerator": "it keeps the food cold in a kitchen",
        "plumber's tape": "it stops a pipe from leaking",
        "lawn mower": "it cuts the grass in the garden",
        "wallet": "people keep their cash in it",
        "sandpaper": "it makes a wooden surface smooth",
    },
    {
        "ostrich": "a very tall bird that runs fast and cannot fly",
        "lighthouse": "a tower by the coast that shows ships the way",
        "cathedral": "a huge old building with high windows where people pray",
        "walnut": "a round nut with a hard brown shell",
        "seagull": "a white bird that steals food at the beach",
        "canyon": "a deep valley with steep walls of stone",
    },
    {
        "stapler": "office workers use it to hold sheets of paper together",
        "helium": "what makes a party decoration rise",
        "apron": "the cook wears it so that no food gets on the clothes",
        "rake": "a gardener gathers dry leaves with it",
        "tambourine": "you shake it and hit it to make music",
        "porridge": "a warm breakfast made from oats",
    },
]


@torch.no_grad()
def answers(model, tokenizer, prefix: str, names: list[str], sample: bool) -> list:
    """Return (name, clue) for names of as many tokens each, without those that did
    not end. The prefix is read once for all."""
    ids = torch.tensor([tokenizer.encode(prefix)])
    cache = model(ids, use_cache=True).past_key_values
    cache.batch_repeat_interleave(len(names))
    ids = torch.tensor([tokenizer.encode(f" {name}\nClue:") for name in names])
    made, ended = [[] for _ in names], [False] * len(names)
    for _ in range(LONGEST):
        logits = model(ids, past_key_values=cache, use_cache=True).logits[:, -1].float()
        chosen = logits.argmax(-1)
        if sample:
            shares, order = (logits / TEMPERATURE).softmax(-1).sort(descending=True)
            shares[shares.cumsum(-1) - shares > TOP] = 0
            chosen = order.gather(1, torch.multinomial(shares, 1))[:, 0]
        for row, token in enumerate(chosen.tolist()):
            ended[row] = ended[row] or "\n" in tokenizer.decode([token])
            if not ended[row]:
                made[row].append(token)
        if all(ended):
            break
        ids = chosen[:, None]
    texts = [tokenizer.decode(tokens).strip() for tokens in made]
    return [row[:2] for row in zip(names, texts, ended, strict=True) if row[2]]


def stem(word: str) -> str:
    return re.sub(r"(ies|es|s|ing|ed|er)$", "", word.lower())[:6]


def useful(name: str, clue: str) -> bool:
    """Return whether a clue is of fit length, says no word of the name, and does not
    repeat itself."""
    words = re.findall(r"[a-z']+", clue.lower())
    own = {stem(word) for word in re.findall(r"[a-z]+", name.lower()) if len(word) > 2}
    return (
        3 <= len(words) <= 16
        and not any(stem(word) in own for word in words)
        and len(set(words)) >= 0.7 * len(words)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    folder = parser.parse_args().data
    set_seed(SEED)
    names = json.loads((folder / "encoder" / "names.json").read_text())
    smol = base("SmolLM2-135M-Instruct")
    tokenizer = AutoTokenizer.from_pretrained(smol)
    model = AutoModelForCausalLM.from_pretrained(smol, dtype=torch.bfloat16).eval()
    alike: dict[int, list[str]] = {}  # by tokens: no padding
    for name in names:
        size = len(tokenizer.encode(f" {name}\nClue:"))
        alike.setdefault(size, []).append(name)
    things: dict[str, set[str]] = {}
    for examples in EXAMPLES:
        shown = [f"Thing: {name}\nClue: {clue}\n\n" for name, clue in examples.items()]
        prefix = f"{FIRST}{''.join(shown)}Thing:"
        for _, group in sorted(alike.items()):
            for attempt in range(TRIES):
                for first in range(0, len(group), TOGETHER):
                    some = group[first : first + TOGETHER]
                    for name, clue in answers(
                        model, tokenizer, prefix, some, sample=attempt > 0
                    ):
                        if useful(name, clue):
                            things.setdefault(clue.lower().strip(". "), set()).add(name)
        print(f"{len(things)} clues", flush=True)
    found = [(clue, sorted(of)) for clue, of in things.items() if len(of) <= 3]
    (folder / "clues.json").write_text(json.dumps(found, indent=0))


if __name__ == "__main__":
    main()
