"""The one kind of error that the helpers raise on purpose."""

from __future__ import annotations


class HelperError(RuntimeError):
    """Something a reader can put right: what was given, expected, and what to do.

    A notebook shows the message alone; the traceback, which would only lead
    through the helpers, is left out. Scripts see an ordinary exception.
    """

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class FetchError(HelperError):
    """A file could not be had from anywhere, or is not the file that was asked for."""


class CacheError(HelperError):
    """The cache folder cannot be written to, or is full."""
