"""Train vits-espeak: text to speech from nothing but espeak-ng's voice.

VITS (Kim et al., 2021) is the library's class, and its pipeline needs nothing else.
The library has no training loss for it, so this recipe uses its parts in another way,
without chance: the text encoder gives each letter a vector, each vector is repeated
for as many frames as the letter lasts, the flow turns those plain steps into a moving
spectrogram, and the decoder, a HiFi-GAN generator, turns that into a wave. espeak-ng
tells how long each phoneme lasts, so nothing has to be guessed or aligned while
training. There is no adversary: espeak-ng's voice is regular enough without one.

    python train.py data       make speech (needs Debian's libespeak-ng1; 10 minutes)
    python train.py decoder    spectrogram to wave
    python train.py acoustic   text to spectrogram
    python train.py joint      the decoder meets the spectrograms that the model makes
    python train.py save       write the model beside this file

`decoder` and `acoustic` may run side by side. Each goes on from its last checkpoint.
Sentences: clinc150 and banking77 in --data FOLDER, and strings of words drawn from
the package wordfreq by how often they are used. What else it needs: soxr, wordfreq.
Times, losses and the result stand at the end of this file.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import random
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy, l1_loss, mse_loss
from transformers import VitsConfig, VitsModel, set_seed
from transformers.audio_utils import mel_filter_bank

from helpers.catalogue import MODELS, NOTEBOOKS

PUBLISHED = MODELS / "vits-espeak"
WORK = NOTEBOOKS.parent / "build" / "vits-espeak"

from recipes.common import espeak as speech
from recipes.common import precision
from recipes.vits_espeak.tokenizer import LETTERS, new_tokenizer

SEED = 0
RATE, HOP, WINDOW, MELS = 16_000, 256, 1024, 80  # Whisper hears 16 kHz too
# Whisper reads espeak-ng's own voice with 19 to 24 words wrong of 100 at its usual
# settings, and with 7 to 8 when words stand a little apart and are spoken slowly.
VOICE = {"voice": "en-us", "speed": 130, "pitch": 40, "range_": 50, "gap": 2}
SENTENCES, STRINGS = 5000, 5000
QUIET = 16  # frames of silence at both ends, a quarter of a second
EXTRA = 48  # channels beside the spectrogram, free for the flow's own use
CHUNKS = 300  # kinds of phonemes that one letter can stand for
FLOOR = 1e-2  # of a spectrum's magnitude, where speech reaches 10 to 50
FRAMES = 5000  # a batch, in frames of 16 ms
ACOUSTIC = {"steps": 2000, "lr": 1e-3, "warmup": 150}
DECODER = {"steps": 1800, "lr": 8e-4, "warmup": 100, "batch": 16, "frames": 32}
JOINT = {"steps": 3600, "lr": 6e-4, "warmup": 20, "batch": 16, "frames": 32}


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


# ---------------------------------------------------------------- speech as data


def mel_of(wave: torch.Tensor) -> torch.Tensor:
    """Return the log-mel spectrogram, (..., samples) to (..., MELS, frames)."""
    spectrum = torch.stft(
        wave, WINDOW, HOP, window=torch.hann_window(WINDOW), return_complex=True
    ).abs()
    bank = mel_filter_bank(
        WINDOW // 2 + 1, MELS, 0, RATE / 2, RATE, norm="slaney", mel_scale="slaney"
    )
    mel = torch.from_numpy(bank.T).float() @ spectrum
    return torch.log(mel.clamp(min=1e-5))[..., :-1]


def texts(data: Path, read) -> list[str]:
    """Return the sentences to speak: requests, and strings of words."""
    from wordfreq import top_n_list, zipf_frequency

    rows = json.loads((data / "clinc150" / "data_full.json").read_text("utf-8"))
    found = [row[0] for split in ("train", "oos_train") for row in rows[split]]
    with (data / "banking77" / "train.csv").open(encoding="utf-8") as file:
        found += [row["text"] for row in csv.DictReader(file)]
    found = sorted({line for line in found if 3 <= len(line.split()) <= 16})
    random.shuffle(found)
    words = [w for w in top_n_list("en", 40_000) if w.isascii() and w.isalpha()]
    words = [w for w in words if len(w) > 1 or w in "ai"]
    # Rare words are drawn more often than they are used: they need the practice.
    weights = [10 ** (0.45 * zipf_frequency(w, "en")) for w in words]
    strings = []
    for _ in range(STRINGS):
        picked = random.choices(words, weights, k=random.randint(4, 9))
        mark = random.choices(" .?!", [6, 2, 1, 1])[0].strip()
        if len(picked) > 5 and random.random() < 0.3:
            picked[random.randint(1, 4)] += ","
        strings.append(" ".join(picked) + mark)
    return [read(line) for line in found[:SENTENCES] + strings]


def make_data(data: Path) -> None:
    """Speak all sentences; keep waves, spectrograms, letters, times and phonemes."""
    import soxr

    espeak = speech.Espeak(**VOICE)
    tokenizer = new_tokenizer()
    read = tokenizer.backend_tokenizer.normalizer.normalize_str
    spoken = []
    for line in texts(data, read):
        sound, events = espeak.say(line)
        words = speech.words_of(line, events, len(sound))
        if words:
            spoken.append((line, sound, words))
    pairs = {
        (line[first:last], tuple(p for p, _ in phonemes))
        for line, _, words in spoken
        for first, last, phonemes, _ in words
    }
    aligner = speech.Aligner()
    aligner.fit(random.sample(sorted(pairs), min(8000, len(pairs))))
    lines, names = [], []
    for line, sound, words in spoken:
        if found := speech.letter_starts(line, words, aligner, len(sound)):
            lines.append((line, sound, *found))
            names += found[1]
    kinds = [""] + sorted(set(names) - {""}, key=names.count, reverse=True)[
        : CHUNKS - 2
    ]
    number = {name: i for i, name in enumerate(kinds)}
    print(f"{len(lines)} lines of {len(spoken)}, {len(kinds)} kinds of letters")
    waves, mels, out = [], [], []
    for line, sound, starts, phonemes in lines:
        wave = soxr.resample(sound.astype(np.float32) / 32768, espeak.rate, RATE)
        frames = len(wave) // HOP
        edges = [round(start * RATE / espeak.rate / HOP) for start in starts] + [frames]
        for i in range(1, len(edges)):  # each letter lasts a frame at least
            edges[i] = max(edges[i], edges[i - 1] + 1)
        if edges[0] > 2 or edges[-1] > frames + 8:
            continue
        edges[0] = 0
        edge = np.zeros(QUIET * HOP, np.float32)
        body = np.zeros(edges[-1] * HOP, np.float32)
        body[: len(wave[: len(body)])] = wave[: len(body)]
        wave = np.concatenate([edge, body, edge])
        mel = mel_of(torch.from_numpy(wave)).half().numpy()
        out.append(
            {
                "ids": tokenizer(line)["input_ids"],
                "durations": [QUIET, *np.diff(edges).tolist(), QUIET],
                "phonemes": [0, *(number.get(p, CHUNKS - 1) for p in phonemes), 0],
            }
        )
        waves.append((wave * 32767).astype(np.int16))
        mels.append(mel)
    WORK.mkdir(parents=True, exist_ok=True)
    np.save(WORK / "waves.npy", np.concatenate(waves))
    np.save(WORK / "mels.npy", np.concatenate(mels, axis=1))
    (WORK / "lines.json").write_text(json.dumps(out))
    hours = sum(len(wave) for wave in waves) / RATE / 3600
    print(f"{len(out)} lines, {hours:.2f} hours")


class Data:
    """The spoken lines. The last 100 are held out."""

    def __init__(self) -> None:
        self.lines = json.loads((WORK / "lines.json").read_text())
        self.mels = np.load(WORK / "mels.npy", mmap_mode="r")
        self.waves = np.load(WORK / "waves.npy", mmap_mode="r")
        sizes = [sum(line["durations"]) for line in self.lines]
        self.ends = np.cumsum(sizes)
        self.starts = self.ends - sizes
        some = torch.from_numpy(self.mels[:, ::97].astype(np.float32))
        self.mean, self.scale = some.mean().item(), some.std().item()
        order = list(range(len(self.lines)))
        random.Random(SEED).shuffle(order)
        self.train, self.held = order[:-100], order[-100:]

    def mel(self, start: int, end: int) -> torch.Tensor:
        mel = torch.from_numpy(self.mels[:, start:end].astype(np.float32))
        return (mel - self.mean) / self.scale

    def wave(self, start: int, end: int) -> torch.Tensor:
        wave = self.waves[start * HOP : end * HOP].astype(np.float32)
        return torch.from_numpy(wave / 32767)

    def batches(self):
        """Yield batches of lines of like length, for ever."""
        while True:
            random.shuffle(self.train)
            chosen = sorted(
                self.train,
                key=lambda i: self.ends[i] - self.starts[i] + random.gauss(0, 15),
            )
            batch, batches = [], []
            for i in chosen:
                longest = max(self.ends[j] - self.starts[j] for j in [*batch, i])
                if longest * (len(batch) + 1) > FRAMES:
                    batches.append(batch)
                    batch = []
                batch.append(i)
            random.shuffle(batches)
            yield from batches

    def collate(self, batch: list[int]) -> dict[str, torch.Tensor]:
        def pad(rows):
            rows = [torch.as_tensor(row) for row in rows]
            return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)

        out = {
            key: pad([self.lines[i][key] for i in batch])
            for key in ("ids", "durations", "phonemes")
        }
        mels = [self.mel(self.starts[i], self.ends[i]).T for i in batch]
        return out | {"mels": pad(mels).transpose(1, 2)}


# ---------------------------------------------------------------------- training


def latents_of(model, heads, ids, durations) -> tuple[torch.Tensor, ...]:
    """Do what VitsModel.forward does up to the decoder, with the durations given.

    Returns (latents (batch, flow_size, frames), log durations (batch, letters),
    phoneme logits (batch, letters, CHUNKS)).
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
    rows = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).transpose(1, 2)
    lengths = durations.sum(1)
    there = torch.arange(rows.shape[2])[None] < lengths[:, None]
    latents = model.flow(rows, there[:, None].float(), reverse=True)
    return latents, logs.squeeze(1), heads(hidden), there


