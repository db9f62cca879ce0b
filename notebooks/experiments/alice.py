"""Pretrain a small GPT-2 on alice.txt and keep it, for notebook 10 to run.

    python -m experiments.alice    # in notebooks/; three minutes of one core

Writes alice/ beside it: the model in float16 and its tokenizer. It is a narrow model,
so that it is a small file, and sees the text of `experiments.scaling` twenty times.
"""

from __future__ import annotations

from pathlib import Path

from transformers import GPT2LMHeadModel, logging, set_seed

from experiments import scaling

STORE = Path(__file__).with_suffix("")
WIDTH, HEADS = 56, 2
STEPS = 2400  # 2.5 million tokens: 20 times through the text


def main() -> None:
    """Train the model, print its held-out losses, and save it with its tokenizer."""
    logging.set_verbosity_error()
    text, held_out = scaling.read()
    tokenizer = scaling.learn_tokens(text)
    parts = [scaling.examples(tokenizer, part) for part in (text, held_out)]
    config = scaling.small_gpt(WIDTH).config
    config.n_head = HEADS
    set_seed(scaling.SEED)
    trainer = scaling.trainer_for(GPT2LMHeadModel(config), *parts)
    trainer.args.max_steps, trainer.args.eval_steps = STEPS, STEPS // 4
    trainer.train()
    print([x["eval_loss"] for x in trainer.state.log_history if "eval_loss" in x])
    # Its token 0, the mark !, ends a text in the library's eyes; here it does not.
    trainer.model.generation_config.eos_token_id = None
    trainer.model.half().save_pretrained(STORE)
    tokenizer.save_pretrained(STORE)


if __name__ == "__main__":
    main()
