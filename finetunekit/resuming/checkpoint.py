"""`Checkpoint`: the state of a run, kept at the end of each epoch or every so many steps."""

import os
from collections.abc import Callable
from typing import Any

import keras

from finetunekit.foundation.arguments import check_int
from finetunekit.resuming import checkpoint_files


class Checkpoint(keras.callbacks.Callback):
    """Keeps the whole state of a run in a file, from which `fit(..., resume=path)` goes on.

    Weights, optimizer, seeds, order and place in the data, counters of the callbacks, history,
    stage: a run that was killed and resumed ends with the bits of one that was not. The file is
    written beside the old one and takes its place when it is whole. It is for `finetunekit.fit`
    and `fit_in_stages`, on arrays, PyDatasets and tf.data pipelines.

    Args:
        path: The file. What a run before has left there is kept as `<path>.previous`.
        every: `"epoch"`, or a number of steps, at which it is written too.

    Raises:
        ValueError: If `every` is neither.
        OSError: If nothing can be written there; found before training.

    Example:
        ```python
        import finetunekit as ftk

        model = ftk.add_head(ftk.load_backbone("pretrained_model.h5"), "binary")
        ftk.compile_for_task(model)
        keep = ftk.callbacks.Checkpoint("run.ckpt")
        again = {"callbacks": [keep], "resume": "run.ckpt"}
        ftk.fit(model, x_train, y_train, epochs=3, verbose=0, **again)
        ```
    """

    changes_frozen_weights = False

    def __init__(self, path: str | os.PathLike[str], *, every: str | int = "epoch") -> None:
        super().__init__()
        self.path = check_target(path)
        if every != "epoch":
            if isinstance(every, str):
                raise ValueError(
                    "`every` must be 'epoch' or a number of steps, such as 500. "
                    f"Received: every={every!r}"
                )
            check_int(every, "every", 1)
            # As an attribute of the instance: a class with batch events slows each epoch down.
            self.on_train_batch_end = self._on_step
        self._every = every
        self._gather: Callable[[int, int], dict[str, Any]] | None = None
        self._epoch = self._last = 0

    def attach(self, gather: Callable[[int, int], dict[str, Any]]) -> None:
        """Says how the state is gathered: epoch and steps done in it -> the state; `fit` does."""
        self._gather = gather

    def detach(self) -> None:
        """The run is over."""
        self._gather = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Looks whether `fit` of this library runs it."""
        if self._gather is None:
            raise ValueError(
                "`callbacks.Checkpoint` needs `finetunekit.fit` or `fit_in_stages`, which own the "
                "order of the data. Received: a call of model.fit"
            )

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes where the run is."""
        self._epoch, self._last = epoch, 0

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the state, as the last of the callbacks."""
        self._write(epoch + 1, 0)

    def _on_step(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        done = batch + 1
        if done // int(self._every) > self._last // int(self._every):
            self._write(self._epoch, done)
        self._last = done

    def _write(self, epoch: int, step: int) -> None:
        if self._gather is not None:
            checkpoint_files.write(self.path, self._gather(epoch, step))


def check_target(path: Any) -> str:
    """The path of a checkpoint that can be written.

    Raises:
        TypeError: If it is not a path.
        OSError: If its folder is missing or cannot be written to.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"`path` must be a string or a path. Received: path={path!r}")
    target = os.path.abspath(os.fspath(path))
    folder = os.path.dirname(target)
    if os.path.isdir(target):
        raise IsADirectoryError(f"`path` is a folder. Give a file. Received: path={target!r}")
    if not os.path.isdir(folder):
        raise FileNotFoundError(
            f"`path` lies in a folder that is not there. Make it first, `os.makedirs({folder!r})`. "
            f"Received: path={target!r}"
        )
    if not os.access(folder, os.W_OK):
        raise PermissionError(
            f"`path` cannot be written to. Choose a folder of your own. Received: path={target!r}"
        )
    return target
