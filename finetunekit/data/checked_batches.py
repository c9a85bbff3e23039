"""Pipelines whose batches come in the form that the model takes, with their labels checked.

Nothing is drawn beforehand: a batch is looked at where Keras reads it, before the step on it.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from finetunekit.data.batch_form import BatchForm, packed
from finetunekit.data.order import without_holes


class Checks:
    """The checks of the batches of one pipeline.

    Args:
        form: What the model takes.

    Attributes:
        fault: What was wrong with a batch; TensorFlow would wrap it in an error of its own.
    """

    def __init__(self, form: BatchForm) -> None:
        self.form = form
        self.fault: ValueError | None = None

    def of(self, source: Any) -> Any:
        """The same pipeline, checked as it is read; as it is if it is of another kind."""
        if isinstance(source, keras.utils.PyDataset):
            return CheckedDataset(source, self)
        if hasattr(source, "element_spec") and hasattr(source, "enumerate"):
            return _checked_pipeline(source, self)
        if hasattr(source, "send"):  # A generator: Keras takes no other iterators.
            return self._generated(source)
        return source

    @contextlib.contextmanager
    def named(self) -> Iterator[None]:
        """Raises what was wrong with a batch in the place of the error that comes of it."""
        self.fault = None
        try:
            yield
        except Exception:
            if self.fault is not None:
                raise self.fault from None
            raise

    def batch(self, batch: Any, number: int) -> Any:
        """A batch of arrays in the form that the model takes, checked.

        Raises:
            ValueError: If its labels do not fit.
        """
        x, y, weights = self.form.parts(batch)
        self.labels(y, number)
        count = len(keras.tree.flatten(x)[0])
        return packed(x, without_holes(y, count), without_holes(weights, count))

    def labels(self, labels: Any, number: int) -> None:
        """Checks the labels of a batch, and keeps what is wrong with them.

        Raises:
            ValueError: If they do not fit.
        """
        try:
            self.form.check(labels, number)
        except ValueError as error:
            self.fault = error
            raise

    def _generated(self, source: Any) -> Iterator[Any]:
        for number, batch in enumerate(source):
            yield self.batch(batch, number)


class CheckedDataset(keras.utils.PyDataset):
    """A PyDataset with checks.

    Args:
        source: The user's.
        checks: The checks.
    """

    def __init__(self, source: keras.utils.PyDataset, checks: Checks) -> None:
        super().__init__(
            workers=source.workers,
            use_multiprocessing=source.use_multiprocessing,
            max_queue_size=source.max_queue_size,
        )
        self._source, self._checks = source, checks

    @property
    def num_batches(self) -> int | None:
        """Those of the source."""
        count: int | None = self._source.num_batches
        return count

    def __getitem__(self, index: int) -> Any:
        """One batch."""
        return self._checks.batch(self._source[index], index)

    def on_epoch_begin(self) -> None:
        """Tells the source."""
        self._source.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """Tells the source."""
        self._source.on_epoch_end()


def _checked_pipeline(source: Any, checks: Checks) -> Any:
    """A tf.data pipeline with checks: a few operations, and Python only for doubtful batches."""
    import tensorflow as tf

    form = checks.form
    given = keras.utils.unpack_x_y_sample_weight(source.element_spec)
    y = form.parts(source.element_spec)[1]
    if y is None or not all(map(_is_plain, keras.tree.flatten(y))):
        named = any(isinstance(part, Mapping) for part in given)
        return source.map(lambda *batch: form.batch(_whole(batch))) if named else source

    @tf.autograph.experimental.do_not_convert
    def checked(number: Any, batch: Any) -> Any:
        x, y, weights = form.parts(batch)
        with tf.control_dependencies([_sound(checks, number, y)]):
            y = keras.tree.map_structure(lambda a: None if a is None else tf.identity(a), y)
        return packed(x, y, weights)

    return source.enumerate().map(checked)


def _sound(checks: Checks, number: Any, labels: Any) -> Any:
    """A tensor that is there once the labels of a batch are known to be right."""
    import tensorflow as tf

    parts = [part for part in keras.tree.flatten(labels) if part is not None]

    def look(number: np.ndarray, *arrays: np.ndarray) -> np.bool_:
        checks.labels(arrays[0] if len(arrays) == 1 else list(arrays), int(number))
        return np.True_

    def doubtful() -> Any:
        return tf.numpy_function(look, [number, *parts], tf.bool)

    sure = checks.form.surely_valid(labels)
    return doubtful() if sure is False else tf.cond(sure, lambda: tf.constant(True), doubtful)


def _whole(parts: tuple[Any, ...]) -> Any:
    """An element of a pipeline: `map` hands on the parts of a tuple one by one."""
    return parts[0] if len(parts) == 1 else parts


def _is_plain(part: Any) -> bool:
    return part is None or type(part).__name__ in ("TensorSpec", "NoneTensorSpec")
