"""Which prompt and which settings make SmolLM2-135M-Instruct's best summaries?

Ten texts of summaries.toml, each with a summary written for this project. For every
prompt: how near the answers are to those summaries (chrF, Popović, 2015, from 0 to
100), how long they are beside the text, and the share of their words that the text
does not have, which is where invention shows. `python prompts.py` prints the card's
table. The ten texts are answered side by side.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent

from sacrebleu import sentence_chrf
from transformers import AutoModelForCausalLM, AutoTokenizer, logging

from helpers.models import embedded

HERE = Path(__file__).resolve().parent

PROMPTS = {
    "Summarize in one or two sentences": (
        "Summarize the following text in one or two sentences.\n\n{text}"
    ),
    "Text first, then the request": (
        "{text}\n\nSummarize the text above in one short sentence."
    ),
    "What is the main point?": "{text}\n\nWhat is the main point of this text?",
    "tl;dr": "{text}\n\ntl;dr:",
    "Rewrite shorter": "Rewrite this text in at most 25 words:\n\n{text}",
}
SETTINGS = {
    "greedy": {},
    "greedy, repetition penalty 1.1": {"repetition_penalty": 1.1},
}


def words(text: str) -> list[str]:
    return "".join(c if c.isalnum() else " " for c in text.lower()).split()


def main() -> None:
    logging.set_verbosity_error()
    rows = tomllib.loads((HERE / "summaries.toml").read_text("utf-8"))["texts"]
    folder = embedded("SmolLM2-135M-Instruct")
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(folder)
    print("| prompt | settings | chrF | length | words not in the text |")
    print("|---|---|---|---|---|")
    for name, prompt in PROMPTS.items():
        chats = [
            [{"role": "user", "content": prompt.format(text=row["text"])}]
            for row in rows
        ]
        inputs = tokenizer.apply_chat_template(
            chats,
            add_generation_prompt=True,
            padding=True,
            return_tensors="pt",
            return_dict=True,
        )
        for setting, options in SETTINGS.items():
            ids = model.generate(
                **inputs, max_new_tokens=80, do_sample=False, **options
            )
            answers = tokenizer.batch_decode(
                ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
            )
            near = size = new = 0.0
            for row, made in zip(rows, answers, strict=True):
                known = set(words(row["text"]))
                near += sentence_chrf(made, [row["summary"]]).score / len(rows)
                size += len(words(made)) / len(words(row["text"])) / len(rows)
                strange = [word for word in words(made) if word not in known]
                new += len(strange) / max(1, len(words(made))) / len(rows)
            cells = f"{near:.1f} | {size:.0%} | {new:.0%}"
            print(f"| {name} | {setting} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
