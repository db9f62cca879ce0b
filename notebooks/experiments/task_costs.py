"""What does each of the thirteen tasks cost: seconds and memory, one process per task?

    python -m experiments.task_costs    # in notebooks/; two minutes

Writes task_costs.csv beside it; notebook 04 draws it and measures one row of it again.
Each task gets the input that its own chapter gives it, and a process of its own:
`load` is what `pipeline` takes when the model is in the cache already, `answer` the
quicker of two answers, both in seconds of one core's time, which a busy machine does
not change much; `gb` is the most memory that the process held, libraries included.
The row `libraries` is a process that imports what the others import and loads no model.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from experiments.tables import write_table
from helpers.catalogue import NOTEBOOKS

STORE = Path(__file__).with_suffix(".csv")
SCENE = "data/scenes/guitar.png"
CHAT = [
    {
        "role": "user",
        "content": [
            {"type": "image", "path": SCENE},
            {"type": "text", "text": "What do you see?"},
        ],
    }
]
GREEDY = {"do_sample": False, "max_new_tokens": 25}
# The thirteen: for each the name that `pipeline` takes here, what goes in, options.
TASKS = {
    "text-generation": ("text-generation", "A good way to learn a new language is", {}),
    "text-classification": ("text-classification", "Great, another delay.", {}),
    "summarization": ("summarize", "data/tour/library.txt", {}),
    "translation": ("translate", "Your changes have been saved.", {}),
    "zero-shot-classification": (
        "zero-shot-classification",
        "Heavy snow is expected in the mountains tonight.",
        {"candidate_labels": ["weather", "sports", "health"]},
    ),
    "feature-extraction": ("feature-extraction", "The train is late again.", {}),
    "image-to-text": ("describe-image", SCENE, {}),
    "image-classification": ("image-classification", "data/photographs/cat.jpg", {}),
    "object-detection": ("object-detection", SCENE, {}),
    "image-text-to-text": ("image-text-to-text", CHAT, {}),
    "automatic-speech-recognition": (
        "automatic-speech-recognition",
        "data/tour/cards.ogg",
        {},
    ),
    "audio-classification": ("audio-classification", "data/tour/nine.wav", {}),
    "text-to-speech": ("text-to-speech", "Hello.", {}),
}


def peak_gb() -> float:
    """Return the most memory that this process has held, in GB."""
    import psutil

    memory = psutil.Process().memory_info()
    if hasattr(memory, "peak_wset"):  # Windows
        return memory.peak_wset / 1e9
    status = Path("/proc/self/status")
    if status.exists():  # Linux, whose getrusage counts what the parent held, too
        line = status.read_text().partition("VmHWM:")[2]
        return int(line.split()[0]) * 1024 / 1e9
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9


def ask(pipe, task: str) -> object:
    """Return a pipeline's answer to the task's input, read anew."""
    from helpers import sound

    _, value, options = TASKS[task]
    if task == "text-generation":
        return pipe(value, **GREEDY)
    if task == "image-text-to-text":
        return pipe(text=value, generate_kwargs=GREEDY, return_full_text=False)
    if task == "summarization":
        return pipe((NOTEBOOKS / value).read_text("utf-8").strip())
    if task in ("automatic-speech-recognition", "audio-classification"):
        return pipe(sound(NOTEBOOKS / value))
    return pipe(value, **options)


def here(task: str) -> dict[str, float]:
    """Return what a task costs in this process, which should have done nothing yet."""
    import torch
    from transformers import pipeline
    from transformers.utils import logging

    from helpers import model_for, register_own_tasks

    logging.set_verbosity_error()
    torch.set_num_threads(1)
    register_own_tasks()
    if task == "libraries":
        return {"parameters": 0, "load": 0.0, "answer": 0.0, "gb": peak_gb()}
    chosen = model_for(TASKS[task][0])
    start = time.process_time()
    pipe = pipeline(TASKS[task][0], **chosen, dtype="float32")
    load = time.process_time() - start
    answers = []
    for _ in range(2):
        start = time.process_time()
        ask(pipe, task)
        answers.append(time.process_time() - start)
    parameters = pipe.model.num_parameters()
    return {
        "parameters": parameters,
        "load": load,
        "answer": min(answers),
        "gb": peak_gb(),
    }


def measure(task: str) -> dict[str, float]:
    """Return a task's `parameters`, seconds to `load` and to `answer`, and peak `gb`,
    measured in a new process: twenty seconds or less.

    `task` is one of TASKS, or "libraries". Raises CalledProcessError where it fails.
    """
    command = [sys.executable, "-m", "experiments.task_costs", task]
    done = subprocess.run(
        command, cwd=NOTEBOOKS, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def main(arguments: list[str]) -> None:
    """Print what one task costs, or write the table of all."""
    if arguments:
        print(json.dumps(here(arguments[0])))
        return
    rows = []
    for task in ["libraries", *TASKS]:
        costs = measure(task)
        row = {"task": task, "parameters": int(costs["parameters"])}
        for name in ("load", "answer", "gb"):
            row[name] = round(costs[name], 3)
        rows.append(row)
        print(row)
    write_table(STORE, rows)


if __name__ == "__main__":
    main(sys.argv[1:])
