"""The arguments of `fit` about caching, checked."""

import os
from dataclasses import dataclass, replace
from typing import Any

from finetunekit.caching import extract, hdf5_table, memory
from finetunekit.foundation import arguments


@dataclass(frozen=True)
class CacheOptions:
    """What was asked for."""

    cache: str | bool = "auto"  # "auto", True, False; a path stands in `path`.
    path: str | None = None
    engine: str = "auto"
    frozen_dropout: bool = False
    deterministic: bool = False
    memory_limit: int = 0
    verbose: Any = "auto"
    beside: str | None = None  # The path that this one was made from, of another file.
    engines_in: str | None = None  # The folder of the path that the user gave.

    @property
    def mark(self) -> dict[str, str]:
        """What is noted in the key of a new file, so that it is known whose file it is."""
        return {} if self.beside is None else {hdf5_table.BESIDE: os.path.basename(self.beside)}

    @property
    def insists(self) -> bool:
        """Whether caching was asked for, rather than left to us."""
        return self.cache is True

    def without_cache(self, reason: str) -> "CacheOptions":
        """The same for data that differ each time.

        Raises:
            ValueError: If a cache was asked for.
        """
        if self.insists:
            raise ValueError(
                f"`cache` is not possible: {reason}. Leave it out. Received: cache={self.cache!r}"
            )
        return replace(self, cache=False)

    def kept_beside(self, path: str | None) -> "CacheOptions":
        """The same for a run that may be interrupted: features go to a file of its own."""
        return replace(self, path=self.path or (path if self.cache is not False else None))

    def for_stage(self, number: int) -> "CacheOptions":
        """The same for a later stage, which has other features: `f.stage2.h5` beside `f.h5`."""
        if self.path is None or number == 0:
            return self
        stem, ending = os.path.splitext(self.path)
        return replace(self, path=f"{stem}.stage{number + 1}{ending}")

    def for_validation(self) -> "CacheOptions":
        """The same, with a file of its own: `features.validation.h5` beside `features.h5`."""
        if self.path is None:
            return self
        beside = str(hdf5_table.validation_path(self.path))
        return replace(self, path=beside, beside=self.path)


def read(
    cache: Any,
    engine: Any,
    frozen_dropout: Any,
    deterministic: Any,
    memory_limit: Any,
    verbose: Any,
) -> CacheOptions:
    """The arguments, checked.

    Raises:
        TypeError: If one has a wrong type.
        ValueError: If one has a value that there is not.
    """
    extract.check_engine(engine)
    for name, flag in (("frozen_dropout", frozen_dropout), ("deterministic", deterministic)):
        arguments.check_flag(flag, name)
    path = None
    if isinstance(cache, os.PathLike) or (isinstance(cache, str) and cache != "auto"):
        path = os.fspath(cache)
        if not str(path).endswith((".h5", ".hdf5")):
            raise ValueError(
                "`cache` must be 'auto', True, False, or the path of an HDF5 file, such as "
                f"'features.h5'. Received: cache={cache!r}"
            )
    elif not isinstance(cache, (bool, str)):
        raise TypeError(
            "`cache` must be 'auto', True, False, or the path of an HDF5 file, such as "
            f"'features.h5'. Received: cache={cache!r}"
        )
    return CacheOptions(
        True if path else cache,
        path,
        engine,
        frozen_dropout,
        deterministic,
        memory.limit_of(memory_limit),
        verbose,
        engines_in=None if path is None else os.path.dirname(path),
    )
