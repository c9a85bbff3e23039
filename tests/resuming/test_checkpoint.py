"""A checkpoint is written at the end of each epoch, and at the steps that were asked for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import keras
import pytest

from finetunekit.resuming import checkpoint, checkpoint_files
from finetunekit.resuming.checkpoint import Checkpoint


class Own(os.PathLike[str]):
    """A path of a class of one's own."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __fspath__(self) -> str:
        return self.text


def attach(keep: Checkpoint) -> list[tuple[int, int]]:
    """Epoch and steps done of each state that is written from now on."""
    written: list[tuple[int, int]] = []

    def gather(epoch: int, step: int) -> dict[str, Any]:
        written.append((epoch, step))
        return {"epoch": epoch, "step": step}

    keep.attach(gather)
    return written


def run(keep: Checkpoint, epochs: int, steps: int, first: int = 0) -> list[tuple[int, int]]:
    """Runs a loop as Keras does; gives what was written."""
    written = attach(keep)
    callbacks = keras.callbacks.CallbackList([keep])
    callbacks.on_train_begin()
    for epoch in range(epochs):
        callbacks.on_epoch_begin(epoch)
        for batch in range(first if epoch == 0 else 0, steps):
            callbacks.on_train_batch_begin(batch)
            callbacks.on_train_batch_end(batch)
        callbacks.on_epoch_end(epoch)
    callbacks.on_train_end()
    keep.detach()
    return written


def test_at_the_end_of_each_epoch_the_next_one_is_where_the_run_is(tmp_path: Path) -> None:
    path = tmp_path / "run.ckpt"
    assert run(Checkpoint(path), epochs=3, steps=4) == [(1, 0), (2, 0), (3, 0)]
    assert checkpoint_files.read(str(path), "resume") == {"epoch": 3, "step": 0}


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        (1, [(0, 1), (0, 2), (0, 3), (0, 4), (1, 0), (1, 1), (1, 2), (1, 3), (1, 4), (2, 0)]),
        (2, [(0, 2), (0, 4), (1, 0), (1, 2), (1, 4), (2, 0)]),
        (3, [(0, 3), (1, 0), (1, 3), (2, 0)]),
        (4, [(0, 4), (1, 0), (1, 4), (2, 0)]),
        (5, [(1, 0), (2, 0)]),
    ],
)
def test_every_so_many_steps_of_each_epoch(
    every: int, expected: list[tuple[int, int]], tmp_path: Path
) -> None:
    assert run(Checkpoint(tmp_path / "run.ckpt", every=every), epochs=2, steps=4) == expected


def test_steps_that_are_told_together_are_written_once(tmp_path: Path) -> None:
    """Keras tells only the last of the steps that it runs in one call of the traced function."""
    keep = Checkpoint(tmp_path / "run.ckpt", every=3)
    written = attach(keep)
    keep.on_epoch_begin(7)
    for batch in (1, 4, 5, 9, 10, 11):
        keep.on_train_batch_end(batch)
    assert written == [(7, 5), (7, 6), (7, 10), (7, 12)]


def test_a_run_that_goes_on_within_an_epoch_counts_its_steps_from_the_beginning(
    tmp_path: Path,
) -> None:
    keep = Checkpoint(tmp_path / "run.ckpt", every=3)
    assert run(keep, epochs=1, steps=7, first=3) == [(0, 4), (0, 6), (1, 0)]


def test_only_a_checkpoint_of_steps_has_batch_events(tmp_path: Path) -> None:
    """Keras looks at the class: one with batch events slows down each epoch."""
    keep = Checkpoint(tmp_path / "run.ckpt")
    assert Checkpoint.on_train_batch_end is keras.callbacks.Callback.on_train_batch_end
    assert "on_train_batch_end" not in vars(keep)
    assert not Checkpoint.changes_frozen_weights
    assert keep.model is None


def test_it_is_for_runs_of_this_library_only(tmp_path: Path) -> None:
    keep = Checkpoint(tmp_path / "run.ckpt")
    with pytest.raises(ValueError, match=r"needs `finetunekit\.fit` or `fit_in_stages`"):
        keep.on_train_begin()
    keep.attach(lambda epoch, step: {})
    keep.on_train_begin()
    keep.detach()
    keep.on_epoch_end(0)
    assert not (tmp_path / "run.ckpt").exists()
    with pytest.raises(ValueError, match=r"Received: a call of model\.fit$"):
        keep.on_train_begin()


@pytest.mark.parametrize("every", ["step", "", "5"])
def test_words_other_than_epoch_are_an_error(every: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be 'epoch' or a number of steps") as error:
        Checkpoint(tmp_path / "run.ckpt", every=every)
    assert str(error.value).endswith(f"such as 500. Received: every={every!r}")


@pytest.mark.parametrize(("every", "kind"), [(0, ValueError), (-1, ValueError), (1.5, TypeError)])
def test_steps_are_a_whole_number_from_one(
    every: Any, kind: type[Exception], tmp_path: Path
) -> None:
    with pytest.raises(kind, match=f"every={every}"):
        Checkpoint(tmp_path / "run.ckpt", every=every)


class TestTarget:
    def test_it_is_the_absolute_path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        expected = os.path.join(os.getcwd(), "run.ckpt")
        assert Checkpoint("run.ckpt").path == expected
        for path in ("run.ckpt", "./run.ckpt", tmp_path / "run.ckpt", Own("run.ckpt")):
            assert checkpoint.check_target(path) == expected
        (tmp_path / "run.ckpt").write_text("of a run before")
        assert checkpoint.check_target("run.ckpt") == expected

    @pytest.mark.parametrize("path", [None, 3, b"run.ckpt"])
    def test_what_is_no_path_is_an_error(self, path: Any) -> None:
        with pytest.raises(TypeError, match="must be a string or a path") as error:
            checkpoint.check_target(path)
        assert str(error.value).endswith(f"Received: path={path!r}")

    def test_a_folder_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(IsADirectoryError) as error:
            checkpoint.check_target(tmp_path)
        assert str(error.value) == (
            f"`path` is a folder. Give a file. Received: path={str(tmp_path)!r}"
        )

    def test_a_missing_folder_is_an_error_with_what_makes_it(self, tmp_path: Path) -> None:
        target = tmp_path / "missing" / "run.ckpt"
        with pytest.raises(FileNotFoundError) as error:
            checkpoint.check_target(target)
        assert f"Make it first, `os.makedirs({str(target.parent)!r})`." in str(error.value)
        (tmp_path / "missing").write_text("a file")
        with pytest.raises(FileNotFoundError, match="not there"):
            checkpoint.check_target(target)

    def test_a_folder_of_somebody_else_is_an_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[tuple[str, int]] = []

        def access(path: str, mode: int) -> bool:
            asked.append((path, mode))
            return False

        monkeypatch.setattr(os, "access", access)  # Whoever runs the tests may do anything.
        with pytest.raises(PermissionError, match="Choose a folder of your own"):
            checkpoint.check_target(tmp_path / "run.ckpt")
        assert asked == [(str(tmp_path), os.W_OK)]
