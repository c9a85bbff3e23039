"""A progress bar for long extraction, with rate and time left."""

import time
from typing import Any

import keras

_LONG = 3.0  # Seconds


class Progress:
    """Shows how many samples are done, once it is clear that it takes a while.

    Args:
        total: The number of samples.
        verbose: That of `fit`; 0 shows nothing.
        name: What the samples are.
    """

    def __init__(self, total: int, verbose: Any, name: str) -> None:
        self._total, self._verbose, self._name = total, verbose, name
        self._start = time.perf_counter()
        self._first: int | None = None
        self._bar: Any = None

    def told(self, done: int, extractor: Any) -> None:
        """Takes note of what is done."""
        if self._first is None:
            # The first batch prepares more than it computes.
            self._start, self._first = time.perf_counter(), done
            return
        seconds = time.perf_counter() - self._start
        left = seconds / max(1, done - self._first) * (self._total - done)
        if self._bar is None and self._verbose not in (0, "0") and seconds + left > _LONG:
            self._bar = keras.utils.Progbar(self._total, unit_name="sample")
        if self._bar is not None:
            self._bar.update(done, finalize=done == self._total)
