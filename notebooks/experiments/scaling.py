"""Pretrain small causal models on alice.txt: three sizes, three amounts of text.

    python -m experiments.scaling    # in notebooks/; ten minutes on two cores

Writes scaling.csv beside it.

Every run is shown the same number of tokens; what differs is the size of the model
and how much text the tokens come from. Notebook 11 draws the table and repeats the
run of the middle size on all the text. A run that is in the table already is not
repeated.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    logging,
    set_seed,
)

from experiments.tables import append_to_table, read_table
from helpers.catalogue import NOTEBOOKS

STORE = Path(__file__).with_suffix(".csv")
SEED = 0
VOCABULARY = 512  # small, so that most of the parameters compute
LENGTH = 64  # tokens of one example
BATCH = 16  # examples of one step
STEPS = 160  # 164,000 tokens: 1.35 times through all the text
RATE = 2e-3  # high, as the models are small and the steps are few
LAYERS = 2  # few and wide learns sooner than many and narrow
WIDTHS = [48, 96, 192]  # 0.1, 0.3 and 1.0 million parameters
SHARES = [1 / 16, 1 / 4, 1]  # of the part that is trained on
HELD_OUT = 0.1  # the end of the text, which no model is trained on


def read() -> tuple[str, str]:
    """Return the text in two parts: to train on, and the end, held out."""
    text = (NOTEBOOKS / "data" / "alice" / "alice.txt").read_text("utf-8")
    cut = text.rindex("\n\n", 0, int(len(text) * (1 - HELD_OUT)))
    return text[:cut], text[cut:]


def learn_tokens(text: str) -> PreTrainedTokenizerFast:
    """Return a byte-pair tokenizer, learned from a text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def examples(
    tokenizer: PreTrainedTokenizerFast, text: str
) -> list[dict[str, torch.Tensor]]:
    """Return the text as examples of LENGTH tokens; the labels are the tokens."""
    ids = torch.tensor(tokenizer(text)["input_ids"])
    rows = ids[: len(ids) // LENGTH * LENGTH].view(-1, LENGTH)
    return [{"input_ids": row, "labels": row} for row in rows]


def small_gpt(width: int) -> GPT2LMHeadModel:
    """Return a GPT-2 of a width, with random weights."""
    set_seed(SEED)
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY,
            n_positions=LENGTH,
            n_embd=width,
            n_layer=LAYERS,
            n_head=max(1, width // 32),
            initializer_range=0.7 / width**0.5,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=0,
            eos_token_id=0,
        )
    )


def trainer_for(
    model: GPT2LMHeadModel, train: list[dict], held_out: list[dict]
) -> Trainer:
    """Return a Trainer that measures the held-out loss four times on its way."""
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir="build",
            max_steps=STEPS,
            per_device_train_batch_size=BATCH,
            per_device_eval_batch_size=64,
            learning_rate=RATE,
            lr_scheduler_type="cosine",
            warmup_steps=10,
            weight_decay=0.1,
            adam_beta2=0.95,
            eval_strategy="steps",
            eval_steps=STEPS // 4,
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            seed=SEED,
        ),
        train_dataset=train,
        eval_dataset=held_out,
    )
    trainer.remove_callback(PrinterCallback)  # what it would print is in its history
    return trainer


def one_run(width: int, share: float) -> list[dict]:
    """Return the rows of one run: the held-out loss at each of four places."""
    text, held_out = read()
    tokenizer = learn_tokens(text)
    part = text[: int(len(text) * share)]
    model = small_gpt(width)
    trainer = trainer_for(
        model, examples(tokenizer, part), examples(tokenizer, held_out)
    )
    start = time.process_time()
    trainer.train()
    seconds = time.process_time() - start
    rows = []
    for entry in trainer.state.log_history:
        if "eval_loss" in entry:
            tokens = entry["step"] * BATCH * LENGTH
            rows.append(
                {
                    "width": width,
                    "parameters": model.num_parameters(),
                    "characters": len(part),
                    "tokens": tokens,
                    "flop": f"{6 * model.num_parameters() * tokens:.3e}",
                    "held_out_loss": round(entry["eval_loss"], 4),
                    "cpu_seconds": round(seconds * entry["step"] / STEPS, 1),
                    "seed": SEED,
                }
            )
    return rows


def main() -> None:
    """Make each run that the table lacks, the largest one first."""
    logging.set_verbosity_error()
    length = len(read()[0])
    done = {(row["width"], row["characters"]) for row in read_table(STORE)}
    for share in reversed(SHARES):
        for width in reversed(WIDTHS):
            if (str(width), str(int(length * share))) in done:
                continue
            rows = one_run(width, share)
            print(rows[-1], flush=True)
            append_to_table(STORE, rows)


if __name__ == "__main__":
    main()
