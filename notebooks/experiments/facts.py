"""What does a source in the prompt change? Five texts about places that do not exist,
eight questions each, asked of SmolLM2-135M-Instruct in six ways.

    python -m experiments.facts    # in notebooks/; five minutes on one core

writes facts.csv beside it: each answer, whether it ended by itself within 64 tokens,
and the verdict of a rule. Notebook 07 shows the prompts and the rule in the open, asks
some of the questions again, and draws the table. Greedy decoding, one batch per place
and way. facts_read.csv was written by hand, by the writers of the notebook, in one
reading that knew the prompts: what each answer that the rule calls right is, with the
source in one of three places.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from experiments.tables import write_table
from helpers.models import embedded

STORE = Path(__file__).with_suffix(".csv")
DATA = Path(__file__).resolve().parent.parent / "data"
TOKENS = 64
SENTENCE = "Answer in one short sentence."
SHORT = "Answer with one to three words."
MILL = (
    "The mill of Orby was built in 1810 by Jon Hale. It has four sails and a red door."
)
EXAMPLES = [
    ("In which year was the mill of Orby built?", "1810"),
    ("Who built the mill of Orby?", "Jon Hale"),
    ("Which colour is the door of the mill of Orby?", "Red"),
]
# What the system and the user say in each way, around a TEXT and a QUESTION.
PROMPTS = {
    "no source": (SENTENCE, "QUESTION"),
    "source in the system message": (f"{SENTENCE} Use this text: TEXT", "QUESTION"),
    "source before": (SENTENCE, "TEXT\n\nQUESTION"),
    "source after": (SENTENCE, "QUESTION\n\nTEXT"),
    "no example": (f"{SHORT} Use this text: TEXT", "QUESTION"),
    "three examples": (f"{SHORT} Use this text: {MILL} TEXT", "QUESTION"),
}
WAYS = list(PROMPTS)


def places() -> list[dict]:
    """Return the places: `text`, and `questions`, pairs of a question and the word
    that a right answer holds. The lighthouse is the first."""
    first = json.loads((DATA / "lighthouse.json").read_text("utf-8"))
    return [first, *json.loads((DATA / "invented.json").read_text("utf-8"))]


def holds(answer: str, word: str) -> bool:
    """Return whether a word or number stands whole in an answer."""
    found = answer.lower().replace(",", "").split()
    return word.lower() in [w.strip(".:;!?()*\"'").removesuffix("'s") for w in found]


def verdict(answer: str, wanted: str, words: list[str]) -> str:
    """Return "right", "recited" or "wrong". `words` are the wanted words of all the
    questions about a text: who gives more than two of them recites."""
    if not holds(answer, wanted):
        return "wrong"
    return "recited" if sum(holds(answer, w) for w in words) > 2 else "right"


def chat(way: str, text: str, question: str) -> list[dict]:
    """Return the messages of one question, asked in one of the WAYS."""
    system, user = (
        part.replace("TEXT", text).replace("QUESTION", question)
        for part in PROMPTS[way]
    )
    turns = [("system", system)]
    if way == "three examples":
        for asked, answered in EXAMPLES:
            turns += [("user", asked), ("assistant", answered)]
    turns.append(("user", user))
    return [{"role": role, "content": content} for role, content in turns]


def answerer() -> Callable[[list[list[dict]]], list[tuple[str, bool]]]:
    """Return a function from chats to answers, each with whether it was finished."""
    folder = embedded("SmolLM2-135M-Instruct")
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)

    def answer(chats: list[list[dict]]) -> list[tuple[str, bool]]:
        inputs = tokenizer.apply_chat_template(
            chats,
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
            padding=True,
        )
        made = model.generate(**inputs, do_sample=False, max_new_tokens=TOKENS)
        new = made[:, inputs["input_ids"].shape[1] :]
        texts = tokenizer.batch_decode(new, skip_special_tokens=True)
        ended = (new == tokenizer.eos_token_id).any(dim=1).tolist()
        return list(zip(map(str.strip, texts), ended, strict=True))

    return answer


def main() -> None:
    """Ask every question in every way and write the table."""
    answer, rows = answerer(), []
    for way in WAYS:
        for number, place in enumerate(places()):
            asked, words = zip(*place["questions"], strict=True)
            chats = [chat(way, place["text"], question) for question in asked]
            for question, wanted, (said, ended) in zip(
                asked, words, answer(chats), strict=True
            ):
                rows.append(
                    {
                        "way": way,
                        "place": number,
                        "question": question,
                        "wanted": wanted,
                        "answer": " ".join(said.split()),
                        "finished": int(ended),
                        "verdict": verdict(said, wanted, list(words)),
                    }
                )
        found = [row["verdict"] for row in rows if row["way"] == way]
        print(way, {kind: found.count(kind) for kind in sorted(set(found))}, flush=True)
    write_table(STORE, rows)


if __name__ == "__main__":
    main()
