"""What the card of fastvlm-scenes says, measured again."""

from __future__ import annotations

import random
from pathlib import Path

from transformers import AutoModelForImageTextToText, AutoProcessor

from helpers.models import embedded
from recipes.datasets.scenes.compose import Scene, compose, unseen_drawings
from recipes.datasets.scenes.questions import (
    PROMPT,
    TEST_WORDINGS,
    ask,
    describes,
    right,
)

KINDS = ("what", "count", "side", "ground")
QUESTIONS, DESCRIPTIONS = 200, 100
QUICK = 16, 8  # of each
EXACT = "exact answers to 200 questions in unseen words about scenes in an unseen style"
NAMED = "descriptions of 100 such scenes of up to three things that name all"
BATCH = 25


def questions(count: int) -> list[tuple[Scene, str, str, str]]:
    """Return so many (scene, kind, question, answer), as many of each kind, about
    scenes of Twemoji's drawings, worded as in no training."""
    drawings, made, seed = unseen_drawings(), [], 0
    while len(made) < count:
        kind = KINDS[len(made) % len(KINDS)]
        scene = compose(seed, drawings, (1, 4))
        pair = ask(scene, kind, random.Random(seed), TEST_WORDINGS)
        seed += 1
        if pair is not None:
            made.append((scene, kind, *pair))
    return made


def chat(scene: Scene, question: str) -> list[dict]:
    """Return a conversation that asks a question about a scene."""
    picture = {"type": "image", "image": scene.picture}
    content = [picture, {"type": "text", "text": question}]
    return [{"role": "user", "content": content}]


def answers(chats: list[list[dict]]) -> list[str]:
    """Return what the model says, greedily; in batches, which is four times as fast as
    one by one and gives the same."""
    folder = embedded("fastvlm-scenes")
    model = AutoModelForImageTextToText.from_pretrained(folder)
    processor = AutoProcessor.from_pretrained(folder)
    processor.tokenizer.padding_side = "left"
    said = []
    for first in range(0, len(chats), BATCH):
        inputs = processor.apply_chat_template(
            chats[first : first + BATCH],
            tokenize=True,
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        )
        made = model.generate(**inputs, max_new_tokens=48, do_sample=False)
        made = made[:, inputs["input_ids"].shape[1] :]
        said += processor.batch_decode(made, skip_special_tokens=True)
    return [text.strip() for text in said]


def described_scenes(count: int) -> list[Scene]:
    """Return scenes of Twemoji's drawings, of up to three things."""
    drawings = unseen_drawings()
    return [compose(1000 + seed, drawings, (1, 3)) for seed in range(count)]


def measure(quick: bool, data: Path | None = None) -> dict[str, float]:
    """Return how many of 200 questions are answered exactly, by kind too, and how many
    of 100 descriptions name all things.

    Quick: the first 16 questions and 8 descriptions. `data` is not needed.
    """
    asked, told = QUICK if quick else (QUESTIONS, DESCRIPTIONS)
    # By kind: a batch is as slow as its longest answer.
    rows = sorted(questions(asked), key=lambda row: KINDS.index(row[1]))
    scenes = described_scenes(told)
    said = answers(
        [chat(scene, question) for scene, _, question, _ in rows]
        + [chat(scene, PROMPT) for scene in scenes]
    )
    marks = [right(text, row[-1]) for text, row in zip(said, rows)]
    sentences = said[len(rows) :]
    named = [describes(s, scene) for s, scene in zip(sentences, scenes, strict=True)]
    if quick:
        return {
            "exact answers to the first 16 of the 200 questions": sum(marks) / asked,
            "the first 8 of the 100 descriptions that name all": sum(named) / told,
        }
    found = {EXACT: sum(marks) / asked}
    for kind in KINDS:
        own = [mark for mark, row in zip(marks, rows, strict=True) if row[1] == kind]
        found[f"of them, {kind}"] = sum(own) / len(own)
    return found | {NAMED: sum(named) / told}
