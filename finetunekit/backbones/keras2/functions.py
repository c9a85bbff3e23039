"""TensorFlow functions in terms of keras.ops; arguments have TensorFlow's names."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

ops = keras.ops


def of_two(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """A function of two tensors, one of which may be a constant."""

    def call(x: Any, y: Any = None, other: Any = None) -> Any:
        y = other if y is None else y
        return function(_like(x, y), _like(y, x))

    return call


def _like(value: Any, other: Any) -> Any:
    """A list as an array of the other one's dtype, as TensorFlow reads it; numbers as they are."""
    if isinstance(value, list) and isinstance(other, keras.KerasTensor):
        return np.asarray(value, dtype=other.dtype)
    return value


def of_one(function: Callable[[Any], Any], argument: str = "x") -> Callable[..., Any]:
    """A function of one tensor, called by position or by TensorFlow's name for it."""

    def call(*positional: Any, **named: Any) -> Any:
        if not positional and argument in named:
            positional = (named.pop(argument),)
        if named:
            raise TypeError(f"unexpected arguments {sorted(named)}")
        return function(*positional)

    return call


def reduction(function: Callable[..., Any], *, of_floats: bool = False) -> Callable[..., Any]:
    """A reduction, as `tf.reduce_sum` is one; it gives whole numbers the dtype that they had."""

    def call(
        input_tensor: Any,
        axis: Any = None,
        keepdims: Any = None,
        keep_dims: Any = None,
        reduction_indices: Any = None,
    ) -> Any:
        axis = reduction_indices if axis is None else axis
        axis = tuple(axis) if isinstance(axis, list) else axis
        whole = "int" in input_tensor.dtype
        if whole and of_floats:
            raise TypeError(f"TensorFlow rounds the result for {input_tensor.dtype}")
        found = function(input_tensor, axis=axis, keepdims=bool(keepdims or keep_dims))
        # Keras sums small ones up in a wider dtype, where they do not overflow.
        return ops.cast(found, input_tensor.dtype) if whole else found

    return call


def position(function: Callable[..., Any]) -> Callable[..., Any]:
    """As `tf.argmax` and `tf.argmin`."""

    def call(input: Any, axis: Any = 0, output_type: str = "int64", dimension: Any = None) -> Any:
        found = function(input, axis=axis if dimension is None else dimension)
        return ops.cast(found, _dtype(output_type))

    return call


def _dtype(value: Any) -> str:
    return str(value["config"] if isinstance(value, dict) else value)


def shape(input: Any, out_type: Any = None) -> tuple[int | None, ...]:
    """The sizes that are known; None for those of the batch, which `reshape` infers."""
    return tuple(input.shape)


def _sizes(shape: Any) -> tuple[int, ...]:
    sizes = tuple(-1 if size is None else size for size in shape)
    if sizes.count(-1) > 1 or not all(isinstance(size, int) for size in sizes):
        raise TypeError(f"more than one size of {tuple(shape)} is unknown")
    return sizes


def reshape(tensor: Any, shape: Any) -> Any:
    """As `tf.reshape`."""
    return ops.reshape(tensor, _sizes(shape))


def getitem(value: Any, slice_spec: Any) -> Any:
    """As the slicing of a tensor, or of the sizes that `tf.shape` gave."""
    spec = tuple(slice_spec) if isinstance(slice_spec, list) else slice_spec
    if isinstance(value, list | tuple) and isinstance(spec, tuple) and len(spec) == 1:
        spec = spec[0]
    elif isinstance(value, keras.KerasTensor) and (spec is None or isinstance(spec, slice)):
        spec = (spec,)
    return value[spec]


def concat(values: Any, axis: int) -> Any:
    """As `tf.concat`, also of sizes."""
    tensor = next((value for value in values if isinstance(value, keras.KerasTensor)), None)
    if tensor is None:
        return [size for sizes in values for size in sizes]
    return ops.concatenate([_like(value, tensor) for value in values], axis=axis)


def stack(values: Any, axis: int = 0) -> Any:
    """As `tf.stack`."""
    if not any(isinstance(value, keras.KerasTensor) for value in values):
        return list(values)  # Sizes for a reshape.
    return ops.stack(values, axis=axis)


