"""Chapter 04: waveforms, log-mel features, and what each task costs."""

from __future__ import annotations

from collections.abc import Mapping

RATE = 16_000  # samples per second


def plot_waves(clips: Mapping[str, object]) -> None:
    """Draw waveforms below one another on one scale of seconds, each with its title.

    `clips` holds arrays of samples at 16,000 per second. Used in notebook 04.
    """
    import matplotlib.pyplot as plt
    import numpy as np

    _, rows = plt.subplots(
        len(clips), sharex=True, figsize=(6.5, 0.6 + 1.1 * len(clips)), squeeze=False
    )
    for axes, (title, audio) in zip(rows[:, 0], clips.items(), strict=True):
        axes.plot(np.arange(len(audio)) / RATE, audio, linewidth=0.5)
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_yticks([])
    rows[-1, 0].set_xlabel("seconds")
    plt.show()


def plot_mel(mel, windows: int) -> None:
    """Draw the first `windows` columns of log-mel features, shape (pitches, windows).

    Used in notebook 04.
    """
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(figsize=(6.5, 2.6))
    image = axes.imshow(
        mel[:, :windows],
        origin="lower",
        aspect="auto",
        interpolation="none",
        extent=(0, windows / 100, 0, len(mel)),
    )
    axes.set(xlabel="seconds", ylabel="pitch, low to high")
    axes.figure.colorbar(image, label="how strong (log)")
    plt.show()


def uploaded(file) -> object:
    """Return the samples of a sound that somebody gave to an upload button, 16,000
    per second. Raises HelperError for what is no sound. Used in notebook 04.
    """
    import io

    import soundfile

    from ..audio import sound

    content = io.BytesIO(bytes(file[0]["content"]))
    return sound(*soundfile.read(content, dtype="float32"))["raw"]


def plot_sound(audio, title: str) -> None:
    """Draw a sound as a waveform and as log-mel features, below a title.

    `audio` is an array of samples at 16,000 per second. Used in notebook 04.
    """
    import matplotlib.pyplot as plt
    import numpy as np
    from transformers import WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor(chunk_length=1 + len(audio) // RATE)
    mel = extractor(audio, sampling_rate=RATE, return_tensors="np")
    seconds = len(audio) / RATE
    figure, (above, below) = plt.subplots(2, sharex=True, figsize=(6.5, 3.2))
    figure.suptitle(title, fontsize=10, wrap=True)
    above.plot(np.arange(len(audio)) / RATE, audio, linewidth=0.5)
    above.set_yticks([])
    shown = mel["input_features"][0][:, : max(1, int(seconds * 100))]
    below.imshow(
        shown[:, ::2],
        origin="lower",
        aspect="auto",
        interpolation="none",
        extent=(0, seconds, 0, len(shown)),
    )
    below.set(xlabel="seconds", ylabel="pitch")
    plt.show()


def plot_costs(costs) -> None:
    """Draw for each task the seconds of an answer and the memory of its process.

    `costs` is a frame with `task`, `answer` (seconds), `gb`, and one row `libraries`,
    drawn as a line. Used in notebook 04.
    """
    import matplotlib.pyplot as plt

    bare = costs["task"] == "libraries"
    tasks = costs[~bare].sort_values("answer")
    _, (left, right) = plt.subplots(1, 2, sharey=True, figsize=(7.5, 4))
    bars = left.barh(tasks["task"], tasks["answer"])
    left.bar_label(bars, fmt="%.2f", padding=3, fontsize=9)
    left.set(xlabel="seconds of one core per answer")
    left.set_xlim(0, 1.15 * tasks["answer"].max())
    bars = right.barh(tasks["task"], tasks["gb"], color="C1")
    right.bar_label(bars, fmt="%.2f", padding=3, fontsize=9)
    right.axvline(costs[bare]["gb"].item(), color="black", linestyle="--")
    right.set(xlabel="GB at most; dashed: no model", xlim=(0, 1.2 * tasks["gb"].max()))
    plt.show()
