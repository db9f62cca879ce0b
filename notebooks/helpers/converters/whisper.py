"""Turn whisper-tiny.en from CTranslate2's format into the library's.

Called by helpers.bases with the unpacked package and an empty folder; 2 s on two
cores. The format is CTranslate2's own (github.com/OpenNMT/CTranslate2), version 6.
"""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path

import numpy
import torch
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizerFast,
)


def convert(files: Path, folder: Path) -> None:
    """Write config, weights, tokenizer and feature extractor for from_pretrained."""
    extra = json.loads((files / "config.json").read_text("utf-8"))
    state = whisper_state(read_ctranslate2(files / "model.bin"))
    vocabulary, width = state["model.decoder.embed_tokens.weight"].shape
    config = WhisperConfig(vocab_size=vocabulary, d_model=width)
    # Kept in float32: float16 is half the size, but a CPU takes four times as long.
    model = WhisperForConditionalGeneration(config)
    missing, unexpected = model.load_state_dict(state, strict=False)
    if unexpected or set(missing) - {"proj_out.weight"}:
        raise ValueError(f"unknown tensors in model.bin: {unexpected}, {missing}")
    added = json.loads((files / "tokenizer.json").read_text("utf-8"))["added_tokens"]
    end = "<|endoftext|>"
    tokenizer = WhisperTokenizerFast(
        tokenizer_file=str(files / "tokenizer.json"),
        # Named as special, so that decoding leaves them out of the text.
        extra_special_tokens=[t["content"] for t in added if t["content"] != end],
        model_max_length=config.max_target_positions,
        unk_token=end,
        bos_token=end,
        eos_token=end,
        pad_token=end,
    )
    special = tokenizer.convert_tokens_to_ids
    # As OpenAI publishes it, but for three lines. `forced_decoder_ids` is left out: the
    # library prints a notice for it, and puts <|notimestamps|> there by itself. One
    # beam instead of the pipeline's five: on recorded commands it hears no worse, in
    # two thirds of the time, and five repeat " ." 256 times for silence. For half a
    # minute of faint noise one beam would too, were ten tokens allowed to come twice.
    model.generation_config = GenerationConfig(
        bos_token_id=special(end),
        eos_token_id=special(end),
        pad_token_id=special(end),
        decoder_start_token_id=special("<|startoftranscript|>"),
        no_timestamps_token_id=special("<|notimestamps|>"),
        prev_sot_token_id=special("<|startofprev|>"),
        max_initial_timestamp_index=50,
        suppress_tokens=extra["suppress_ids"],
        begin_suppress_tokens=extra["suppress_ids_begin"],
        alignment_heads=extra["alignment_heads"],
        is_multilingual=False,
        return_timestamps=False,
        max_length=config.max_target_positions,
        num_beams=1,
        no_repeat_ngram_size=10,
    )
    WhisperFeatureExtractor().save_pretrained(folder)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def read_ctranslate2(path: Path) -> dict:
    """Return the tensors of a CTranslate2 file (version 6) by name.

    The layout, little-endian: u32 version, string specification, u32 revision, u32
    count; a variable is string name, u8 rank, u32 a dimension, u8 type, u32 bytes,
    data. A string is its u16 length and bytes with a closing NUL.
    """
    types = ["<f4", "i1", "<i2", "<i4", "<f2"]
    data, at = path.read_bytes(), 0

    def take(form: str):
        nonlocal at
        at += struct.calcsize("<" + form)
        return struct.unpack_from("<" + form, data, at - struct.calcsize("<" + form))

    def text() -> str:
        return take(f"{take('H')[0]}s")[0].rstrip(b"\0").decode()

    if (layout := take("I")[0]) != 6:
        raise ValueError(f"{path.name} is CTranslate2 version {layout}, not 6")
    text()  # the name of the architecture
    _, count = take("II")
    tensors = {}
    for _ in range(count):
        name = text()
        shape = take(f"{take('B')[0]}I")
        kind, size = take("BI")
        array = numpy.frombuffer(take(f"{size}s")[0], types[kind]).reshape(shape)
        tensors[name] = torch.from_numpy(array.copy())
    return tensors


def whisper_state(tensors: dict) -> dict:
    """Return CTranslate2's Whisper tensors under the names of the library.

    Query, key and value are stacked in CTranslate2 (of cross-attention, key and
    value); the library keeps them apart and has no bias for the keys.
    """
    renamed = {
        "encoder/position_encodings/encodings": "encoder.embed_positions.weight",
        "decoder/position_encodings/encodings": "decoder.embed_positions.weight",
        "decoder/embeddings/weight": "decoder.embed_tokens.weight",
    }
    stacked = {
        "self_attention/linear_0": ("self_attn", "qkv"),
        "attention/linear_0": ("encoder_attn", "q"),
        "attention/linear_1": ("encoder_attn", "kv"),
    }
    plain = {
        "self_attention/linear_1": "self_attn.out_proj",
        "attention/linear_2": "encoder_attn.out_proj",
        "self_attention/layer_norm": "self_attn_layer_norm",
        "attention/layer_norm": "encoder_attn_layer_norm",
        "ffn/layer_norm": "final_layer_norm",
        "ffn/linear_0": "fc1",
        "ffn/linear_1": "fc2",
    }
    leaf = {"gamma": "weight", "beta": "bias", "weight": "weight", "bias": "bias"}
    state = {}
    for name, tensor in tensors.items():
        part = re.match(r"(encoder|decoder)/layer_(\d+)/(.+)/(\w+)$", name)
        if name in renamed:
            state[f"model.{renamed[name]}"] = tensor
        elif part and part[3] in stacked:
            module, letters = stacked[part[3]]
            for letter, piece in zip(letters, tensor.chunk(len(letters)), strict=True):
                if (letter, part[4]) != ("k", "bias"):
                    place = f"model.{part[1]}.layers.{part[2]}.{module}.{letter}_proj"
                    state[f"{place}.{part[4]}"] = piece.contiguous()
        elif part and part[3] in plain:
            place = f"model.{part[1]}.layers.{part[2]}.{plain[part[3]]}"
            state[f"{place}.{leaf[part[4]]}"] = tensor
        elif name.rsplit("/", 1)[-1] in leaf:  # convolutions and closing layer norms
            module, kind = name.replace("/", ".").rsplit(".", 1)
            state[f"model.{module}.{leaf[kind]}"] = tensor
    return state