def rate_at(step: int, plan: dict) -> float:
    """Warm up, then fall to a hundredth along half a cosine."""
    if step < plan["warmup"]:
        return step / plan["warmup"]
    done = (step - plan["warmup"]) / (plan["steps"] - plan["warmup"])
    return 0.01 + 0.99 * (1 + math.cos(math.pi * min(1.0, done))) / 2


def run(name: str, parts: torch.nn.Module, plan: dict, loss_of, report) -> None:
    """Train `parts` by `loss_of(step)`; keep a checkpoint every 250 steps."""
    weights = [p for p in parts.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        weights, plan["lr"], betas=(0.9, 0.98), weight_decay=0.01
    )
    place, step, start = WORK / f"{name}.pt", 0, time.time()
    if place.exists():
        kept = torch.load(place, weights_only=True)
        parts.load_state_dict(kept["parts"])
        optimizer.load_state_dict(kept["optimizer"])
        step = kept["step"]
    sums = {}
    while step < plan["steps"]:
        losses = loss_of(step)
        optimizer.param_groups[0]["lr"] = plan["lr"] * rate_at(step, plan)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        step += 1
        for key, value in losses.items():
            sums[key] = 0.98 * sums.get(key, value.item()) + 0.02 * value.item()
        if step % 50 == 0:
            said = " ".join(f"{key} {value:.3f}" for key, value in sums.items())
            print(f"{name} {step}: {said} ({time.time() - start:.0f} s)", flush=True)
        if step % 250 == 0 or step == plan["steps"]:
            kept = {"parts": parts.state_dict(), "optimizer": optimizer.state_dict()}
            kept["step"] = step
            torch.save(kept, place.with_suffix(".part"))
            place.with_suffix(".part").replace(place)
            report()


