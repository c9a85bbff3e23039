"""What can be seen of tf.data pipelines and PyDatasets before they are read."""

import inspect
from collections.abc import Mapping
from typing import Any

import keras

from finetunekit.models import graph, input_shapes, inputs
from finetunekit.text import attach


def shown_batch(data: Any) -> Any:
    """A batch as far as it can be seen: its spec (tf.data), or the first (PyDataset); or None.

    Nothing is drawn from a tf.data pipeline, which might shuffle or augment; Keras itself looks at
    the first batches of a PyDataset.
    """
    spec = getattr(data, "element_spec", None)
    if spec is None and isinstance(data, keras.utils.PyDataset):
        return data[0] if data.num_batches != 0 else None
    return spec


def batch_parts(data: Any) -> tuple[Any, Any] | None:
    """Inputs and labels of a batch, as specs (tf.data) or arrays (PyDataset); None if unknown."""
    spec = shown_batch(data)
    if spec is None:
        return None
    if isinstance(spec, (tuple, list)):
        return spec[0], spec[1] if len(spec) > 1 else None
    return spec, None


def has_weights(data: Any) -> bool:
    """Whether data bring weights of samples: arrays of weights, or batches with a third part."""
    spec = getattr(data, "element_spec", None)
    if spec is None and isinstance(data, keras.utils.PyDataset):
        spec = data[0]
    if spec is not None:
        return isinstance(spec, (tuple, list)) and len(spec) > 2 and spec[2] is not None
    return any(hasattr(part, "shape") for part in keras.tree.flatten(data))


def batch_count(data: Any) -> int | None:
    """The number of batches in an epoch; None if it is not known or without end."""
    if isinstance(data, keras.utils.PyDataset):
        return data.num_batches
    if callable(getattr(data, "cardinality", None)):
        count = int(data.cardinality())
        return count if count >= 0 else None
    return None


def known_shape(part: Any) -> tuple[int | None, ...] | None:
    """The shape of an array or spec; None if the number of axes is not known."""
    shape = getattr(part, "shape", None)
    if shape is None or getattr(shape, "rank", 0) is None:
        return None
    return tuple(shape)


def check(data: Any, model: keras.Model, name: str, *, labelled: bool) -> None:
    """Raises if batches have no labels or inputs of a wrong shape.

    Raises:
        ValueError: With the remedy.
    """
    parts = batch_parts(data)
    if parts is None:
        return
    x, y = parts
    if labelled and y is None:
        raise ValueError(
            f"`{name}` gives no labels: each batch must be (inputs, labels). Zip them, "
            "`tf.data.Dataset.zip((images, labels))`. "
            f"Received: {name} of type {type(data).__name__}"
        )
    if attach.takes_texts(model) and any(
        str(getattr(getattr(part, "dtype", None), "name", "")) == "string"
        for part in keras.tree.flatten(x)
    ):
        raise ValueError(
            f"`{name}` gives texts, and {model.name!r} takes token ids: texts are tokenized from "
            "lists and arrays only. Give the texts as a list, or tokenize them before: "
            "`tf.data.Dataset.from_tensor_slices((ftk.tokenize(model, texts), labels))`. "
            f"Received: {name} of type {type(data).__name__}"
        )
    for key, tensor, part in _by_input(model, x):
        _check_input(part, tensor, model, f"{name}[{key!r}]" if key else name)


def _by_input(model: keras.Model, x: Any) -> list[tuple[str, Any, Any]]:
    """Name, symbolic tensor and what a batch holds for each input of a graph, where both match."""
    if not graph.is_graph(model):
        return []
    structure = graph.input_structure(model)
    tensors = keras.tree.flatten(structure)
    if not isinstance(x, Mapping):
        parts = keras.tree.flatten(x)
        names = [""] if len(tensors) == 1 else [tensor.name for tensor in tensors]
        return list(zip(names, tensors, parts, strict=True)) if len(parts) == len(tensors) else []
    named = structure if isinstance(structure, dict) else {t.name: t for t in tensors}
    return [(key, tensor, x[key]) for key, tensor in named.items() if key in x]


