"""What a new worker takes before its first answer: writes starts.csv.

In notebooks/: `python -m experiments.service.starts`, half a minute. Each way starts a
Python of its own that loads the classifier and reads one text. Noted are the seconds of
a processor, which are about the same on a busy machine, and the memory. Used in
notebook 13.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from experiments.tables import read_table, write_table

TABLE = Path(__file__).with_name("starts.csv")
WAYS = {
    "pipeline": """
from transformers import pipeline
classify = pipeline("sentiment-analysis", sys.argv[1])""",
    "tokenizers and ONNX Runtime": """
from experiments.service.job import Int8Classifier
classify = Int8Classifier(Path(sys.argv[2]))""",
}
BEFORE = "import json, sys, time\nfrom pathlib import Path\nimport psutil"
AFTER = """
classify(["Lovely."])
gigabytes = psutil.Process().memory_info().rss / 1e9
print(json.dumps([round(time.process_time(), 1), round(gigabytes, 2)]))
"""


def main() -> None:
    from .million import prepare

    with tempfile.TemporaryDirectory() as made:
        model, folder = prepare(Path(made), 1)
        rows = []
        for way, code in WAYS.items():
            command = [sys.executable, "-c", BEFORE + code + AFTER, model, str(folder)]
            found = []
            for _ in range(3):
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
                found.append(json.loads(done.stdout.splitlines()[-1]))
            seconds, gigabytes = min(found)
            row = {"way": way, "processor_seconds": seconds, "gigabytes": gigabytes}
            rows.append(row)
            print(row, flush=True)
    write_table(TABLE, rows)


def table() -> list[dict[str, str]]:
    """Return what was measured."""
    return read_table(TABLE)


if __name__ == "__main__":
    main()
