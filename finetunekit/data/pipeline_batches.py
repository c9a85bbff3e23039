"""Batches that come ready-made: tf.data pipelines, PyDatasets, generators."""

from typing import Any

import keras

from finetunekit.data import pipelines
from finetunekit.data.batches import Batches, KerasData
from finetunekit.foundation import hashing


class GeneratedBatches(Batches):
    """Batches of a generator, or of anything else that only Keras can read, once.

    Args:
        source: What the user gave.
        steps: The number of batches in an epoch; None if it is not known.
        class_weight: Integer label -> weight, or None.
        kind: What the samples are called in messages.
    """

    def __init__(
        self,
        source: Any,
        *,
        steps: int | None = None,
        class_weight: Any = None,
        kind: str = "samples",
    ) -> None:
        self.source, self.kind, self._class_weight = source, kind, class_weight
        self.steps = steps or pipelines.batch_count(source)
        self.samples = None
        self._spec = pipelines.batch_parts(source) or (None, None)
        self._digest: str | None = None

    @property
    def spec(self) -> tuple[Any, Any]:
        return self._spec

    def first_batch(self) -> Any:
        inputs, _, _ = keras.utils.unpack_x_y_sample_weight(self._first())
        return keras.tree.map_structure(keras.ops.convert_to_numpy, inputs)

    def digest(self) -> str:
        if self._digest is None:
            parts = [keras.ops.convert_to_numpy(p) for p in keras.tree.flatten(self._first())]
            self._digest = f"{self.steps} batches, first {hashing.arrays_digest(parts)}"
        return self._digest

    def fast_forward(self, epochs: int) -> None:
        if epochs:
            self._first()

    def for_keras(self, first_epoch: int) -> KerasData:
        return KerasData(x=self.source, class_weight=self._class_weight)

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
        return KerasData(x=self.source, class_weight=self._class_weight, shuffle=self._shuffle)


def of(
    source: Any,
    *,
    steps: int | None = None,
    class_weight: Any = None,
    kind: str = "samples",
    shuffle: bool = False,
) -> GeneratedBatches:
    """Ready-made batches that have been checked, in the class for their kind."""
    if isinstance(source, keras.utils.PyDataset):
        return PyDatasetBatches(
            source, steps=steps, class_weight=class_weight, kind=kind, shuffle=shuffle
        )
    made = DatasetBatches if hasattr(source, "element_spec") else GeneratedBatches
    return made(source, steps=steps, class_weight=class_weight, kind=kind)
