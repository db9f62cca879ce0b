"""Texts that SmolLM2 writes on the subjects of labels.toml."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed

from helpers.bases import base
from recipes.common import precision
from recipes.minilm_nli.templates import label_table

SEED = 0
BASE = "SmolLM2-135M-Instruct"
TEXTS = 2048  # about seven on each subject
BATCH = 128
NEWS = "Write one short news item of two sentences, with names and places,"
REQUESTS = [f"{NEWS} about"] * 5 + [
    "Write one or two sentences that somebody posts online about",
    "Write a short message to a friend about",
    "Write the first two sentences of an article about",
]


def written_texts(work: Path) -> list[tuple[int, str]]:
    """Return (topic's number, text) pairs, written once and kept in `work`."""
    path = work / "written.jsonl"
    if not path.exists():
        set_seed(SEED)
        aside = path.with_suffix(".part")
        aside.write_text("\n".join(write()), "utf-8")
        aside.replace(path)
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    texts = [(i, re.sub(r"\s+", " ", text).strip(' "')) for i, _, text in rows]
    return [(i, text) for i, text in texts if len(text.split()) > 6]


def write() -> list[str]:
    """Let SmolLM2 write; return [topic's number, subject, text] as lines of JSON."""
    topics = label_table()["topic"]
    jobs = [(i, a) for i, t in enumerate(topics) for a in t["about"] * 14]
    random.shuffle(jobs)
    jobs = jobs[:TEXTS]
    tokenizer = AutoTokenizer.from_pretrained(base(BASE), padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(base(BASE), dtype=precision.DTYPE)
    found = []
    for start in range(0, len(jobs), BATCH):
        batch = jobs[start : start + BATCH]
        chats = []
        for _, about in batch:
            content = f"{random.choice(REQUESTS)} {about}. Give the text only."
            chats.append([{"role": "user", "content": content}])
        prompts = [
            tokenizer.apply_chat_template(
                chat, tokenize=False, add_generation_prompt=True
            )
            for chat in chats
        ]
        inputs = tokenizer(prompts, return_tensors="pt", padding=True)
        out = model.generate(
            **inputs,
            do_sample=True,
            temperature=0.9,
            top_k=50,
            top_p=1.0,
            max_new_tokens=56,
            pad_token_id=tokenizer.eos_token_id,
        )
        new = out[:, inputs["input_ids"].shape[1] :]
        texts = tokenizer.batch_decode(new, skip_special_tokens=True)
        found += [
            json.dumps([i, about, text])
            for (i, about), text in zip(batch, texts, strict=True)
        ]
        print(f"  {len(found)} of {len(jobs)} texts written", flush=True)
    return found
