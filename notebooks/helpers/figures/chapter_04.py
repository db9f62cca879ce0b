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


def plot_piece(piece, strengths) -> None:
    """Draw a piece of a sound, and beside it the strength of each tone in it.

    `piece` holds samples at 16,000 per second, `strengths` the Fourier transform's
    values from 0 to 8,000 Hz. Used in notebook 04.
    """
    import matplotlib.pyplot as plt
    import numpy as np

    _, (left, right) = plt.subplots(1, 2, figsize=(6.5, 2.4))
    left.plot(1000 * np.arange(len(piece)) / RATE, piece)
    left.set(xlabel="milliseconds", title="the piece")
    right.plot(np.linspace(0, RATE / 2, len(strengths)), strengths)
    right.set(xlabel="Hz", title="how strong each tone is", ylim=(0, None))
    plt.show()


def name_pitches(axes, pitches: int) -> None:
    """Label the vertical axis of mel features with frequencies."""
    import numpy as np
    from transformers.audio_utils import hertz_to_mel

    shown = np.array([500.0, 1000.0, 2000.0, 4000.0, 8000.0])
    mels = hertz_to_mel(shown, mel_scale="slaney")
    # The filters' middles stand evenly between 0 and 8,000 Hz on the mel scale.
    places = mels / mels[-1] * (pitches + 1) - 0.5
    axes.set_yticks(places.clip(0, pitches), [f"{hertz:,.0f}" for hertz in shown])
    axes.set_ylabel("pitch in Hz")


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
    axes.set(xlabel="seconds")
    name_pitches(axes, len(mel))
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
    below.set(xlabel="seconds")
    name_pitches(below, len(shown))
    plt.show()


def plot_costs(costs) -> None:
    """Draw for each task the seconds of an answer and the memory of its process.

    `costs` is a frame with `task`, `parameters`, `answer` (seconds), `gb`, and one row
    `libraries`. A black mark says what libraries and weights (four bytes per parameter)
    would take. Used in notebook 04.
    """
    import matplotlib.pyplot as plt

    bare = costs["task"] == "libraries"
    tasks = costs[~bare].sort_values("answer")
    _, (left, right) = plt.subplots(1, 2, sharey=True, figsize=(7.5, 4.4))
    left.grid(axis="x", alpha=0.4)
    rows = range(len(tasks))  # a text at a name fails in Matplotlib 3.8 with NumPy 2.4
    left.set_yticks(rows, tasks["task"])
    left.plot(tasks["answer"], rows, "o")
    for row, seconds in zip(rows, tasks["answer"], strict=True):
        left.text(1.3 * seconds, row, f"{seconds:.2f}", va="center", fontsize=10)
    left.set(xscale="log", xlim=(0.005, 8), title="seconds of one core")
    ticks = [0.01, 0.1, 1]
    left.set_xticks(ticks, [str(tick) for tick in ticks])
    left.tick_params(axis="x", which="minor", bottom=False)
    bars = right.barh(rows, tasks["gb"], color="C1", height=0.6)
    right.bar_label(bars, fmt="%.1f", padding=6, fontsize=10)
    known = costs[bare]["gb"].item() + 4 * tasks["parameters"] / 1e9
    right.plot(
        known,
        rows,
        "k|",
        markersize=13,
        markeredgewidth=2,
        label="libraries\nand weights",
    )
    right.legend(loc="center right", fontsize=9)
    right.set(title="GB of memory at most", xlim=(0, 1.2 * tasks["gb"].max()))
    plt.show()
