"""Answer from the museum's records: the parts that notebook 09 uses and does not teach.

09_one_coherent_answer.ipynb retrieves, writes, checks and cites in the open; here are
the splitting of a text, the batched writer, the words of a text and the questions.
`search.py` finds the records, `measure.py` asks all questions.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from transformers import Cache, Pipeline

from .collection import MUSEUM
from .search import embed

# Words that say nothing of a thing: a sentence may use them freely.
_LITTLE = (
    "a an and are as at be been but by can could did do does for from had has have he "
    "her his how in into is it its many much of on one or out over she than that the "
    "their them then there they this to under up was we were what when where which "
    "while who whom whose why with"
)
LITTLE = frozenset(_LITTLE.split())
SYSTEM = "Answer the question in one short sentence with words from the text."
EXAMPLES = [
    (
        "Lamp of a mine. A brass lamp. A girl found it under the stairs.",
        "Who found the lamp?",
        "A girl found the lamp.",
    ),
    (
        "Drum of a school. The pupils painted it green in 1920.",
        "What colour is the drum?",
        "The drum is green.",
    ),
    (
        "Hat of a sailor. It fell into the harbour twice.",
        "How often did the hat fall into the harbour?",
        "The hat fell into the harbour twice.",
    ),
    (
        "Kite of a priest. The priest tied a bell to its tail.",
        "What did the priest tie to the kite?",
        "The priest tied a bell to the tail of the kite.",
    ),
]


def sentences_of(rows: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """Return the sentences of one thing's records, each {"id": what it cites, "text":
    title and sentence, "whole": title and all that the record says}.

    `rows` are those of `search.Museum.records_of`. A note brings its own title. A sound
    says "it" and takes the note's, or else what its thing's drawing shows, which it
    then cites too. A drawing has a sentence where its row has a `description`.
    """
    found, title, drawn = [], "", ""
    for row in rows:
        text, cited = row["text"], row["id"]
        if row["source"] == "note":
            title, text = row["title"], text.removeprefix(f"{row['title']}. ")
        elif row["source"] == "picture":
            if not title:
                title, drawn = row.get("description", text).rstrip("."), row["id"]
            if "description" in row:
                said = row["description"]
                found.append({"id": row["id"], "text": said, "whole": said})
            continue
        elif drawn:
            cited = f"{drawn}, {row['id']}"
        behind = f"{title}. " if title else ""
        for part in re.split(r"(?<=[.?!]) ", text.strip()):
            sentence = {"id": cited, "text": behind + part, "whole": behind + text}
            found.append(sentence)
    return found


def by_cosine(
    question: str, rows: Sequence[dict[str, Any]], reader: Pipeline
) -> list[dict[str, Any]]:
    """Return rows sorted by the cosine of their text with a question, the nearest
    first; each row gets its `cosine`."""
    if not rows:
        return []
    cosines = (
        embed([row["text"] for row in rows], reader) @ embed([question], reader)[0]
    )
    near = [row | {"cosine": float(cosine)} for row, cosine in zip(rows, cosines)]
    return sorted(near, key=lambda row: -row["cosine"])


def stems(text: str) -> set[str]:
    """Return the first four letters of each word that says something: those of
    "broken" and "broke" are the same."""
    found = re.findall(r"\w{2,}|\d", text.lower())
    return {word[:4] for word in found if word not in LITTLE}


def chat_of(question: str, text: str) -> list[dict[str, str]]:
    """Return the chat that asks for an answer from a text: the task, four examples of
    things that the museum does not have, the text and the question."""
    chat = [{"role": "system", "content": SYSTEM}]
    for shown, asked, answer in [*EXAMPLES, (text, question, None)]:
        chat.append({"role": "user", "content": f"{shown}\n{asked}"})
        if answer:
            chat.append({"role": "assistant", "content": answer})
    return chat


def bare_chat(question: str, text: str) -> list[dict[str, str]]:
    """Return the chat that asks for an answer from a text without any help."""
    content = f"{text}\n\nAnswer from the text: {question}"
    return [{"role": "user", "content": content}]


_READ: WeakKeyDictionary = WeakKeyDictionary()  # what a model has read of prompts


def _begun(begin: str, writer: Pipeline) -> tuple[torch.Tensor, Cache]:
    """Return the ids of what all prompts begin with and the model's cache of them,
    which must be copied before it is used."""
    model = writer.model
    if model not in _READ or _READ[model][0] != begin:
        ids = writer.tokenizer(begin, add_special_tokens=False, return_tensors="pt")
        ids = ids["input_ids"].to(model.device)
        _READ[model] = begin, ids, model(ids, use_cache=True).past_key_values
    return _READ[model][1:]


@torch.no_grad()
def write(
    questions: Sequence[str],
    texts: Sequence[str],
    writer: Pipeline,
    batch_size: int = 16,
) -> list[str]:
    """Return a sentence for each pair of a question and a text, greedily decoded.

    `writer` is a text-generation pipeline with a chat model. What all prompts begin
    with, the task and the examples, is read once for each model, and its cache used
    for each batch: three times as fast as reading it with every question.
    """
    tokenizer, model = writer.tokenizer, writer.model
    pad = tokenizer.pad_token_id
    pad = tokenizer.eos_token_id if pad is None else pad
    begin = tokenizer.apply_chat_template(chat_of("", "")[:-1], tokenize=False)
    begin_ids, cache = _begun(begin, writer)
    ends = [
        tokenizer.apply_chat_template(
            chat_of(*pair), add_generation_prompt=True, tokenize=False
        ).removeprefix(begin)
        for pair in zip(questions, texts, strict=True)
    ]
    order = sorted(range(len(ends)), key=lambda place: len(ends[place]))
    written = [""] * len(ends)
    for start in range(0, len(order), batch_size):
        places = order[start : start + batch_size]
        inputs = tokenizer(
            [ends[place] for place in places],
            padding=True,
            padding_side="left",
            add_special_tokens=False,
            return_tensors="pt",
        ).to(model.device)
        head = begin_ids.expand(len(places), -1)
        input_ids = torch.cat([head, inputs["input_ids"]], dim=1)
        mask = torch.cat([torch.ones_like(head), inputs["attention_mask"]], dim=1)
        copied = copy.deepcopy(cache)
        copied.batch_repeat_interleave(len(places))
        made = model.generate(
            input_ids=input_ids,
            attention_mask=mask,
            past_key_values=copied,
            max_new_tokens=24,
            do_sample=False,
            pad_token_id=pad,
        )
        for place, row in zip(places, made[:, input_ids.shape[1] :], strict=True):
            said = tokenizer.decode(row, skip_special_tokens=True).strip()
            written[place] = said.split("\n")[0]
    return written


def questions(use: str) -> list[dict[str, Any]]:
    """Return the museum's questions of one use: "tune", "measure" or "later"."""
    lines = (MUSEUM / "questions.jsonl").read_text("utf-8").splitlines()
    return [row for row in map(json.loads, lines) if row["use"] == use]
