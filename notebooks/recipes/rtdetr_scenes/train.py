"""Train rtdetr-scenes: find things in composed scenes and name them.

RT-DETR (Zhao et al., 2024) on top of the encoder of convnext-emoji: one query per
thing. Of the transformer detectors it learns fastest, since its queries start at the
places that look like something, and since it trains on noised boxes too. Two stages:

1. encoder: its last two stages learn to see scenes, common/scene_encoder.py;
   fastvlm-scenes sees with the same encoder.
2. detector: all else of RT-DETR, and the encoder with it, its own loss going on.

Time, result and the last lines of the log stand at the end of this file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from transformers import (
    ConvNextBackbone,
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrImageProcessorPil,
    get_cosine_schedule_with_warmup,
    set_seed,
)

from helpers.catalogue import MODELS
from recipes.common import precision
from recipes.common.adapters import lora_tensors, write_adapter
from recipes.common.pictures import square_processor
from recipes.common.publish import write_model, write_tensors
from recipes.common.scene_encoder import (
    CellLoss,
    Scenes,
    by_cell,
    encoder_config,
    frozen_parts,
    init_from_classifier,
    large_matrices,
    learns,
    load_encoder,
    lora_config,
    to_low_rank,
)
from recipes.common.training import Trainer, decay_groups
from recipes.convnext_emoji import WIDTHS
from recipes.datasets.emoji.drawings import VALIDATION_STYLE
from recipes.datasets.scenes.compose import NAMES, SIZE, compose, styled_drawings

SEED = 0
# More things than a test scene has: each teaches something, and they come at no cost.
# After 250 steps, with a learning rate of 0.0003, 0.001 or 0.0025, the encoder found
# 31, 43 or 52 in 100 things of the validation style.
ENCODER = {"batch": 32, "steps": 3500, "lr": 2.5e-3, "things": (2, 8)}
# The encoder has learned already: half of the new parts' learning rate.
DETECTOR = {"batch": 16, "steps": 2500, "lr": 1e-3, "things": (2, 7)}
ENCODER_LR = 5e-4  # in the second stage
# How much the encoder's own loss counts there, beside losses of about 20 in sum.
CELLS = 2.0
FIRST = {"encoder": 2 * 10**6, "detector": 10**6}  # the seeds of the first scenes
DECAY, WARMUP = 0.05, 50
EVERY = 500  # steps between two checkpoints
START = MODELS / "convnext-emoji"
RESULT = "detector.safetensors"
ENCODER_PREFIX = "model.backbone.model."


def detector_config() -> RTDetrConfig:
    """Return a small RT-DETR: width 96, three decoder layers, 30 queries."""
    return RTDetrConfig(
        backbone_config=encoder_config(),
        # No thing is smaller than 20 pixels: the maps of strides 16 and 32 suffice.
        encoder_in_channels=list(WIDTHS[2:]),
        feat_strides=[16, 32],
        num_feature_levels=2,
        encode_proj_layers=[1],
        decoder_in_channels=[96, 96],
        d_model=96,
        encoder_hidden_dim=96,
        encoder_ffn_dim=256,
        encoder_attention_heads=3,
        hidden_expansion=0.5,
        decoder_ffn_dim=256,
        decoder_attention_heads=3,
        decoder_layers=3,
        decoder_n_points=4,
        num_queries=30,
        num_denoising=30,
        id2label=dict(enumerate(NAMES)),
        label2id={name: at for at, name in enumerate(NAMES)},
    )


def saved_state(model: RTDetrForObjectDetection) -> dict[str, torch.Tensor]:
    """Return a model's tensors by the names that the library's files have, which are
    others than those of its modules."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return load_file(Path(folder) / "model.safetensors")


