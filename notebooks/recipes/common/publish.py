"""Write what is committed: float16 safetensors, a configuration, processors.

Every file is written aside and renamed, so that an interrupted call leaves the model
as it was.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

TUNED = "tuned.safetensors"  # what a model has learned over its base


def learned(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the tensors of a model that require gradients, by name."""
    return {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}


def config_of(model: nn.Module) -> Any:
    """Return a model's configuration, which names its class (a base's configuration
    names the base's)."""
    model.config.architectures = [type(model).__name__]
    return model.config


def halved(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors with floats in float16, laid out in one piece."""
    return {
        name: (t.half() if t.is_floating_point() else t).contiguous()
        for name, t in tensors.items()
    }


def write_tensors(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Write tensors as they are to a safetensors file, whole or not at all."""
    aside = path.with_suffix(".part")
    save_file(tensors, aside, metadata={"format": "pt"})
    aside.replace(path)


def write_model(folder: Path, tensors: dict[str, torch.Tensor], *parts: Any) -> None:
    """Write a model's own tensors in float16 to FOLDER/tuned.safetensors, and `parts`.

    A part is what has `save_pretrained`: a configuration, a tokenizer, a processor. A
    configuration forgets the folder that it came from.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(halved(tensors), folder / TUNED)
    for part in parts:
        if hasattr(part, "name_or_path") and hasattr(part, "to_json_string"):
            part.name_or_path = ""
        part.save_pretrained(folder)


def copy_files(source: Path, folder: Path) -> None:
    """Copy all files of a folder that `save_pretrained` wrote into another one."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()):
        aside = folder / f"{path.name}.part"
        shutil.copyfile(path, aside)
        aside.replace(folder / path.name)
