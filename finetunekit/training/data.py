"""What kind of data is this? Arrays that we may reorder, or a pipeline that keeps its own order."""

import inspect
from typing import Any

import keras
import numpy as np


def is_array_like(data: Any) -> bool:
    """Arrays, tensors, lists of numbers, and dicts or lists of these: data we can index."""
    if isinstance(data, (list, tuple)):
        return len(data) > 0
    if isinstance(data, dict):
        return bool(data) and all(is_array_like(part) for part in data.values())
    return hasattr(data, "shape") and hasattr(data, "__getitem__") and hasattr(data, "__len__")


def as_inputs(x: Any, model: keras.Model) -> Any:
    """Inputs as numpy arrays in the structure that the model takes."""
    if isinstance(x, dict):
        return {key: to_numpy(part, "x") for key, part in x.items()}
    if isinstance(x, (list, tuple)):
        inputs = len(getattr(model, "inputs", None) or [None])
        if len(x) == inputs and all(hasattr(part, "shape") for part in x) and _is_batch(x, model):
            parts = tuple(to_numpy(part, "x") for part in x)
            return parts if inputs > 1 else parts[0]
        return to_numpy(x, "x")
    return to_numpy(x, "x")


def _is_batch(x: Any, model: keras.Model) -> bool:
    """Whether the parts of a list have a batch axis, rather than being single samples."""
    inputs = getattr(model, "inputs", None)
    return not inputs or len(x[0].shape) == len(inputs[0].shape)


def to_numpy(data: Any, name: str) -> np.ndarray:
    """One array, floats as float32 like Keras' own array pipeline has them.

    Raises:
        ValueError: For text, objects, or lists of unequal length.
    """
    try:
        array = np.asarray(keras.ops.convert_to_numpy(data) if _is_tensor(data) else data)
    except ValueError as error:
        raise ValueError(
            f"`{name}` does not form one array: its parts differ in shape ({error}). Give all "
            f"samples one shape. Received: {name} of type {type(data).__name__}"
        ) from error
    if array.dtype.kind in "OUS":
        remedy = (
            "Turn class names into numbers, "
            "`y = np.array([class_names.index(name) for name in y])`."
            if name == "y"
            else "Turn it into numbers first."
        )
        raise ValueError(
            f"`{name}` holds {array.dtype} values, not numbers. {remedy} "
            f"Received: {name} of dtype {array.dtype}"
        )
    if array.dtype == np.float64:
        array = array.astype("float32")
    return array


def _is_tensor(data: Any) -> bool:
    return not isinstance(data, np.ndarray) and bool(keras.ops.is_tensor(data))


def labels_of(data: Any) -> Any:
    """The labels' spec of a tf.data pipeline, the first labels of a PyDataset, or None."""
    spec = getattr(data, "element_spec", None)
    if spec is None and isinstance(data, keras.utils.PyDataset):
        spec = data[0]
    return spec[1] if isinstance(spec, (tuple, list)) and len(spec) > 1 else None


def known_shape(labels: Any) -> tuple[int | None, ...] | None:
    """The shape of labels or of their spec; None if the number of axes is not known."""
    shape = getattr(labels, "shape", None)
    if shape is None or getattr(shape, "rank", 0) is None:
        return None
    return tuple(shape)


def check_length(data: Any, steps_per_epoch: int | None) -> None:
    """Raises for data whose length Keras cannot know: it would train one step too many.

    Raises:
        ValueError: If the length is unknown or infinite and `steps_per_epoch` is not given.
    """
    if steps_per_epoch is not None:
        return
    what = _unknown_length(data)
    if what:
        raise ValueError(
            f"`x` is {what}, and Keras on TensorFlow runs one training step too many at the end of "
            "each epoch of such data. Give `steps_per_epoch=`, or, for tf.data, say the number of "
            "batches: `data.apply(tf.data.experimental.assert_cardinality(batches))`. "
            f"Received: x={type(data).__name__}"
        )


def _unknown_length(data: Any) -> str:
    if isinstance(data, keras.utils.PyDataset):
        return "a PyDataset of unknown length" if data.num_batches is None else ""
    if callable(getattr(data, "cardinality", None)):
        count = int(data.cardinality())
        return {-1: "an endless dataset", -2: "a dataset of unknown length"}.get(count, "")
    if inspect.isgenerator(data) or (hasattr(data, "__next__") and not hasattr(data, "__len__")):
        return "a generator"
    return ""
