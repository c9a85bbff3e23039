"""Has a log one row for each epoch after an interruption?"""

from __future__ import annotations

from pathlib import Path

import keras
import pytest

from finetunekit.resuming import csv_logs


@pytest.mark.parametrize(
    ("text", "epoch", "kept"),
    [
        ("epoch,loss\n0,1\n1,2\n2,3\n", 2, "epoch,loss\n0,1\n1,2\n"),
        ("epoch,loss\n0,1\n1,2\n", 2, "epoch,loss\n0,1\n1,2\n"),
        ("epoch,loss\n0,1\n1,2\n2,0.", 2, "epoch,loss\n0,1\n1,2\n"),
        ("epoch,loss\n0,1\n10,2\n", 0, "epoch,loss\n"),
        ("epoch,loss\n5,1\n0,1\n1,2\n2,3\n", 1, "epoch,loss\n5,1\n0,1\n"),  # Of a run before.
        ("", 1, ""),
    ],
)
def test_rows_of_epochs_that_are_done_again_go(
    text: str, epoch: int, kept: str, tmp_path: Path
) -> None:
    path = tmp_path / "log.csv"
    path.write_text(text)
    logger = keras.callbacks.CSVLogger(path)
    csv_logs.rewind(logger, epoch)
    assert logger.append
    assert path.read_text() == kept


def test_other_separators_and_no_file(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    csv_logs.rewind(keras.callbacks.CSVLogger(path), 1)
    assert not path.exists()
    path.write_text("epoch;loss\n0;1,5\n1;2,5\n")
    csv_logs.rewind(keras.callbacks.CSVLogger(path, separator=";"), 1)
    assert path.read_text() == "epoch;loss\n0;1,5\n"
