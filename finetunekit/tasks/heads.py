"""Heads: pooling, and dense layers that end in the task's activation."""

import numbers
from collections.abc import Sequence
from typing import Any

import keras

from finetunekit.foundation import arguments
from finetunekit.foundation.messages import listed
from finetunekit.models import data_formats, metadata
from finetunekit.models.metadata import Task
from finetunekit.tasks.families import family_of, make_task

_POOLING = {
    "avg": {
        3: keras.layers.GlobalAveragePooling1D,
        4: keras.layers.GlobalAveragePooling2D,
        5: keras.layers.GlobalAveragePooling3D,
    },
    "max": {
        3: keras.layers.GlobalMaxPooling1D,
        4: keras.layers.GlobalMaxPooling2D,
        5: keras.layers.GlobalMaxPooling3D,
    },
}


def build_head(
    feature_shape: Sequence[int | None],
    task: str | Task,
    num_classes: int | None = None,
    *,
    class_names: Sequence[str] | None = None,
    hidden_units: Sequence[int] = (),
    dropout: float = 0.0,
    l2: float = 0.0,
    activation: str | None = "auto",
    pooling: str | None = "auto",
    data_format: str | None = None,
    name: str = "head",
) -> keras.Sequential:
    """Builds a new model that turns features into the task's output: stock Keras layers only.

    Args:
        feature_shape: Shape of one sample's features, without the batch: `(1280,)`, `(7, 7, 1280)`
            or `(tokens, 384)`.
        task: `"binary"`, `"multiclass"`, `"multilabel"`, `"regression"`, or a `Task`.
        num_classes: How many outputs; 1 for binary and, unless said, for regression.
        class_names: One name a class, instead of `num_classes`.
        hidden_units: Units of Dense layers with ReLU before the output, such as `[128]`.
        dropout: Rate of a Dropout before each Dense layer, 0 for none.
        l2: Strength of an L2 penalty on the kernels, 0 for none.
        activation: `"auto"` is the task's (sigmoid, softmax, none); None gives logits.
        pooling: `"auto"` averages over space or tokens where there are any; `"avg"`, `"max"`,
            `"flatten"`, or None to leave the features as they are.
        data_format: `"channels_first"` for features such as `(1280, 7, 7)`; None is Keras' own
            setting for images and volumes, and `"channels_last"` for tokens.
        name: The model's name.

    Returns:
        A built `keras.Sequential` from `(batch, *feature_shape)` to `(batch, num_classes)`. Its
        output is float32 under mixed precision too.

    Raises:
        ValueError: If the arguments do not fit together.
        TypeError: If an argument is of the wrong type.

    Example:
        ```python
        import finetunekit as ftk

        head = ftk.build_head((7, 7, 1280), "multiclass", 10, hidden_units=[128], dropout=0.2)
        assert head.output_shape == (None, 10)
        ```
    """
    task = make_task(task, num_classes, class_names)
    feature_shape, data_format = _checked_shape(feature_shape, data_format)
    last = _output_activation(task, activation)
    units = _checked_units(hidden_units)
    rate, strength = checked_rate(dropout, "dropout"), _checked_strength(l2)
    chain: list[Any] = [keras.Input(feature_shape)]
    pooling = family_of(task).pooling if pooling == "auto" else pooling
    pool = pooling_layer(feature_shape, pooling, data_format)
    if pool is not None:
        chain.append(pool)
    for number in units:
        chain += [keras.layers.Dropout(rate)] if rate else []
        chain.append(
            keras.layers.Dense(number, activation="relu", kernel_regularizer=_l2(strength))
        )
    chain += [keras.layers.Dropout(rate)] if rate else []
    chain.append(
        keras.layers.Dense(
            task.num_classes, activation=last, kernel_regularizer=_l2(strength), dtype="float32"
        )
    )
    chain += _scaled(task, last)
    head = keras.Sequential(chain, name=name)
    metadata.remember(head, task=task, is_head=True)
    return head


def _scaled(task: Task, activation: Any) -> list[keras.layers.Layer]:
    layers = family_of(task).output_layers(task)
    if layers and activation not in (None, "linear"):
        raise ValueError(
            "`activation` would act before the targets' mean and standard deviation are put in, so "
            "its range would not be that of the outputs. Leave it out, or leave out `target_mean` "
            f"and `target_std`. Received: activation={activation!r}, task={task!r}"
        )
    return layers


