"""Where in the data is a run? Pipelines are told apart, and walked to where it was."""

from typing import Any

import keras

from finetunekit.data import pipelines
from finetunekit.foundation import hashing


def data_facts(x: Any) -> dict[str, Any]:
    """What tells data apart that are not arrays: their first batch, and how many there are.

    Raises:
        ValueError: If they can be walked only once.
    """
    if x is None:
        return {}
    if isinstance(x, keras.utils.PyDataset):
        first = x[0]
    elif hasattr(x, "element_spec"):
        first = next(iter(x))
    else:
        raise ValueError(
            "A run with a checkpoint needs data that can be walked again: arrays, a PyDataset or a "
            f"tf.data pipeline. Received: x of type {type(x).__name__}"
        )
    parts = [keras.ops.convert_to_numpy(part) for part in keras.tree.flatten(first)]
    return {"data": f"{pipelines.batch_count(x)} batches, first {hashing.arrays_digest(parts)}"}


def walk(x: Any, epochs: int, *, again: bool) -> None:
    """Has data pass through as many epochs as are done, so that their next order is the same.

    Each iterator of a pipeline that shuffles anew moves it on, and `model.fit` makes one more at
    the end of each epoch than it reads.
    """
    for _ in range(epochs):
        if isinstance(x, keras.utils.PyDataset):
            x.on_epoch_begin()
            x.on_epoch_end()
        elif x is not None and again:
            for _batch in x:
                pass
            iter(x)