def spectral_loss(made: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Compare waves by spectrograms at four resolutions (Yamamoto et al., 2020)."""
    loss = 0.0
    for size, hop in ((256, 64), (512, 128), (1024, 256), (2048, 512)):
        window = torch.hann_window(size)
        spectra = [
            torch.stft(w, size, hop, window=window, return_complex=True)
            for w in (made, real)
        ]
        # What is quieter than FLOOR cannot be heard, and is not worth a lesson.
        a, b = ((s.real**2 + s.imag**2 + FLOOR**2).sqrt() for s in spectra)
        loss = loss + (a - b).norm() / b.norm() + l1_loss(a.log(), b.log())
    return loss / 4


def train_acoustic(data: Data, model: VitsModel) -> None:
    heads = torch.nn.Linear(model.config.hidden_size, CHUNKS)  # dropped afterwards
    parts = torch.nn.ModuleList(
        [model.text_encoder, model.duration_predictor, model.flow, heads]
    )
    batches = data.batches()

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

    def loss_of(step: int) -> dict[str, torch.Tensor]:
        parts.train()
        return losses(data.collate(next(batches)))

    @torch.no_grad()
    def report() -> None:
        parts.eval()
        total = [losses(data.collate(data.held[i : i + 20])) for i in range(0, 100, 20)]
        said = {key: sum(row[key].item() for row in total) / 5 for key in total[0]}
        print("held out:", {key: round(value, 4) for key, value in said.items()})

    run("acoustic", parts, ACOUSTIC, loss_of, report)


def pieces(data: Data, plan: dict, latents=None) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut short pieces of latents and their waves, four of a line; the latents are
    true spectrograms or, where `latents(line)` is given, what the model makes."""
    ins, outs, size = [], [], plan["frames"]
    while len(ins) < plan["batch"]:
        i = random.choice(data.train)
        first, last = data.starts[i], data.ends[i]
        if latents is None:
            mel = data.mel(first, last)
            whole = torch.cat([mel, torch.zeros(EXTRA, last - first)])
        else:
            whole = latents(i)
        for _ in range(4):
            start = random.randrange(last - first - size)
            ins.append(whole[:, start : start + size])
            outs.append(data.wave(first + start, first + start + size))
    return torch.stack(ins), torch.stack(outs)


def train_decoder(data: Data, model: VitsModel) -> None:
    def loss_of(step: int) -> dict[str, torch.Tensor]:
        latents, waves = pieces(data, DECODER)
        with precision.autocast():
            made = model.decoder(latents).squeeze(1)
        return {"spectral": spectral_loss(made.float(), waves)}

    run("decoder", model.decoder, DECODER, loss_of, lambda: None)


def load_parts(model: VitsModel, *names: str) -> None:
    """Put trained parts into the model, the newest last."""
    for name in names:
        kept = torch.load(WORK / f"{name}.pt", weights_only=True)["parts"]
        if name == "acoustic":
            parts = {"0": "text_encoder", "1": "duration_predictor", "2": "flow"}
            kept = {
                f"{parts[key.split('.')[0]]}.{key.split('.', 1)[1]}": value
                for key, value in kept.items()
                if key.split(".")[0] in parts
            }
        else:
            kept = {f"decoder.{key}": value for key, value in kept.items()}
        if name == "decoder":  # it has met nothing in the flow's own channels
            kept["decoder.conv_pre.weight"][:, MELS:] = 0
        model.load_state_dict(kept, strict=False)


def train_joint(data: Data, model: VitsModel) -> None:
    load_parts(model, "acoustic", "decoder")
    model.eval()
    heads = torch.nn.Linear(model.config.hidden_size, CHUNKS)

    @torch.no_grad()
    def latents(i: int) -> torch.Tensor:
        line = data.lines[i]
        ids, times = torch.tensor([line["ids"]]), torch.tensor([line["durations"]])
        return latents_of(model, heads, ids, times)[0][0]

    def loss_of(step: int) -> dict[str, torch.Tensor]:
        ins, waves = pieces(data, JOINT, latents)
        with precision.autocast():
            made = model.decoder(ins).squeeze(1)
        return {"spectral": spectral_loss(made.float(), waves)}

    run("joint", model.decoder, JOINT, loss_of, lambda: None)


def save(model: VitsModel, folder: Path) -> None:
    """Write the model in half precision and its tokenizer."""
    load_parts(model, "acoustic", "decoder")
    if (WORK / "joint.pt").exists():
        load_parts(model, "joint")
    model.eval().half().save_pretrained(folder)
    new_tokenizer().save_pretrained(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "stage", choices=("data", "decoder", "acoustic", "joint", "save")
    )
    parser.add_argument("--data", type=Path, help="folder with clinc150 and banking77")
    parser.add_argument("--to", type=Path, default=PUBLISHED)
    asked = parser.parse_args()
    set_seed(SEED)
    if asked.stage == "data":
        return make_data(asked.data)
    model = VitsModel(config())
    if asked.stage == "save":
        return save(model, asked.to)
    stage = {"decoder": train_decoder, "acoustic": train_acoustic, "joint": train_joint}
    stage[asked.stage](Data(), model)


if __name__ == "__main__":
    main()

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