def split(value: Any, num_or_size_splits: Any, axis: int = 0, num: Any = None) -> Any:
    """As `tf.split`."""
    if isinstance(num_or_size_splits, list):
        num_or_size_splits = np.cumsum(num_or_size_splits)[:-1].tolist()
    return ops.split(value, num_or_size_splits, axis=axis)


def unstack(value: Any, num: Any = None, axis: int = 0) -> Any:
    """As `tf.unstack`."""
    return ops.unstack(value, num=num, axis=axis)


def squeeze(input: Any, axis: Any = None, squeeze_dims: Any = None) -> Any:
    """As `tf.squeeze`."""
    axis = squeeze_dims if axis is None else axis
    return ops.squeeze(input, axis=tuple(axis) if isinstance(axis, list) else axis)


def transpose(a: Any, perm: Any = None, conjugate: bool = False) -> Any:
    """As `tf.transpose`."""
    _only(conjugate=(conjugate, False))
    return ops.transpose(a, axes=perm)


def matmul(
    a: Any,
    b: Any,
    transpose_a: bool = False,
    transpose_b: bool = False,
    adjoint_a: bool = False,
    adjoint_b: bool = False,
    a_is_sparse: bool = False,
    b_is_sparse: bool = False,
    output_type: Any = None,
    grad_a: bool = False,
    grad_b: bool = False,
) -> Any:
    """As `tf.linalg.matmul`."""
    _only(adjoint_a=(adjoint_a, False), adjoint_b=(adjoint_b, False))
    _only(output_type=(output_type, None))
    a, b = _like(a, b), _like(b, a)
    a = ops.swapaxes(a, -1, -2) if transpose_a else a
    return ops.matmul(a, ops.swapaxes(b, -1, -2) if transpose_b else b)


def _only(**arguments: tuple[Any, Any]) -> None:
    """Raises for values of arguments that keras.ops has no place for."""
    for name, (value, expected) in arguments.items():
        if value != expected:
            raise TypeError(f"{name}={value!r}")


def cast(x: Any, dtype: Any) -> Any:
    """As `tf.cast`."""
    return ops.cast(x, _dtype(dtype))


def clip(t: Any, clip_value_min: Any, clip_value_max: Any) -> Any:
    """As `tf.clip_by_value`."""
    bounds = (clip_value_min, clip_value_max)
    if any(isinstance(bound, keras.KerasTensor | list) for bound in bounds):
        return ops.minimum(ops.maximum(t, _like(clip_value_min, t)), _like(clip_value_max, t))
    return ops.clip(t, clip_value_min, clip_value_max)


def gather(
    params: Any,
    indices: Any,
    validate_indices: Any = None,
    axis: Any = None,
    batch_dims: int = 0,
) -> Any:
    """As `tf.gather`."""
    _only(batch_dims=(batch_dims, 0))
    indices = np.asarray(indices) if isinstance(indices, list) else indices
    return ops.take(params, indices, axis=0 if axis is None else axis)


def pad(tensor: Any, paddings: Any, mode: str = "CONSTANT", constant_values: Any = 0) -> Any:
    """As `tf.pad`."""
    if mode.lower() == "constant":
        return ops.pad(tensor, paddings, mode="constant", constant_values=constant_values)
    return ops.pad(tensor, paddings, mode=mode.lower())


_NOT_IN_KERAS = ("gaussian", "mitchellcubic")


def resize(
    images: Any,
    size: Any,
    method: str = "bilinear",
    preserve_aspect_ratio: bool = False,
    antialias: bool = False,
) -> Any:
    """As `tf.image.resize`."""
    _only(preserve_aspect_ratio=(preserve_aspect_ratio, False))
    if method in _NOT_IN_KERAS:
        raise TypeError(f"method={method!r}")
    if method != "nearest":
        images = ops.cast(images, "float32")  # As TensorFlow does; Keras rounds whole numbers.
    return ops.image.resize(images, tuple(size), interpolation=method, antialias=antialias)


def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    """As `tf.where` with both branches."""
    if x is None or y is None:
        raise TypeError("x and y are needed")
    return ops.where(condition, x, y)


