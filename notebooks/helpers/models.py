"""`model_for(task)`: the model behind a task, in either mode.

Taught in notebook 01, section "Which model was that?".
"""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import math
from pathlib import Path
from types import ModuleType

from .bases import base, base_key, quiet
from .catalogue import MODELS, catalogue
from .errors import HelperError
from .session import device, mode
from .store import MANIFEST, sha256, stored

# Whisper's `generate` calls the library in a way that the library prints a notice for.
logging.getLogger("transformers.generation.utils").addFilter(
    lambda record: "begin_suppress_tokens" not in record.getMessage()
)
PARTS = {".safetensors", ".json", ".txt", ".jinja"}  # what a model is made of
# Names that transformers 5 retired, and the series' own task of that kind.
RETIRED = {
    "summarization": "summarize",
    "translation": "translate",
    "image-to-text": "describe-image",
}
ASSEMBLY = 1  # raise it when `_assemble` makes something else of the same files


def model_for(task: str, kind: str | None = None) -> dict[str, str]:
    """Return the keyword arguments that name the model of a task, and print a line
    about it: `pipeline(task, **model_for(task))`.

    A name that the library retired, such as `summarization`, gives the model of the
    series' own task of that kind, and the line names that task for `pipeline`.
    `kind` is for tasks with a second model: `model_for(task, "drawings")` names the
    one for drawings where `model_for(task)` names the one for photographs.

    Embedded mode gives `model`, a local folder; hub mode gives `model`, an id on the
    Hub, and `revision`; both give `device`, see `session.device`. `model` and
    `revision` serve `AutoModel….from_pretrained` too: see notebook 01.

    Raises HelperError for a task or a kind that the catalogue does not have,
    FetchError where a file cannot be had, CacheError where the cache folder cannot
    be written.
    """
    tasks, own = catalogue()["tasks"], RETIRED.get(task, task)
    if own not in tasks:
        raise HelperError(
            f"There is no model for the task {task!r}. "
            f"Expected one of: {', '.join(sorted(tasks))}."
        )
    entry = tasks[own]
    hint = ""
    if own != task:
        hint = f'; the library retired this name, so: pipeline("{own}", …)'
    kinds = {None: entry} | {k: row for k, row in entry.items() if type(row) is dict}
    if kind not in kinds:
        raise HelperError(
            f"There is no model for the task {task!r} of the kind {kind!r}. "
            f"Expected one of: {', '.join(map(repr, kinds))}."
        )
    entry = kinds[kind]
    hub = entry["hub"]
    if mode() == "hub":
        from .hub import hub_model

        chosen = hub_model(hub)
        spec = catalogue()["hub"][hub]
        size = f"{spec['parameters'] / 1e6:.1f} M parameters, {spec['mb']} MB"
        print(f"{task}: {hub} at {spec['revision'][:7]} ({size}){hint}")
        return chosen | {"device": _place(own)}
    name = entry["embedded"]
    folder = embedded(name)
    full_size = hub.split("/")[-1]
    whose = "as on the Hub" if name == full_size else f"stands in for {full_size}"
    print(f"{task}: {name} ({size_of(folder)}), {whose}{hint}")
    return {"model": str(folder), "device": _place(own)}


def _place(task: str) -> str:
    """Return the device for a task. A Mac speaks on its CPU: mps before macOS 15.1
    refuses a convolution that puts out more than 65,536 numbers, four seconds."""
    where = device()
    return "cpu" if (task, where) == ("text-to-speech", "mps") else where


def register_own_tasks() -> None:
    """Register `summarize`, `translate` and `describe-image` for what transformers 5
    retired, so that `pipeline` knows them. Calling it again changes nothing. Taught in
    notebook 02.
    """
    from .tasks import register  # imports a good part of the library

    register()


def embedded(name: str) -> Path:
    """Return the folder of an embedded model, ready for `from_pretrained`.

    A base comes as it is. A model of our own is put together once, in the cache
    folder, as float32: see `_assemble`. Raises HelperError for a name that the
    catalogue does not have, and what `base` raises.
    """
    spec = _spec(name)
    if "base" in spec:
        return base(spec["base"])
    if module := _converter(spec):
        return stored(f"models/{name}-{_key(name)}", module.build)
    return stored(f"models/{name}-{_key(name)}", lambda to: _assemble(name, to))


def _converter(spec: dict) -> ModuleType | None:
    """Return the module that computes a model from its parts, where one does."""
    if converter := spec.get("converter"):
        return importlib.import_module(f".converters.{converter}", __package__)
    return None


def _spec(name: str) -> dict:
    """Return a model's row of the catalogue."""
    models = catalogue()["embedded"]
    if name not in models:
        raise HelperError(
            f"No embedded model is called {name!r}. There are: {', '.join(models)}."
        )
    return models[name]


