"""Measure every card again and compare: `python -m recipes score`, `make scores`.

Each recipe has a module `score` with `measure(quick, data)`, which returns what it
measured by the names of the catalogue. Each model is measured in a process of its
own, so that time and memory are its own too.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import time
from pathlib import Path

from helpers.catalogue import MODELS, NOTEBOOKS, catalogue
from helpers.models import embedded
from recipes import module_of

# From a warm cache; 3 s for the rest.
LOAD_SECONDS = {"SmolLM2-135M-Instruct": 5.0, "fastvlm-scenes": 5.0}


def measure(name: str, quick: bool, data: Path | None) -> dict[str, float]:
    """Return what a model's score.py measures, by the names of the catalogue.

    Raises FileNotFoundError where a data set is not at hand.
    """
    module = importlib.import_module(f"{module_of(name)}.score")
    return module.measure(quick, data)


def load(name: str) -> float:
    """Return the seconds to load a model from a warm cache, for a ready process.

    The second of two times, as the first reads from the disk and imports the class.
    The clock's or the processor's, whichever is less: the clock counts what other
    programs do meanwhile, the processor counts each thread for itself.
    """
    import transformers

    folder = embedded(name)
    config = transformers.AutoConfig.from_pretrained(folder)
    kind = getattr(transformers, config.architectures[0])
    for _ in range(2):
        start, used = time.perf_counter(), time.process_time()
        kind.from_pretrained(folder)
        seconds = min(time.perf_counter() - start, time.process_time() - used)
    return seconds


def peak() -> float:
    """Return the most memory that this process has had so far, in GB."""
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset / 1e9
    import resource  # not on Windows

    unit = 1e-9 if sys.platform == "darwin" else 1e-6  # bytes on a Mac, else kilobytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def card(name: str) -> dict[str, float]:
    """Return what the catalogue says of a model: {measure: value}, quick ones too."""
    spec = catalogue()["embedded"][name]
    rows = [*spec["scores"], *spec.get("quick_scores", [])]
    return {row["measure"]: row["value"] for row in rows}


def too_much(name: str, found: dict[str, float]) -> list[str]:
    """Return what a card says beyond what was measured, in words."""
    said = card(name)
    wrong = [
        f"{name}: the card says {said[key]:g} for {key}, measured {value:.4g}"
        for key, value in found.items()
        if key in said and value < said[key] - 0.0005 * max(1.0, abs(said[key]))
    ]
    strange = [f"{name}: the catalogue has no score {k!r}" for k in found.keys() - said]
    return wrong + strange


def one(name: str, quick: bool, data: Path | None) -> dict:
    """Measure one model in this process; return what is to be printed."""
    from transformers import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    report = {"load": load(name), "loaded": peak(), "found": {}, "skipped": ""}
    try:
        report["found"] = measure(name, quick, data)
    except FileNotFoundError as error:
        report["skipped"] = str(error)
        found = getattr(error, "found", None) or measure(name, True, data)
        report["found"] = found
    return report | {"peak": peak()}


def report(names: list[str], quick: bool, data: Path) -> int:
    """Measure the named models and print each beside its card; return 1 where a card
    says too much or a model could not be measured, else 0."""
    wrong = []
    for name in names:
        command = [sys.executable, "-m", "recipes.scores", name, str(int(quick))]
        done = subprocess.run(
            [*command, str(data.absolute())],
            cwd=NOTEBOOKS,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        if done.returncode:
            print(f"{name}: could not be measured\n{done.stderr}", file=sys.stderr)
            wrong.append(name)
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        weights = sum(p.stat().st_size for p in (MODELS / name).glob("*.safetensors"))
        print(
            f"{name}: loads in {found['load']:.1f} s; peak {found['loaded']:.2f} GB, "
            f"{found['peak']:.2f} GB while measured; {weights / 1e6:.1f} MB committed"
        )
        said = card(name)
        for key, value in found["found"].items():
            print(f"  {key}: {value:.4g} (card: {said.get(key, 'nothing')})")
        if found["skipped"]:
            print(f"  not measured in full: {found['skipped']}")
        wrong += too_much(name, found["found"])
        if found["load"] > LOAD_SECONDS.get(name, 3.0):
            wrong.append(f"{name}: loads in {found['load']:.1f} s")
    total = sum(path.stat().st_size for path in MODELS.glob("*/*.safetensors"))
    print(f"all committed weights: {total / 1e6:.1f} MB", flush=True)
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    print(json.dumps(one(sys.argv[1], sys.argv[2] == "1", Path(sys.argv[3]))))
