"""Callbacks that change a model for the time of training, however it ends."""

from collections.abc import Sequence
from typing import Any

import keras

from finetunekit.foundation.patches import Patch


class TemporaryInjection(keras.callbacks.Callback):
    """A callback that changes the model when training begins and undoes it when it ends.

    Plain `model.fit` calls no callback after an exception or Ctrl-C; `finetunekit.fit` calls
    `restore` then too, and after plain `fit` it can be called by hand.
    """

    _changed: keras.Model | None = None
    _patches: Sequence[Patch] = ()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Changes the model and has its functions traced anew."""
        self.restore()
        self._patches, self._changed = self._change(self.model), self.model
        _retrace(self.model)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Undoes the change."""
        self.restore()

    def restore(self) -> None:
        """Undoes the change, if there is one to undo."""
        model, self._changed = self._changed, None
        if model is not None:
            for patch in self._patches:
                patch.undo()
            self._patches = ()
            _retrace(model)

    def _change(self, model: keras.Model) -> list[Patch]:
        raise NotImplementedError


def _retrace(model: keras.Model) -> None:
    model.make_train_function(force=True)
    model.make_test_function(force=True)