def one_hot(
    indices: Any,
    depth: int,
    on_value: Any = None,
    off_value: Any = None,
    axis: Any = None,
    dtype: Any = None,
) -> Any:
    """As `tf.one_hot`."""
    _only(on_value=(on_value, None), off_value=(off_value, None))
    return ops.one_hot(
        indices, depth, axis=-1 if axis is None else axis, dtype=_dtype(dtype or "float32")
    )


def l2_normalize(x: Any, axis: Any = None, epsilon: float = 1e-12, dim: Any = None) -> Any:
    """As `tf.nn.l2_normalize`."""
    axis = dim if axis is None else axis
    squares = ops.sum(ops.square(x), axis=axis, keepdims=True)
    return x * ops.rsqrt(ops.maximum(squares, epsilon))


def leaky_relu(features: Any, alpha: float = 0.2) -> Any:
    """As `tf.nn.leaky_relu`."""
    return ops.leaky_relu(features, negative_slope=alpha)


def gelu(features: Any, approximate: bool = False) -> Any:
    """As `tf.nn.gelu`."""
    return ops.gelu(features, approximate=approximate)


def softmax(logits: Any, axis: Any = None, dim: Any = None) -> Any:
    """As `tf.nn.softmax`."""
    axis = dim if axis is None else axis
    return ops.softmax(logits, axis=-1 if axis is None else axis)


def log_softmax(logits: Any, axis: Any = None) -> Any:
    """As `tf.nn.log_softmax`."""
    return ops.log_softmax(logits, axis=-1 if axis is None else axis)


def cumsum(x: Any, axis: int = 0, exclusive: bool = False, reverse: bool = False) -> Any:
    """As `tf.math.cumsum`."""
    _only(exclusive=(exclusive, False), reverse=(reverse, False))
    return ops.cumsum(x, axis=axis)


def norm(tensor: Any, ord: Any = "euclidean", axis: Any = None, keepdims: Any = None) -> Any:
    """As `tf.norm`."""
    if ord != "euclidean" and (ord != 2 or (isinstance(axis, list | tuple) and len(axis) == 2)):
        raise TypeError(f"ord={ord!r} of axis={axis!r}")  # Of matrices, 2 is the largest stretch.
    return ops.sqrt(reduction(ops.sum)(ops.square(tensor), axis=axis, keepdims=keepdims))


def add_n(inputs: Any) -> Any:
    """As `tf.math.add_n`."""
    total = inputs[0]
    for tensor in inputs[1:]:
        total = ops.add(total, tensor)
    return total


def filled_like(value: float) -> Callable[..., Any]:
    """As `tf.zeros_like` and `tf.ones_like`."""

    def call(input: Any, dtype: Any = None, optimize: bool = True, layout: Any = None) -> Any:
        return ops.full_like(input, value, dtype=None if dtype is None else _dtype(dtype))

    return call


def depth_to_space(input: Any, block_size: int, data_format: str = "NHWC") -> Any:
    """As `tf.nn.depth_to_space`."""
    _only(data_format=(data_format, "NHWC"))
    rows, columns, channels = input.shape[1:]
    depth = channels // block_size**2
    x = ops.reshape(input, (-1, rows, columns, block_size, block_size, depth))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (-1, rows * block_size, columns * block_size, depth))


def broadcast_to(input: Any, shape: Any) -> Any:
    """As `tf.broadcast_to`, to sizes that are known."""
    if any(size is None for size in shape):
        raise TypeError(f"a size of {tuple(shape)} is unknown")
    return ops.broadcast_to(input, tuple(shape))


def convert(value: Any, dtype: Any = None, dtype_hint: Any = None) -> Any:
    """As `tf.convert_to_tensor`: a list of tensors becomes one."""
    if isinstance(value, list) and any(isinstance(part, keras.KerasTensor) for part in value):
        value = ops.stack([ops.convert_to_tensor(part) for part in value])
    return value if dtype is None else ops.cast(value, _dtype(dtype))


def identity(input: Any) -> Any:
    """As `tf.identity`."""
    return input


def squared_difference(x: Any, y: Any) -> Any:
    """As `tf.math.squared_difference`."""
    return ops.square(ops.subtract(x, y))