def own_tensors(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors that are neither convnext-emoji's own nor the adapter's."""
    own = {}
    for name, tensor in state.items():
        if ENCODER_PREFIX in name and not learns(name):
            continue
        if ".lora_" not in name and "base_layer.weight" not in name:
            own[name.replace("base_layer.", "")] = tensor
    return own


def run_stage(
    name: str,
    how: dict,
    data: Path,
    work: Path,
    model: nn.Module,
    encoder: nn.Module,
    cell_loss: CellLoss,
    parts: list[tuple[nn.Module, float]],
    losses_of: Callable[[dict], dict[str, torch.Tensor]],
) -> None:
    """Train `parts`, pairs of a module and its learning rate, on scenes."""
    optimizer = torch.optim.AdamW(decay_groups(parts, DECAY))
    schedule = get_cosine_schedule_with_warmup(optimizer, WARMUP, how["steps"])
    trainer = Trainer(
        nn.ModuleList([model, cell_loss]),
        optimizer,
        schedule,
        how["steps"],
        work / f"{name}.pt",
        every=EVERY,
        log=100,
    )
    scenes = Scenes(data, FIRST[name], how)
    drawings = styled_drawings(data, [VALIDATION_STYLE])
    validation = [compose(seed, drawings) for seed in range(100)]

    def draw(step: int):
        model.train()
        for part in frozen_parts(encoder):
            part.eval()
        return scenes.batches(range(step, min(step + EVERY, how["steps"])))

    def report(step: int) -> None:
        model.eval()
        found = by_cell(encoder, cell_loss, validation)
        print(f"  {VALIDATION_STYLE}: {found}", flush=True)

    trainer.run(draw, losses_of, report)


def train_encoder(data: Path, work: Path, how: dict) -> None:
    """Teach the encoder to see scenes; WORK/encoder.safetensors."""
    encoder, cell_loss = ConvNextBackbone(encoder_config()), CellLoss()
    load_encoder(encoder, START)
    init_from_classifier(cell_loss, encoder, START)

    def losses_of(batch: dict) -> dict[str, torch.Tensor]:
        with precision.autocast():
            last = encoder(batch["pixels"]).feature_maps[-1]
        return {"loss": cell_loss(last, batch)}

    parts = [(encoder, how["lr"]), (cell_loss, how["lr"] / 2)]
    run_stage("encoder", how, data, work, encoder, encoder, cell_loss, parts, losses_of)
    both = nn.ModuleDict({"encoder": encoder, "cell_loss": cell_loss})
    write_tensors(both.state_dict(), work / "encoder.safetensors")


def train_detector(data: Path, work: Path, how: dict) -> None:
    """Teach the whole detector; WORK/detector.safetensors."""
    model, cell_loss = RTDetrForObjectDetection(detector_config()), CellLoss()
    encoder = model.model.backbone.model
    learned = load_file(work / "encoder.safetensors")
    states = [
        {n.removeprefix(part): t for n, t in learned.items() if n.startswith(part)}
        for part in ("encoder.", "cell_loss.")
    ]
    load_encoder(encoder, START)
    to_low_rank(encoder, states[0])
    cell_loss.load_state_dict(states[1])
    maps: list[torch.Tensor] = []
    encoder.register_forward_hook(lambda *args: maps.extend(args[-1].feature_maps))

    def losses_of(batch: dict) -> dict[str, torch.Tensor]:
        maps.clear()
        with precision.autocast():
            found = model(batch["pixels"], labels=batch["labels"])
        own = cell_loss(maps[-1], batch)
        loss = found.loss.float() + CELLS * own
        named = {k: found.loss_dict[k] for k in ("loss_vfl", "loss_bbox", "loss_giou")}
        return {"loss": loss, "cells": own} | named

    children = model.model.named_children()
    rest = nn.ModuleList(part for name, part in children if name != "backbone")
    parts = [(encoder, ENCODER_LR), (cell_loss, how["lr"]), (rest, how["lr"])]
    run_stage("detector", how, data, work, model, encoder, cell_loss, parts, losses_of)
    state = saved_state(model)
    write_tensors(own_tensors(state) | lora_tensors(state), work / RESULT)


def train(
    data: Path, work: Path, encoder: dict = ENCODER, detector: dict = DETECTOR
) -> None:
    """Go on with the first stage whose result is not in WORK; the last one's is
    WORK/detector.safetensors."""
    if not (work / "encoder.safetensors").is_file():
        set_seed(SEED)
        train_encoder(data, work, encoder)
    if not (work / RESULT).is_file():
        set_seed(SEED)
        train_detector(data, work, detector)


def publish(work: Path, folder: Path) -> None:
    """Write WORK's detector to FOLDER: in float16 all weights that are not
    convnext-emoji's own, the adapter, the configuration and the processor."""
    learned = load_file(work / RESULT)
    adapter = {name: t for name, t in learned.items() if ".lora_" in name}
    own = {name: t for name, t in learned.items() if name not in adapter}
    config = detector_config()
    config.architectures = ["RTDetrForObjectDetection"]
    processor = square_processor(SIZE, RTDetrImageProcessorPil, do_normalize=True)
    write_model(folder, own, config, processor)
    names = large_matrices(ConvNextBackbone(encoder_config()))
    lora = lora_config([ENCODER_PREFIX + name for name in names])
    write_adapter(folder, adapter, lora)


# Time of the committed run on one of two cores, the other busy with another training:
# 56 and 31 minutes (26 and 20 of the processor's, and a third of that again to compose
# the scenes). Its low-rank changes were torch parametrizations rather than peft's.
# Result: mAP at IoU 0.5 on 200 scenes of Twemoji's drawings, score.py: 0.789.
# The logs' last lines; each ends with the validation style, in 100 scenes:
#
#   3200 loss 0.203 3095 s (1433 of CPU)
#   3300 loss 0.198 3177 s (1477 of CPU)
#   3400 loss 0.202 3256 s (1521 of CPU)
#   3500 loss 0.203 3340 s (1566 of CPU)
#     streamline: {'recall': 0.706, 'precision': 0.671, 'ground': 1.0}
#
#   2200 loss 11.731 cells 0.188 loss_vfl 0.785 loss_bbox 0.300 loss_giou 0.333 1670 s
#       (1065 of CPU)
#   2300 loss 11.758 cells 0.195 loss_vfl 0.782 loss_bbox 0.303 loss_giou 0.336 1733 s
#       (1111 of CPU)
#   2400 loss 11.638 cells 0.195 loss_vfl 0.771 loss_bbox 0.299 loss_giou 0.334 1791 s
#       (1157 of CPU)
#   2500 loss 11.561 cells 0.185 loss_vfl 0.768 loss_bbox 0.294 loss_giou 0.329 1854 s
#       (1203 of CPU)
#     streamline: {'recall': 0.711, 'precision': 0.675, 'ground': 1.0}
