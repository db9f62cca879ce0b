"""`model_for(task)`: the model behind a task, in either mode.

Taught in notebook 01, section "Which model was that?".
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import re
from pathlib import Path

from .bases import base, quiet
from .catalogue import MODELS, catalogue
from .errors import HelperError
from .session import mode
from .store import MANIFEST, sha256, stored

# Whisper's `generate` calls the library in a way that the library prints a notice for.
logging.getLogger("transformers.generation.utils").addFilter(
    lambda record: "begin_suppress_tokens" not in record.getMessage()
)
PARTS = {".safetensors", ".json", ".txt", ".jinja"}  # what a model is made of


def model_for(task: str) -> dict[str, str]:
    """Return the keyword arguments that name the model of a task, and print a line
    about it: `pipeline(task, **model_for(task))`.

    Embedded mode gives `model`, a local folder; hub mode gives `model`, an id on the
    Hub, and `revision`. The same arguments serve `AutoModel….from_pretrained`, with
    the model first: see notebook 01.

    Raises HelperError for a task that the catalogue does not have, FetchError where
    a file cannot be had, CacheError where the cache folder cannot be written.
    """
    tasks = catalogue()["tasks"]
    if task not in tasks:
        raise HelperError(
            f"There is no model for the task {task!r}. "
            f"Expected one of: {', '.join(sorted(tasks))}."
        )
    hub = tasks[task]["hub"]
    if mode() == "hub":
        from .hub import hub_model

        chosen = hub_model(hub)
        spec = catalogue()["hub"][hub]
        size = f"{spec['parameters'] / 1e6:.1f} M parameters, {spec['mb']} MB"
        print(f"{task}: {hub} at {spec['revision'][:7]} ({size})")
        return chosen
    name = tasks[task]["embedded"]
    folder = embedded(name)
    print(f"{task}: {name} ({size_of(folder)}), stands in for {hub.split('/')[-1]}")
    return {"model": str(folder)}


def register_own_tasks() -> None:
    """Register `summarize`, `translate` and `describe-image` for what transformers 5
    retired, so that `pipeline` knows them. Calling it again changes nothing. Taught in
    notebook 02.
    """
    from .tasks import register  # imports a good part of the library

    register()


def embedded(name: str) -> Path:
    """Return the folder of an embedded model, ready for `from_pretrained`.

    A base comes as it is. A model of our own is made ready once, in the cache
    folder, as float32: its tensors from `models/`, over those of its base if it has
    one. Raises HelperError for a name that the catalogue does not have.
    """
    table = catalogue()
    if name not in table["embedded"]:
        raise HelperError(
            f"No embedded model is called {name!r}. "
            f"There are: {', '.join(table['embedded'])}."
        )
    spec = table["embedded"][name]
    if "tuned" not in spec:
        return base(spec["base"])
    tuned = MODELS / spec["tuned"]
    # What goes in decides the key: other weights or another base are a new entry.
    inputs = [table["bases"][spec["base"]]["file_sha256"]] if "base" in spec else []
    files = [path for path in sorted(tuned.iterdir()) if path.suffix in PARTS]
    for other in spec.get("shares", {}):
        files += (MODELS / other).glob("*.safetensors")
    inputs += [sha256(path) for path in files]
    key = hashlib.sha256("".join(inputs).encode()).hexdigest()[:12]
    return stored(f"models/{name}-{key}", lambda to: _make_ready(spec, files, to))


def _make_ready(spec: dict, files: list[Path], folder: Path) -> None:
    """Lay a model's own tensors over its base, if it has one, and save all of it."""
    import torch
    import transformers
    from safetensors.torch import load_file

    tuned = files[0].parent
    architecture = getattr(transformers, spec["architecture"])
    sources = [base(spec["base"]), tuned] if "base" in spec else [tuned]
    with quiet():
        config = transformers.AutoConfig.from_pretrained(tuned)
        if "shares" in spec:
            model = architecture(config)
            weights = _gathered(spec, sources)
            if "filled" in spec:
                _fill(weights, model.state_dict(), spec["filled"])
            missing, _ = model.load_state_dict(weights, strict=False)
            absent = set(missing) - set(model.all_tied_weights_keys)
        else:
            # A size of its own, such as fewer positions, is among the model's tensors.
            model, loaded = architecture.from_pretrained(
                sources[0],
                config=config,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
            absent = set(loaded["missing_keys"])
            absent |= {row[0] for row in loaded["mismatched_keys"]}
            if "base" in spec:
                weights = load_file(tuned / "tuned.safetensors")
                model.load_state_dict(weights, strict=False)
                absent -= weights.keys()
        if absent:
            raise HelperError(
                f"{tuned.name} lacks {len(absent)} tensors, such as {min(absent)}."
            )
        model.config.name_or_path = ""
        model.save_pretrained(folder)
    for path in [path for source in sources for path in sorted(source.iterdir())]:
        kinds = ("token", "processor", "vocab", "template")
        if any(kind in path.name for kind in kinds) and path.suffix in PARTS:
            text = path.read_text("utf-8")
            for old, new in spec.get("tokens", {}).items():
                text = text.replace(old, new)
            (folder / path.name).write_text(text, "utf-8")


def _gathered(spec: dict, sources: list[Path]) -> dict:
    """Return the tensors of a model that is made of several: its base's, those it
    shares with other models of ours, its own; each by the name it has here."""
    from safetensors.torch import load_file

    parts = [(folder, {}) for folder in sources]
    if "base" in spec:
        parts[0] = sources[0], spec["base_names"]
    parts[-1:-1] = [
        (MODELS / other, {f"^{re.escape(old)}": new})
        for other, (old, new) in spec["shares"].items()
    ]
    weights = {}
    for folder, names in parts:
        for path in folder.glob("*.safetensors"):
            for name, tensor in load_file(path).items():
                for old, new in names.items():
                    name = re.sub(old, new, name)
                weights[name] = tensor.float()
    # LoRA: a matrix and the product of two thin ones add up.
    for name in [name for name in weights if name.endswith(".lora_A")]:
        thin = weights.pop(name), weights.pop(name.replace(".lora_A", ".lora_B"))
        weights[name.replace(".lora_A", ".weight")] += thin[1] @ thin[0]
    return weights


def _fill(weights: dict, wanted: dict, which: str) -> None:
    """Fill up with zeros what a model stores only in part, by a pattern of names."""
    for name, tensor in weights.items():
        if name in wanted and re.match(which, name):
            whole = wanted[name].new_zeros(wanted[name].shape)
            whole[tuple(slice(size) for size in tensor.shape)] = tensor
            weights[name] = whole


def files_of(model: str, revision: str = "main") -> list[tuple[str, float]]:
    """Return the files of what `model_for` has named: (name, size in MB).

    Used in notebook 01, section "What is on my disk now?".
    """
    folder = Path(model)
    if mode() == "hub":
        from .hub import snapshot_folder

        # What was fetched; the repository holds more, such as other formats.
        folder = snapshot_folder(model, revision)
    if not folder.is_dir():
        raise HelperError(
            f"No files of {model!r} at {revision!r} are on this disk. Expected what "
            "model_for(task) returns: files_of(**model_for(task))."
        )
    files = [path for path in sorted(folder.iterdir()) if path.name != MANIFEST]
    return [(path.name, path.stat().st_size / 1e6) for path in files]


def parameters_of(folder: Path) -> int:
    """Return how many numbers a model's safetensors hold, from their headers alone.

    The format: the header's length as a little-endian u64, then the header, JSON.
    """
    total = 0
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        header.pop("__metadata__", None)
        total += sum(math.prod(tensor["shape"]) for tensor in header.values())
    return total


def size_of(folder: Path) -> str:
    """Return a model's size in words: "22.7 M parameters, 91 MB"."""
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    return f"{parameters_of(folder) / 1e6:.1f} M parameters, {size / 1e6:.0f} MB"
