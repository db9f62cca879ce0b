"""Speech made by espeak-ng, with the time of each word and phoneme.

espeak-ng (GPL-3.0) is a shared library, called through ctypes: Debian's package
libespeak-ng1, Homebrew's espeak-ng, or its own installer on Windows.
"""

from __future__ import annotations

import ctypes
from ctypes.util import find_library

import numpy as np

# espeak's own numbers, from its header espeak/speak_lib.h.
WORD, PHONEME = 1, 7  # kinds of events
SPEED, PITCH, RANGE, GAP = 1, 3, 4, 7  # parameters


class Event(ctypes.Structure):
    """What espeak tells of a moment, as its header espeak/speak_lib.h has it."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("phoneme", ctypes.c_char * 8),
    ]


class Espeak:
    """One voice of espeak-ng. `say(text)` gives the sound and its events."""

    def __init__(self, voice: str, speed: int, pitch: int, range_: int, gap: int):
        """`speed` in words per minute, `gap` between words in steps of 10 ms.

        Raises FileNotFoundError without espeak-ng, ValueError for an unknown voice.
        """
        try:
            name = find_library("espeak-ng") or "libespeak-ng.so.1"
            self.library = ctypes.CDLL(name)
        except OSError as error:
            raise FileNotFoundError(
                "The speech synthesizer espeak-ng is not here. Install its shared "
                "library: Debian's package libespeak-ng1, Homebrew's espeak-ng."
            ) from error
        self.rate = self.library.espeak_Initialize(2, 0, None, 1)
        if self.library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(
                f"espeak-ng has no voice {voice!r}: see espeak-ng --voices"
            )
        settings = {SPEED: speed, PITCH: pitch, RANGE: range_, GAP: gap}
        for number, value in settings.items():
            self.library.espeak_SetParameter(number, value, 0)
        kind = ctypes.CFUNCTYPE(
            ctypes.c_int,
            ctypes.POINTER(ctypes.c_short),
            ctypes.c_int,
            ctypes.POINTER(Event),
        )
        self.callback = kind(self._take)  # kept, or it would be collected
        self.library.espeak_SetSynthCallback(self.callback)

    def _take(self, samples, count, events) -> int:
        if samples and count > 0:
            self.sound.append(np.ctypeslib.as_array(samples, (count,)).copy())
        place = 0
        while events[place].type != 0:
            e = events[place]
            found = (e.type, e.text_position, e.length, e.sample, e.phoneme.decode())
            self.events.append(found)
            place += 1
        return 0

    def say(self, text: str) -> tuple[np.ndarray, list[tuple]]:
        """Return (samples as int16 at `rate`, events in order: (type, place in the
        text from 1, length in letters, sample, phoneme))."""
        self.sound, self.events = [], []
        data = text.encode() + b"\0"
        size = ctypes.c_size_t(len(data))
        zero = ctypes.c_uint(0)
        self.library.espeak_Synth(
            data, size, zero, 1, zero, ctypes.c_uint(1), None, None
        )
        self.library.espeak_Synchronize()
        return np.concatenate(self.sound), list(self.events)
