"""Numbers of 16 bits in training, where the processor multiplies them faster.

A processor with AMX or AVX-512 multiplies bfloat16 in a fraction of the time that
float32 takes; one without them has to take a detour that is tens of times slower.
"""

from __future__ import annotations

import time

import torch


def seconds(dtype: torch.dtype, size: int = 512) -> float:
    """Return what one product of two square matrices takes, the least of three."""
    one, times = torch.ones(size, size, dtype=dtype), []
    for _ in range(4):  # the first one prepares
        start = time.perf_counter()
        one @ one
        times.append(time.perf_counter() - start)
    return min(times[1:])


DTYPE = min(torch.bfloat16, torch.float32, key=seconds)


def autocast(enabled: bool = True) -> torch.autocast:
    """Return a context in which matrices are multiplied in DTYPE."""
    enabled = enabled and DTYPE == torch.bfloat16
    return torch.autocast("cpu", torch.bfloat16, enabled)