def _key(name: str) -> str:
    """Return a digest of all that decides what a model is made of: its files, its row
    of the catalogue, its parts, and the version of this code."""
    spec = _spec(name)
    if "base" in spec:
        return base_key(spec["base"])
    how = [spec.get(field) for field in ("parts", "padded", "tokens")]
    inputs = [str(ASSEMBLY), json.dumps(how)]
    if module := _converter(spec):
        inputs.append(str(module.VERSION))
    for part in spec.get("parts", []):
        inputs.append(base_key(part["base"]) if "base" in part else _key(part["model"]))
    for path in sorted((MODELS / name).iterdir()):
        if path.suffix in PARTS:
            inputs += [path.name, sha256(path)]
    return hashlib.sha256("\n".join(inputs).encode()).hexdigest()[:12]


def _assemble(name: str, folder: Path) -> None:
    """Put a model of our own together and save it, whole, into `folder`.

    Its tensors come from its parts in the catalogue's order, then from its own
    safetensors; where a name occurs twice, the later tensor counts. An adapter in its
    folder is merged by peft. Tokenizer and processor files are its base's and its own.
    """
    import torch
    import transformers

    spec, own = _spec(name), MODELS / name
    sources = [_folder_of(part) for part in spec.get("parts", [])]
    with quiet():
        config = transformers.AutoConfig.from_pretrained(own)
        architecture = getattr(transformers, config.architectures[0])
        weights = _gathered(spec, sources, own)
        if "padded" in spec:
            _pad(weights, architecture(config).state_dict(), tuple(spec["padded"]))
        model, loaded = architecture.from_pretrained(
            None,
            config=config,
            state_dict=weights,
            dtype=torch.float32,
            output_loading_info=True,
        )
        if absent := loaded["missing_keys"]:
            raise HelperError(
                f"{name} lacks {len(absent)} tensors, such as {min(absent)}."
            )
        if (own / "adapter_config.json").exists():
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, own).merge_and_unload()
        if (own / "generation_config.json").exists():
            how = transformers.GenerationConfig.from_pretrained(own)
            model.generation_config = how
        model.config.name_or_path = ""
        model.save_pretrained(folder)
    bases = [base(part["base"]) for part in spec.get("parts", []) if "base" in part]
    for path in [path for source in [*bases, own] for path in source.iterdir()]:
        kinds = ("token", "processor", "vocab", "template")
        if any(kind in path.name for kind in kinds) and path.suffix in PARTS:
            text = path.read_text("utf-8")
            for old, new in spec.get("tokens", {}).items():
                text = text.replace(old, new)
            (folder / path.name).write_text(text, "utf-8")


def _folder_of(part: dict) -> Path:
    """Return the folder that a part of a model is taken from."""
    return base(part["base"]) if "base" in part else embedded(part["model"])


def _gathered(spec: dict, sources: list[Path], own: Path) -> dict:
    """Return a model's tensors in float32, each by the name that it has in the model:
    of each part those whose names begin with `from`, which `to` replaces."""
    from safetensors import safe_open

    weights = {}
    parts = list(zip(spec.get("parts", []), sources, strict=True))
    for part, source in [*parts, ({}, own)]:
        old, new = part.get("from", ""), part.get("to", "")
        for path in source.glob("*.safetensors"):
            if path.name == "adapter_model.safetensors":
                continue
            with safe_open(path, "pt") as file:
                for name in file.keys():  # noqa: SIM118 (it is no dictionary)
                    if name.startswith(old):
                        tensor = file.get_tensor(name).float()
                        weights[new + name.removeprefix(old)] = tensor
    return weights


def _pad(weights: dict, wanted: dict, prefixes: tuple[str, ...]) -> None:
    """Fill up with zeros the tensors that are stored without them, by their names'
    prefixes: what is stored is the corner of the whole tensor at its origin."""
    for name, tensor in weights.items():
        if name in wanted and name.startswith(prefixes):
            whole = wanted[name].new_zeros(wanted[name].shape)
            whole[tuple(slice(size) for size in tensor.shape)] = tensor
            weights[name] = whole


def files_of(model: str, revision: str | None = None) -> list[tuple[str, float]]:
    """Return the files of a model that `model_for` has named: (name, size in MB).

    In hub mode those that were fetched, at the catalogue's revision unless another is
    given; the repository holds more, such as other formats. Raises HelperError where
    there are none. Used in notebook 01, section "What is on my disk now?".
    """
    folder = Path(model)
    if mode() == "hub":
        from .hub import snapshot_folder

        revision = revision or catalogue()["hub"].get(model, {}).get("revision", "main")
        folder = snapshot_folder(model, revision)
    if not folder.is_dir():
        raise HelperError(
            f"No files of {model!r} are on this disk. Expected a model that "
            'model_for has named: files_of(model_for(task)["model"]).'
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
