"""LoRA adapters (Hu et al., 2021) as peft's own files, which it reads and merges."""

from __future__ import annotations

from pathlib import Path

import torch
from peft import LoraConfig

from recipes.common.publish import halved, write_tensors

PREFIX = "base_model.model."  # what peft puts before the name of an adapted layer


def lora_tensors(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the adapter in a model's state dict, by the names that peft gives it."""
    return {
        PREFIX + name.replace(".default.", "."): tensor
        for name, tensor in state.items()
        if ".lora_" in name
    }


def write_adapter(
    folder: Path, tensors: dict[str, torch.Tensor], config: LoraConfig
) -> None:
    """Write an adapter's configuration and, in float16, its tensors to FOLDER."""
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    write_tensors(halved(tensors), folder / "adapter_model.safetensors")
