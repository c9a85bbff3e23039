"""Batches that come ready-made: tf.data pipelines, PyDatasets, generators."""

import functools
from typing import Any

import keras

from finetunekit.data import pipelines
from finetunekit.data.batch_form import BatchForm
from finetunekit.data.batches import Batches, KerasData
from finetunekit.data.checked_batches import Checks
from finetunekit.foundation import hashing


class GeneratedBatches(Batches):
    """Batches of a generator, or of anything else that only Keras can read, once.

    Args:
        source: What the user gave.
        steps: The number of batches in an epoch; None if it is not known.
        class_weight: Integer label -> weight, or None.
        kind: What the samples are called in messages.
        form: What the model takes of a batch; None hands batches on as they come.
    """

    def __init__(
        self,
        source: Any,
        *,
        steps: int | None = None,
        class_weight: Any = None,
        kind: str = "samples",
        form: BatchForm | None = None,
    ) -> None:
        self.source, self.kind, self._class_weight = source, kind, class_weight
        self.steps = steps or pipelines.batch_count(source)
        self.samples = None
        self._form = form
        self._checks = None if form is None else Checks(form)
        shown = pipelines.shown_batch(source)
        self._spec = (None, None) if shown is None else self._parts(shown)[:2]
        self._digest: str | None = None

    @property
    def spec(self) -> tuple[Any, Any]:
        return self._spec

    @property
    def fault(self) -> ValueError | None:
        return None if self._checks is None else self._checks.fault

    @functools.cached_property
    def checked(self) -> Any:
        """The source, with each batch checked as it is read."""
        return self.source if self._checks is None else self._checks.of(self.source)

    def first_batch(self) -> Any:
        return keras.tree.map_structure(keras.ops.convert_to_numpy, self._parts(self._first())[0])

    def digest(self) -> str:
        if self._digest is None:
            parts = [keras.ops.convert_to_numpy(p) for p in keras.tree.flatten(self._first())]
            self._digest = f"{self.steps} batches, first {hashing.arrays_digest(parts)}"
        return self._digest

    def fast_forward(self, epochs: int) -> None:
        if epochs:
            self._first()

    def for_keras(self, first_epoch: int) -> KerasData:
        self._begin()
        return KerasData(x=self.checked, class_weight=self._class_weight)

    def _begin(self) -> None:
        """Forgets what was wrong in an earlier run."""
        if self._checks is not None:
            self._checks.fault = None

    def _parts(self, batch: Any) -> tuple[Any, Any, Any]:
        """Inputs, labels and weights, as the model takes them."""
        if self._form is not None:
            return self._form.parts(batch)
        parts: tuple[Any, Any, Any] = keras.utils.unpack_x_y_sample_weight(batch)
        return parts

    def _first(self) -> Any:
        raise ValueError(
            "The data must be readable more than once: give arrays, a PyDataset or a tf.data "
            f"pipeline. Received: x of type {type(self.source).__name__}"
        )


class DatasetBatches(GeneratedBatches):
    """Batches of a tf.data pipeline, which keeps its own order."""

    def _first(self) -> Any:
        return next(iter(self.source))

    def fast_forward(self, epochs: int) -> None:
        """Reads whole epochs.

        Each iterator of a pipeline that shuffles anew moves it on, and `model.fit` makes one more
        at the end of each epoch than it reads.
        """
        for _ in range(epochs):
            for _batch in self.source:
                pass
            iter(self.source)


class PyDatasetBatches(GeneratedBatches):
    """Batches of a PyDataset, in an order that Keras may shuffle."""

    def __init__(self, source: Any, *, shuffle: bool = False, **options: Any) -> None:
        super().__init__(source, **options)
        self._shuffle = shuffle

    def _first(self) -> Any:
        return self.source[0]

    def fast_forward(self, epochs: int) -> None:
        for _ in range(epochs):
            self.source.on_epoch_begin()
            self.source.on_epoch_end()

    def for_keras(self, first_epoch: int) -> KerasData:
        self._begin()
        return KerasData(x=self.checked, class_weight=self._class_weight, shuffle=self._shuffle)


def of(
    source: Any,
    *,
    steps: int | None = None,
    class_weight: Any = None,
    kind: str = "samples",
    shuffle: bool = False,
    form: BatchForm | None = None,
) -> GeneratedBatches:
    """Ready-made batches in the class for their kind.

    Args:
        source: What the user gave, whose spec has been checked.
        steps: The number of batches in an epoch, if the user gave it.
        class_weight: Integer label -> weight, or None.
        kind: What the samples are called in messages.
        shuffle: Whether Keras may read a PyDataset in another order.
        form: What the model takes of a batch.
    """
    options: dict[str, Any] = {"steps": steps, "class_weight": class_weight, "kind": kind}
    if isinstance(source, keras.utils.PyDataset):
        return PyDatasetBatches(source, shuffle=shuffle, form=form, **options)
    made = DatasetBatches if hasattr(source, "element_spec") else GeneratedBatches
    return made(source, form=form, **options)
