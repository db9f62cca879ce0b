"""Which prompt and which settings make SmolLM2-135M-Instruct's best summaries?

Ten texts of summaries.toml, each with a summary written for this project. For every
prompt: how near the answers are to those summaries (chrF, Popović, 2015, from 0 to
100), how long they are beside the text, and the share of their words that the text
does not have, which is where invention shows. The ten texts are answered side by side.

`python -m recipes.smollm2_135m_instruct.prompts` in notebooks/ prints the card's table.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

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
    """Return a text's words in small letters, without marks."""
    return "".join(c if c.isalnum() else " " for c in text.lower()).split()


def answers(tokenizer, model, prompt: str, texts: list[str]) -> Iterator[tuple]:
    """Yield (setting, the model's summaries) of texts put into a prompt."""
    inputs = tokenizer.apply_chat_template(
        [[{"role": "user", "content": prompt.format(text=text)}] for text in texts],
        add_generation_prompt=True,
        padding=True,
        return_tensors="pt",
        return_dict=True,
    )
    for setting, options in SETTINGS.items():
        ids = model.generate(**inputs, max_new_tokens=80, do_sample=False, **options)
        new = ids[:, inputs["input_ids"].shape[1] :]
        yield setting, tokenizer.batch_decode(new, skip_special_tokens=True)


def judged(rows: list[dict], summaries: list[str]) -> tuple[float, float, float]:
    """Return chrF, the length beside the text's, and the share of new words."""
    near = size = new = 0.0
    for row, made in zip(rows, summaries, strict=True):
        known, said = set(words(row["text"])), words(made)
        near += sentence_chrf(made, [row["summary"]]).score / len(rows)
        size += len(said) / len(words(row["text"])) / len(rows)
        strange = [word for word in said if word not in known]
        new += len(strange) / max(1, len(said)) / len(rows)
    return near, size, new


def main() -> None:
    """Print the table of all prompts and settings."""
    logging.set_verbosity_error()
    rows = tomllib.loads((HERE / "summaries.toml").read_text("utf-8"))["texts"]
    texts = [row["text"] for row in rows]
    folder = embedded("SmolLM2-135M-Instruct")
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(folder)
    print("| prompt | settings | chrF | length | words not in the text |")
    print("|---|---|---|---|---|")
    for name, prompt in PROMPTS.items():
        for setting, made in answers(tokenizer, model, prompt, texts):
            near, size, new = judged(rows, made)
            cells = f"{near:.1f} | {size:.0%} | {new:.0%}"
            print(f"| {name} | {setting} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
