"""Structures of input and output tensors, written as text that JSON can hold."""

from typing import Any

import keras

from finetunekit.backbones.saved_model import endpoints


def described(structure: Any) -> Any:
    """`float32:?,3` for each tensor, in the same dicts and lists."""
    if isinstance(structure, dict):
        return {name: described(value) for name, value in structure.items()}
    if isinstance(structure, (list, tuple)):
        return [described(value) for value in structure]
    sizes = ",".join("?" if size is None else str(size) for size in structure.shape)
    return f"{keras.backend.standardize_dtype(structure.dtype)}:{sizes}"


def symbolic(text: Any) -> Any:
    """The symbolic tensors that a description means."""
    if isinstance(text, dict):
        return {name: symbolic(value) for name, value in text.items()}
    if isinstance(text, (list, tuple)):
        return [symbolic(value) for value in text]
    dtype, _, sizes = text.partition(":")
    shape = tuple(None if size == "?" else int(size) for size in sizes.split(",") if size)
    return keras.KerasTensor(shape, dtype=dtype)


def inputs_for(structure: Any, name: str = "") -> Any:
    """New model inputs for a structure of `tf.TensorSpec`."""
    if isinstance(structure, dict):
        return {key: inputs_for(value, key) for key, value in structure.items()}
    if isinstance(structure, (list, tuple)):
        return [inputs_for(value) for value in structure]
    if not endpoints.is_dense(structure):
        raise ValueError(
            "`path` is a SavedModel that takes ragged or sparse tensors, which a Keras model "
            f"cannot pass on. Received: an input of {structure!r}"
        )
    if structure.shape.rank is None:
        raise ValueError(
            "`path` is a SavedModel that takes inputs of any number of dimensions. Say which: "
            "call `SavedModelLayer(path)` on a `keras.Input` of yours. Received: an input of "
            f"{structure!r}"
        )
    return keras.Input(
        batch_shape=tuple(structure.shape),
        dtype=structure.dtype.name,
        name=name or structure.name or None,
    )
