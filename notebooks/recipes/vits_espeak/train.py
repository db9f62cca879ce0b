"""Train vits-espeak: text to speech from nothing but espeak-ng's voice.

VITS (Kim et al., 2021) is the library's class, and its pipeline needs nothing else.
The library has no training loss for it, so this recipe uses its parts in another way,
without chance: the text encoder gives each letter a vector, each vector is repeated
for as many frames as the letter lasts, the flow turns those plain steps into a moving
spectrogram, and the decoder, a HiFi-GAN generator, turns that into a wave. espeak-ng
tells how long each phoneme lasts, so nothing has to be guessed or aligned while
training. There is no adversary: espeak-ng's voice is regular enough without one.

Four stages, each going on from its last checkpoint: speech is made (spoken.py); the
decoder learns from true spectrograms, the rest to make spectrograms of text; at last
the decoder meets the spectrograms that the model makes.

Times, losses and the result stand at the end of this file.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy, l1_loss, mse_loss
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    VitsConfig,
    VitsModel,
    get_cosine_with_min_lr_schedule_with_warmup,
    set_seed,
)

from recipes.common import precision
from recipes.common.publish import write_tensors
from recipes.common.training import Trainer
from recipes.vits_espeak.spoken import CHUNKS, MELS, RATE, SEED, SpokenLines, make
from recipes.vits_espeak.tokenizer import LETTERS, new_tokenizer

EXTRA = 48  # channels beside the spectrogram, free for the flow's own use
FLOOR = 1e-2  # of a spectrum's magnitude, where speech reaches 10 to 50
LOWEST = 0.01  # of the learning rate, at the end of half a cosine
ACOUSTIC = {"steps": 2000, "lr": 1e-3, "warmup": 150}
DECODER = {"steps": 1800, "lr": 8e-4, "warmup": 100, "batch": 16, "frames": 32}
JOINT = {"steps": 3600, "lr": 6e-4, "warmup": 20, "batch": 16, "frames": 32}
PIECES = 4  # of a line, in a batch of the decoder
# The parts of the model that the stage "acoustic" trains, in its module's order.
ACOUSTIC_PARTS = ["text_encoder", "duration_predictor", "flow"]


def config() -> VitsConfig:
    """Return the model's shape: 7.1 M parameters."""
    return VitsConfig(
        vocab_size=len(LETTERS) + 3,
        pad_token_id=0,
        hidden_size=160,
        num_hidden_layers=4,
        ffn_dim=512,
        layerdrop=0.0,
        flow_size=MELS + EXTRA,
        # The flow sees 31 frames, half a second, in each of its four steps.
        prior_encoder_num_flows=4,
        prior_encoder_num_wavenet_layers=4,
        wavenet_kernel_size=3,
        wavenet_dilation_rate=2,
        # Not used without variational training, so kept as small as can be.
        posterior_encoder_num_wavenet_layers=1,
        spectrogram_bins=1,
        use_stochastic_duration_prediction=False,
        duration_predictor_filter_channels=192,
        duration_predictor_dropout=0.1,
        upsample_initial_channel=128,
        upsample_rates=[8, 8, 2, 2],
        upsample_kernel_sizes=[16, 16, 4, 4],
        noise_scale=0.0,
        sampling_rate=RATE,
    )


def latents_of(model, heads, ids, durations) -> tuple[torch.Tensor, ...]:
    """Do what VitsModel.forward does up to the decoder, with the durations given.

    Returns (latents (batch, flow_size, frames), log durations (batch, letters),
    phoneme logits (batch, letters, CHUNKS), where there is a frame (batch, frames)).
    """
    mask = (ids != 0).unsqueeze(-1).float()
    encoded = model.text_encoder(
        input_ids=ids, padding_mask=mask, attention_mask=(ids != 0).long()
    )
    hidden = encoded.last_hidden_state
    logs = model.duration_predictor(hidden.transpose(1, 2), mask.transpose(1, 2))
    rows = [
        means.repeat_interleave(times, dim=0)
        for means, times in zip(encoded.prior_means, durations, strict=True)
    ]
    rows = pad_sequence(rows, batch_first=True).transpose(1, 2)
    lengths = durations.sum(1)
    there = torch.arange(rows.shape[2])[None] < lengths[:, None]
    latents = model.flow(rows, there[:, None].float(), reverse=True)
    return latents, logs.squeeze(1), heads(hidden), there


