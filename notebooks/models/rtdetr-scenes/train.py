"""Train rtdetr-scenes: find things in composed scenes and name them.

RT-DETR (Zhao et al., 2024) on top of the encoder of convnext-emoji: one query a
thing. Of the transformer detectors it learns fastest, since its queries start at the
places that look like something, and since it trains on noised boxes too. The last
stage of the encoder learns beside it, and has a lesson of its own, ../scenes/eye.py:
fastvlm-scenes sees with the same eye.

    python train.py --data FOLDER --encoder FOLDER --work FOLDER

The first folder is what ../pictures/world.py makes; checkpoints go to the last.

Time, result and the last lines of the log stand at the end of this file.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import (
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrImageProcessorPil,
    get_cosine_schedule_with_warmup,
    set_seed,
)

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "scenes"))

from eye import (
    SEED,
    WATCH,
    WIDTHS,
    Lesson,
    awaken,
    by_cell,
    eye_config,
    frozen,
    groups,
    loader,
)
from scenes import NAMES, SIZE, compose, rendered

# The eye has learned already: a third of the new parts' learning rate.
DETECTOR = {"batch": 16, "steps": 1800, "lr": 1e-3, "eye_lr": 3e-4, "things": (2, 6)}
LESSON = 2.0  # how much the eye's own lesson counts, beside losses of about 20 in sum
SHARED = ("embeddings.", "encoder.stages.0.", "encoder.stages.1.", "encoder.stages.2.")


def detector_config() -> RTDetrConfig:
    """Return a small RT-DETR: width 96, three decoder layers, 30 queries."""
    return RTDetrConfig(
        backbone_config=eye_config(),
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


def save(model: RTDetrForObjectDetection, folder: Path) -> None:
    """Write what is committed: config, processor, and in float16 all weights that are
    not convnext-emoji's own."""
    own = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in model.state_dict().items()
        if not name.removeprefix("model.backbone.model.").startswith(SHARED)
    }
    model.config.save_pretrained(folder)
    RTDetrImageProcessorPil(
        size={"height": SIZE, "width": SIZE},
        do_normalize=True,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    ).save_pretrained(folder)
    save_file(own, folder / "tuned.safetensors", metadata={"format": "pt"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--encoder", type=Path, default=HERE.parent / "convnext-emoji")
    parser.add_argument("--work", type=Path, required=True, help="for checkpoints")
    parser.add_argument("--steps", type=int, default=DETECTOR["steps"])
    parser.add_argument("--goes-on", action="store_true", help="from a checkpoint")
    asked = parser.parse_args()
    set_seed(SEED)
    asked.work.mkdir(parents=True, exist_ok=True)
    out, steps = asked.work / "detector.pt", asked.steps
    model, lesson = RTDetrForObjectDetection(detector_config()), Lesson()
    eye = model.model.backbone.model
    if asked.goes_on:
        before = torch.load(out)
        model.load_state_dict(before["model"])
        lesson.load_state_dict(before["lesson"])
    awaken(eye, asked.encoder, last=not asked.goes_on)
    maps: list[torch.Tensor] = []
    eye.register_forward_hook(lambda _, __, output: maps.extend(output.feature_maps))
    parts = model.model.named_children()
    rest = nn.ModuleList(part for name, part in parts if name != "backbone")
    lr, eye_lr = DETECTOR["lr"], DETECTOR["eye_lr"]
    optimizer = torch.optim.AdamW(groups([(eye, eye_lr), (lesson, lr), (rest, lr)]))
    schedule = get_cosine_schedule_with_warmup(optimizer, 50, steps)
    drawings = rendered(asked.data, [WATCH])
    watch = [compose(seed, drawings) for seed in range(100)]
    start, mean = time.time(), {}
    how = DETECTOR | {"steps": steps}
    for step, batch in enumerate(
        loader(asked.data, 10**6 + asked.goes_on * 10**6, how), 1
    ):
        model.train()
        for part in frozen(eye):
            part.eval()
        maps.clear()
        with torch.autocast("cpu", torch.bfloat16):
            found = model(batch["pixels"], labels=batch["labels"])
        own = lesson(maps[-1], batch)
        loss = found.loss.float() + LESSON * own
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        now = {"loss": loss.item(), "lesson": own.item()} | {
            key: found.loss_dict[key].item()
            for key in ("loss_vfl", "loss_bbox", "loss_giou")
        }
        for key, value in now.items():
            old = mean.setdefault(key, value)
            mean[key] = old + (value - old) * max(0.02, 1 / step)
        if step % 50 == 0:
            said = " ".join(f"{key} {value:.3f}" for key, value in mean.items())
            seconds = f"{time.time() - start:.0f} s ({time.process_time():.0f} of CPU)"
            print(f"{step} {said} {seconds}", flush=True)
        if step % 100 == 0 or step == steps:
            state = {"model": model.state_dict(), "lesson": lesson.state_dict()}
            torch.save(state, out)
            model.eval()
            if step % 300 == 0:
                print(f"  {WATCH}: {by_cell(eye, lesson, watch)}", flush=True)
    save(model, HERE)


if __name__ == "__main__":
    main()
