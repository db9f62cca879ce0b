"""Sound as the speech models want it: one channel, 16,000 numbers a second."""

from __future__ import annotations

from pathlib import Path

from .errors import HelperError

RATE = 16_000


def sound(source, rate: int | None = None) -> dict:
    """Return {"raw": array, "sampling_rate": 16000}, what the audio pipelines take.

    `source` is a WAV, FLAC or OGG file, or an array of samples in [-1, 1], shape
    (samples,) or (samples, channels), with its `rate` in Hz. Channels are averaged,
    other rates resampled with soxr. Taught in notebook 04.

    Raises HelperError for what is no sound: an unreadable file, an array without its
    rate, of no samples, of another shape, or with NaN or infinity in it.
    """
    import numpy as np
    import soundfile
    import soxr

    said = "an array"
    if isinstance(source, (str, Path)):
        said = str(source)
        try:
            source, rate = soundfile.read(source, dtype="float32")
        except (soundfile.SoundFileError, OSError, TypeError) as error:
            raise HelperError(
                f"{said} cannot be read as sound: {error}. "
                "Expected a WAV, FLAC or OGG file."
            ) from None
    samples = np.asarray(source, dtype="float32")
    if rate is None or rate <= 0:
        raise HelperError(
            f"sound() was given {said} and the rate {rate}, not one in Hz."
        )
    if samples.ndim == 2 and samples.shape[0] >= samples.shape[1] > 0:
        samples = samples.mean(axis=1)
    if samples.ndim != 1 or samples.size == 0:
        raise HelperError(
            f"sound() was given {said} of shape {samples.shape}. "
            "Expected (samples,) or (samples, channels), with samples in it."
        )
    if bad := int((~np.isfinite(samples)).sum()):
        raise HelperError(
            f"sound() was given {said} with {bad} values "
            "that are NaN or infinite. Replace them, or record again."
        )
    if rate != RATE:
        samples = soxr.resample(samples, rate, RATE)
    return {"raw": samples, "sampling_rate": RATE}