def _checked_shape(feature_shape: Any, data_format: Any) -> tuple[tuple[int | None, ...], str]:
    if not isinstance(feature_shape, (list, tuple)) or not feature_shape:
        raise TypeError(
            "`feature_shape` must be the shape of one sample's features, such as (1280,) or "
            f"(7, 7, 1280). Received: feature_shape={feature_shape!r}"
        )
    data_format = _checked_format(data_format, len(feature_shape))
    number, which = (0, "first") if data_format == data_formats.FIRST else (-1, "last")
    if feature_shape[number] is None:
        raise ValueError(
            f"`feature_shape` must say the number of features, its {which} entry, such as (1280,). "
            f"Received: feature_shape={feature_shape!r}"
        )
    return tuple(feature_shape), data_format


def _checked_format(data_format: Any, axes: int) -> str:
    if data_format is None:
        return str(keras.config.image_data_format()) if axes > 2 else data_formats.LAST
    if data_format not in (data_formats.LAST, data_formats.FIRST):
        raise ValueError(
            "`data_format` must be 'channels_last', 'channels_first' or None. "
            f"Received: data_format={data_format!r}"
        )
    return data_format if axes > 1 else data_formats.LAST


def pooling_layer(
    feature_shape: Sequence[int | None],
    pooling: str | None,
    data_format: str = data_formats.LAST,
) -> keras.layers.Layer | None:
    """The layer that makes one vector of spatial or token features, or None if none is wanted."""
    rank = len(feature_shape) + 1
    if pooling in ("first", "last"):
        raise ValueError(
            f"`pooling={pooling!r}` takes one of the tokens of a sequence, and these are "
            f"none: give it to `add_head`, on a backbone of features (tokens, numbers). "
            f"Received: features of shape {(None, *feature_shape)}"
        )
    if pooling not in ("auto", "avg", "max", "flatten", None):
        raise ValueError(
            "`pooling` must be 'auto', 'avg', 'max', 'first', 'last', 'flatten' or None. "
            f"Received: pooling={pooling!r}"
        )
    if rank < 2 or (rank > 5 and pooling not in ("flatten", None)):
        raise ValueError(
            "Features must have a vector, tokens, or a space of up to three dimensions for each "
            f"sample. Received: features of shape {(None, *feature_shape)}"
        )
    if pooling is None or rank == 2:
        return None
    if pooling == "flatten":
        if None in feature_shape:
            raise ValueError(
                "pooling='flatten' needs features of a fixed size. Load the backbone with "
                "`input_shape=`, or use pooling='avg'. "
                f"Received: features of shape {(None, *feature_shape)}"
            )
        return keras.layers.Flatten(data_format, name="pooling")
    kind = "avg" if pooling == "auto" else pooling
    dtype = _pooling_dtype(kind, rank)
    return _POOLING[kind][rank](data_format=data_format, name="pooling", dtype=dtype)


def _pooling_dtype(kind: str, rank: int) -> str | None:
    """Where Keras averages over unmasked tokens it sums in the layer's dtype, and half overflows.

    None is the dtype policy's.
    """
    half = keras.config.dtype_policy().compute_dtype in ("float16", "bfloat16")
    return "float32" if half and (kind, rank) == ("avg", 3) else None


def checked_rate(rate: Any, name: str) -> float:
    """A dropout rate in [0, 1), or an error that names the argument."""
    return arguments.check_number(
        rate, name, arguments.SHARE_OR_NONE, "the share of values set to zero"
    )


def _checked_strength(l2: Any) -> float:
    return arguments.check_number(l2, "l2", arguments.NOT_NEGATIVE)


def _checked_units(hidden_units: Any) -> list[int]:
    units = list(hidden_units) if isinstance(hidden_units, (list, tuple)) else [hidden_units]
    for number in units:
        whole = isinstance(number, numbers.Integral) and not isinstance(number, bool)
        if not whole or int(number) < 1:
            raise ValueError(
                "`hidden_units` must be a list of positive ints, such as [128]. "
                f"Received: hidden_units={hidden_units!r}"
            )
    return [int(number) for number in units]


def _l2(strength: float) -> keras.regularizers.Regularizer | None:
    return keras.regularizers.L2(strength) if strength else None


def _output_activation(task: Task, activation: Any) -> Any:
    family = family_of(task)
    if activation == "auto":
        return family.activation
    family.check_activation(activation)
    try:
        keras.activations.get(activation)
    except ValueError as error:
        raise ValueError(
            "`activation` must be None or the name of a Keras activation, such as "
            f"{listed(['sigmoid', 'softplus', 'tanh'])}. Received: activation={activation!r}"
        ) from error
    return activation
