"""Rows that a `CSVLogger` wrote after the checkpoint, taken out on resume."""

import os

import keras

from finetunekit.foundation.partial_files import partial_file


def rewind(logger: keras.callbacks.CSVLogger, epoch: int) -> None:
    """Has a logger go on after the rows of the epochs that are done.

    Its file may hold rows of later ones, which the run had reached before it was interrupted.
    """
    logger.append = True  # Else it would begin its file anew.
    if not os.path.isfile(logger.filename):
        return
    with open(logger.filename, newline="", encoding="utf-8") as file:
        lines = file.readlines()
    kept = list(lines)
    while len(kept) > 1 and _is_later(kept[-1], logger.sep, epoch):
        kept.pop()
    if len(kept) < len(lines):
        with partial_file(logger.filename) as partial:
            with open(partial, "w", newline="", encoding="utf-8") as file:
                file.writelines(kept)


def _is_later(line: str, separator: str, epoch: int) -> bool:
    """Whether a row is of an epoch that is not done, or was cut short."""
    first = line.split(separator, 1)[0]
    return not line.endswith("\n") or (first.isdecimal() and int(first) >= epoch)
