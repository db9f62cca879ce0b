"""Measure every card again: `make scores`. Fails where a card says too much.

Usage: scores.py [--quick] [--data FOLDER] [NAME ...]. Each folder in models/ has a
score.py with `measure(quick, data)`, which returns what it measured by the names of
the catalogue. --quick measures what needs nothing beyond the repository; --data is
the folder with the data sets that a licence keeps out of it. Each model is measured
in a process of its own, so that time and memory are its own too.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

NOTEBOOKS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(NOTEBOOKS))

from helpers.catalogue import MODELS, catalogue
from helpers.models import embedded

# From a warm cache; 3 s for the rest.
LOAD_SECONDS = {"SmolLM2-135M-Instruct": 5.0, "fastvlm-scenes": 5.0}


def measure(name: str, quick: bool, data: Path | None) -> dict[str, float]:
    """Return what a model's score.py measures, by the names of the catalogue.

    Raises FileNotFoundError where a data set is not at hand.
    """
    place = MODELS / name / "score.py"
    spec = importlib.util.spec_from_file_location(f"score_{name}", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.measure(quick, data)


def load(name: str) -> float:
    """Return the seconds to load a model from a warm cache, for a ready process.

    The second of two times, as the first reads from the disk and imports the class.
    The clock's or the processor's, whichever is less: the clock counts what other
    programs do meanwhile, the processor counts each thread for itself.
    """
    import transformers

    folder, spec = embedded(name), catalogue()["embedded"][name]
    kind = getattr(transformers, spec.get("architecture", "AutoModel"))
    for _ in range(2):
        start, used = time.perf_counter(), time.process_time()
        kind.from_pretrained(folder)
        seconds = min(time.perf_counter() - start, time.process_time() - used)
    return seconds


def peak() -> float:
    """Return the most memory that this process has had so far, in GB."""
    kilobytes = 1e-6 if sys.platform != "darwin" else 1e-9  # macOS counts bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kilobytes


def too_much(name: str, found: dict[str, float]) -> list[str]:
    """Return what a card says beyond what was measured, in words."""
    said = {
        row["measure"]: row["value"] for row in catalogue()["embedded"][name]["scores"]
    }
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
        report["found"] = measure(name, True, data)
    return report | {"peak": peak()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--one", action="store_true", help="this process, as JSON")
    parser.add_argument("names", nargs="*", default=[])
    asked = parser.parse_args()
    table = catalogue()["embedded"]
    if asked.one:
        print(json.dumps(one(asked.names[0], asked.quick, asked.data)))
        return 0
    if unknown := set(asked.names) - set(table):
        parser.error(f"no model {', '.join(unknown)}; there are {', '.join(table)}")
    wrong = []
    for name in asked.names or table:
        command = [sys.executable, __file__, "--one", name]
        command += ["--quick"] * asked.quick
        command += ["--data", str(asked.data)] if asked.data else []
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{name}: could not be measured\n{done.stderr}", file=sys.stderr)
            wrong.append(name)
            continue
        report = json.loads(done.stdout.splitlines()[-1])
        weights = sum(p.stat().st_size for p in (MODELS / name).glob("*.safetensors"))
        print(
            f"{name}: loads in {report['load']:.1f} s; peak {report['loaded']:.2f} GB, "
            f"{report['peak']:.2f} GB while measured; {weights / 1e6:.1f} MB committed"
        )
        said = {row["measure"]: row["value"] for row in table[name]["scores"]}
        for key, value in report["found"].items():
            print(f"  {key}: {value:.4g} (card: {said.get(key, 'nothing')})")
        if report["skipped"]:
            print(f"  not measured in full: {report['skipped']}")
        wrong += too_much(name, report["found"])
        if report["load"] > LOAD_SECONDS.get(name, 3.0):
            wrong.append(f"{name}: loads in {report['load']:.1f} s")
    total = sum(path.stat().st_size for path in MODELS.glob("*/*.safetensors"))
    print(f"all committed weights: {total / 1e6:.1f} MB")
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