def spectral_loss(made: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Compare waves by spectrograms at four resolutions (Yamamoto et al., 2020)."""
    loss = 0.0
    for size, hop in ((256, 64), (512, 128), (1024, 256), (2048, 512)):
        window = torch.hann_window(size)
        spectra = [
            torch.stft(w, size, hop, window=window, return_complex=True)
            for w in (made, real)
        ]
        # What is quieter than FLOOR cannot be heard, and is not worth learning.
        a, b = ((s.real**2 + s.imag**2 + FLOOR**2).sqrt() for s in spectra)
        loss = loss + (a - b).norm() / b.norm() + l1_loss(a.log(), b.log())
    return loss / 4


def trainer(module: torch.nn.Module, plan: dict, path: Path) -> Trainer:
    """Return what trains a module by a plan, with checkpoints in `path`."""
    weights = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        weights, plan["lr"], betas=(0.9, 0.98), weight_decay=0.01
    )
    schedule = get_cosine_with_min_lr_schedule_with_warmup(
        optimizer, plan["warmup"], plan["steps"], min_lr_rate=LOWEST
    )
    return Trainer(module, optimizer, schedule, plan["steps"], path)


def train_acoustic(lines: SpokenLines, model: VitsModel, work: Path) -> None:
    """Learn to make spectrograms of text; write WORK/acoustic.safetensors."""
    heads = torch.nn.Linear(model.config.hidden_size, CHUNKS)  # dropped afterwards
    parts = torch.nn.ModuleList(
        [*(model.get_submodule(name) for name in ACOUSTIC_PARTS), heads]
    )

    def losses(batch: dict) -> dict[str, torch.Tensor]:
        with precision.autocast():
            latents, logs, phonemes, there = latents_of(
                model, heads, batch["ids"], batch["durations"]
            )
        letters = batch["ids"] != 0
        target = torch.log(batch["durations"].float() - 0.5)
        mels = batch["mels"].transpose(1, 2)[there]
        return {
            "mel": l1_loss(latents[:, :MELS].float().transpose(1, 2)[there], mels),
            "time": 0.3 * mse_loss(logs.float()[letters], target[letters]),
            "letters": 0.2
            * cross_entropy(phonemes.float()[letters], batch["phonemes"][letters]),
        }

    def loss_of(batch: list[int]) -> dict[str, torch.Tensor]:
        parts.train()
        return losses(lines.collate(batch))

    @torch.no_grad()
    def report(step: int) -> None:
        parts.eval()
        batches = [lines.held[i : i + 20] for i in range(0, len(lines.held), 20)]
        found = [losses(lines.collate(batch)) for batch in batches]
        said = {key: sum(row[key].item() for row in found) for key in found[0]}
        means = {key: round(value / len(found), 4) for key, value in said.items()}
        print("held out:", means, flush=True)

    trainer(parts, ACOUSTIC, work / "acoustic.pt").run(
        lambda step: lines.epoch(), loss_of, report
    )
    write_tensors(parts.state_dict(), work / "acoustic.safetensors")


def pieces(
    lines: SpokenLines,
    plan: dict,
    latents: Callable[[int], torch.Tensor] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut short pieces of latents and their waves, PIECES of a line; the latents are
    true spectrograms or, where `latents(line)` is given, what the model makes."""
    ins, outs, size = [], [], plan["frames"]
    while len(ins) < plan["batch"]:
        i = random.choice(lines.train)
        first, last = lines.starts[i], lines.ends[i]
        if latents is None:
            mel = lines.mel(first, last)
            whole = torch.cat([mel, torch.zeros(EXTRA, last - first)])
        else:
            whole = latents(i)
        for _ in range(PIECES):
            start = random.randrange(last - first - size)
            ins.append(whole[:, start : start + size])
            outs.append(lines.wave(first + start, first + start + size))
    return torch.stack(ins), torch.stack(outs)


def fit_decoder(model: VitsModel, draw, plan: dict, path: Path) -> None:
    """Train the decoder on the (latents, waves) that `draw()` gives; write it beside
    its checkpoint, as a safetensors file."""

    def loss_of(batch: tuple[torch.Tensor, torch.Tensor]) -> dict[str, torch.Tensor]:
        latents, waves = batch
        with precision.autocast():
            made = model.decoder(latents).squeeze(1)
        return {"spectral": spectral_loss(made.float(), waves)}

    trainer(model.decoder, plan, path).run(lambda step: [draw()], loss_of)
    write_tensors(model.decoder.state_dict(), path.with_suffix(".safetensors"))


def train_decoder(lines: SpokenLines, model: VitsModel, work: Path) -> None:
    """Learn to make waves of true spectrograms."""
    fit_decoder(model, lambda: pieces(lines, DECODER), DECODER, work / "decoder.pt")


def train_joint(lines: SpokenLines, model: VitsModel, work: Path) -> None:
    """Learn to make waves of the spectrograms that the model makes."""
    load_parts(model, work, "acoustic", "decoder")
    model.eval()
    heads = torch.nn.Linear(model.config.hidden_size, CHUNKS)

    @torch.no_grad()
    def latents(i: int) -> torch.Tensor:
        line = lines.lines[i]
        ids, times = torch.tensor([line["ids"]]), torch.tensor([line["durations"]])
        return latents_of(model, heads, ids, times)[0][0]

    fit_decoder(model, lambda: pieces(lines, JOINT, latents), JOINT, work / "joint.pt")


def load_parts(model: VitsModel, work: Path, *names: str) -> None:
    """Put trained parts into the model, the newest last."""
    for name in names:
        kept = load_file(work / f"{name}.safetensors")
        if name == "acoustic":
            parts = {str(i): part for i, part in enumerate(ACOUSTIC_PARTS)}
            split = [(key.partition("."), value) for key, value in kept.items()]
            kept = {
                f"{parts[at]}.{rest}": value
                for (at, _, rest), value in split
                if at in parts
            }
        else:
            kept = {f"decoder.{key}": value for key, value in kept.items()}
        if name == "decoder":  # it has met nothing in the flow's own channels
            kept["decoder.conv_pre.weight"][:, MELS:] = 0
        model.load_state_dict(kept, strict=False)


def train(data: Path, work: Path) -> None:
    """Make the speech and run the three stages, in `work`."""
    set_seed(SEED)
    if not (work / "lines.json").exists():
        make(data, work)
    lines = SpokenLines(work)
    for stage in (train_decoder, train_acoustic, train_joint):
        set_seed(SEED)
        stage(lines, VitsModel(config()), work)


def publish(work: Path, folder: Path) -> None:
    """Write the model in half precision and its tokenizer."""
    model = VitsModel(config())
    load_parts(model, work, "acoustic", "decoder", "joint")
    model.eval().half().save_pretrained(folder)
    new_tokenizer().save_pretrained(folder)


# What it printed, on cores shared with other work: data 205 s; decoder 1,800 steps,
# the first 1,250 with a loss that also counted silence; acoustic 2,000 steps, the
# first 750 on a schedule of 3,500; joint 3,600 steps. About 75 minutes of one core.
#   7526 lines, 9.14 hours
#   decoder 1800: spectral 1.346
#   acoustic 2000: mel 0.102 time 0.028 letters 0.016
#   held out: {'mel': 0.0996, 'time': 0.0234, 'letters': 0.0201}
#   joint 3600: spectral 1.234
# Result: Whisper, with five beams, reads back 15 sentences with 18.5 words wrong of
# 100 (22.6 after 1,800 joint steps, 30.1 before them), 30 others with 18.8.