def _check_input(part: Any, tensor: Any, model: keras.Model, name: str) -> None:
    kind = inputs.packing(part)
    if kind == "ragged" and not tensor.ragged:
        raise ValueError(
            f"`{name}` gives ragged batches, and {model.name!r} takes dense ones. Fill them up: "
            f"`data.map(lambda x, y: (x.to_tensor(), y))`. Received: {name} of type "
            f"{type(part).__name__}"
        )
    wanted, found = tuple(tensor.shape), known_shape(part)
    if found is not None and not input_shapes.fits(found, wanted):
        raise ValueError(
            f"`{name}` must give batches of shape {input_shapes.shape_text(wanted)} for "
            f"{model.name!r}. {input_shapes.remedy_for_shape(wanted, found, model)}"
            f"Received: {name} with batches of shape {found}"
        )


def check_alone(x: Any, y: Any, split: Any, sample_weight: Any) -> None:
    """Raises for arguments that go with arrays only, beside a dataset.

    Raises:
        ValueError: If one is given.
    """
    if x is None:
        raise ValueError("`x` is missing: give arrays or a dataset. Received: x=None")
    for name, value in (("y", y), ("sample_weight", sample_weight)):
        if value is not None:
            raise ValueError(
                f"`x` is a {type(x).__name__}, which brings its own {name}: leave `{name}` out. "
                f"Received: {name} of type {type(value).__name__}"
            )
    if split:
        raise ValueError(
            "`validation_split` needs arrays, since other data cannot be cut; give "
            f"`validation_data`. Received: validation_split={split!r}"
        )


def check_whole_epochs(data: Any, steps: int | None) -> None:
    """Raises if epochs are parts of the data, so that each has other batches than the one before.

    Raises:
        ValueError: If so.
    """
    count = batch_count(data)
    if steps is not None and count is not None and count != steps:
        raise ValueError(
            "`deterministic=True` says that each epoch has the same batches, but each begins where "
            "the one before has ended: "
            f"`steps_per_epoch={steps}` of {count} batches. Leave one of the two out. "
            f"Received: deterministic=True, steps_per_epoch={steps}"
        )


def check_length(data: Any, steps: int | None, name: str, steps_name: str) -> None:
    """Raises for data without a batch, or whose length Keras cannot know.

    Raises:
        ValueError: If there are none, or the length is unknown or infinite and the number of steps
            is not given.
    """
    if batch_count(data) == 0:
        raise ValueError(
            f"`{name}` gives no batches, so nothing would be computed. Check how it was made or "
            "filtered; `.batch(size, drop_remainder=True)` drops a batch that is not full. "
            f"Received: {name} of type {type(data).__name__} with 0 batches"
        )
    if steps is not None:
        return
    what = unknown_length(data)
    # Validation may stop where the data end; only training runs a step too many.
    if what and (name == "x" or what.startswith("an endless")):
        raise ValueError(
            f"`{name}` is {what}. Keras on TensorFlow runs one training step too many at the end "
            f"of each epoch of data whose length it does not know. Give `{steps_name}=`, or, for "
            "tf.data, say the number of batches: "
            "`data.apply(tf.data.experimental.assert_cardinality(batches))`. "
            f"Received: {name}={type(data).__name__}"
        )


def unknown_length(data: Any) -> str:
    """What data are whose number of batches cannot be known; empty for others."""
    if isinstance(data, keras.utils.PyDataset):
        return "a PyDataset of unknown length" if data.num_batches is None else ""
    if callable(getattr(data, "cardinality", None)):
        count = int(data.cardinality())
        return {-1: "an endless dataset", -2: "a dataset of unknown length"}.get(count, "")
    if inspect.isgenerator(data) or (hasattr(data, "__next__") and not hasattr(data, "__len__")):
        return "a generator"
    return ""
