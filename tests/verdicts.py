"""What `check` must print for an answer that is wrong."""

from __future__ import annotations


def assert_pointer(printed: str, number: str, words: str) -> None:
    """Hold that an exercise was refused in one line that says why, with `words`."""
    assert printed.startswith(f"{number}: not yet."), printed
    assert words in printed, printed
    assert "\n" not in printed, printed
