"""The table of TensorFlow functions, by public name, and their counterparts in keras.ops."""

from collections.abc import Callable
from typing import Any

import keras

from finetunekit.backbones.keras2 import functions

ops = keras.ops

_TWO = {
    "math.add": ops.add,
    "add": ops.add,
    "math.subtract": ops.subtract,
    "subtract": ops.subtract,
    "math.multiply": ops.multiply,
    "multiply": ops.multiply,
    "math.truediv": ops.true_divide,
    "truediv": ops.true_divide,
    "math.divide": ops.true_divide,
    "divide": ops.true_divide,
    "math.floordiv": ops.floor_divide,
    "math.floormod": ops.mod,
    "math.mod": ops.mod,
    "math.pow": ops.power,
    "pow": ops.power,
    "math.maximum": ops.maximum,
    "maximum": ops.maximum,
    "math.minimum": ops.minimum,
    "minimum": ops.minimum,
    "math.squared_difference": functions.squared_difference,
    "math.greater": ops.greater,
    "math.greater_equal": ops.greater_equal,
    "math.less": ops.less,
    "math.less_equal": ops.less_equal,
    "math.equal": ops.equal,
    "math.not_equal": ops.not_equal,
    "math.logical_and": ops.logical_and,
    "math.logical_or": ops.logical_or,
    "__operators__.add": ops.add,
    "__operators__.eq": ops.equal,
    "__operators__.ne": ops.not_equal,
}
_ONE = {
    "abs": ops.absolute,
    "ceil": ops.ceil,
    "cos": ops.cos,
    "erf": ops.erf,
    "exp": ops.exp,
    "floor": ops.floor,
    "is_finite": ops.isfinite,
    "is_nan": ops.isnan,
    "log": ops.log,
    "log1p": ops.log1p,
    "logical_not": ops.logical_not,
    "negative": ops.negative,
    "reciprocal": ops.reciprocal,
    "round": ops.round,
    "rsqrt": ops.rsqrt,
    "sigmoid": ops.sigmoid,
    "sign": ops.sign,
    "sin": ops.sin,
    "softplus": ops.softplus,
    "sqrt": ops.sqrt,
    "square": ops.square,
    "tanh": ops.tanh,
}
_ACTIVATIONS = {
    "relu": ops.relu,
    "relu6": ops.relu6,
    "elu": ops.elu,
    "selu": ops.selu,
    "silu": ops.silu,
    "swish": ops.silu,
    "softplus": ops.softplus,
    "softsign": ops.softsign,
    "sigmoid": ops.sigmoid,
    "tanh": ops.tanh,
}
_REDUCTIONS = {
    "reduce_all": ops.all,
    "reduce_any": ops.any,
    "reduce_logsumexp": ops.logsumexp,
    "reduce_max": ops.max,
    "reduce_mean": ops.mean,
    "reduce_min": ops.min,
    "reduce_prod": ops.prod,
    "reduce_std": ops.std,
    "reduce_sum": ops.sum,
    "reduce_variance": ops.var,
}

_OF_FLOATS = ("reduce_mean", "reduce_std", "reduce_variance", "reduce_logsumexp")

# By TensorFlow's public name without `tf.` and `compat.v1.`.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: functions.of_two(function) for name, function in _TWO.items()},
    **{f"math.{name}": functions.of_one(function) for name, function in _ONE.items()},
    **{name: functions.of_one(function) for name, function in _ONE.items()},
    **{
        f"nn.{name}": functions.of_one(function, "features")
        for name, function in _ACTIVATIONS.items()
    },
    **{
        f"{place}{name}": functions.reduction(function, of_floats=name in _OF_FLOATS)
        for name, function in _REDUCTIONS.items()
        for place in ("", "math.")
    },
    "__operators__.getitem": functions.getitem,
    "argmax": functions.position(ops.argmax),
    "argmin": functions.position(ops.argmin),
    "broadcast_to": functions.broadcast_to,
    "cast": functions.cast,
    "clip_by_value": functions.clip,
    "concat": functions.concat,
    "convert_to_tensor": functions.convert,
    "cumsum": functions.cumsum,
    "expand_dims": lambda input, axis: ops.expand_dims(input, axis),
    "gather": functions.gather,
    "identity": functions.identity,
    "image.resize": functions.resize,
    "linalg.l2_normalize": functions.l2_normalize,
    "linalg.matmul": functions.matmul,
    "linalg.norm": functions.norm,
    "math.add_n": functions.add_n,
    "math.argmax": functions.position(ops.argmax),
    "math.argmin": functions.position(ops.argmin),
    "math.cumsum": functions.cumsum,
    "math.l2_normalize": functions.l2_normalize,
    "matmul": functions.matmul,
    "nn.depth_to_space": functions.depth_to_space,
    "nn.gelu": functions.gelu,
    "nn.l2_normalize": functions.l2_normalize,
    "nn.leaky_relu": functions.leaky_relu,
    "nn.log_softmax": functions.log_softmax,
    "nn.softmax": functions.softmax,
    "norm": functions.norm,
    "one_hot": functions.one_hot,
    "ones_like": functions.filled_like(1),
    "pad": functions.pad,
    "repeat": lambda input, repeats, axis=None: ops.repeat(input, repeats, axis=axis),
    "reshape": functions.reshape,
    "reverse": lambda tensor, axis: ops.flip(tensor, axis=axis),
    "shape": functions.shape,
    "split": functions.split,
    "squeeze": functions.squeeze,
    "stack": functions.stack,
    "stop_gradient": lambda input: ops.stop_gradient(input),
    "tile": lambda input, multiples: ops.tile(input, multiples),
    "transpose": functions.transpose,
    "unstack": functions.unstack,
    "where": functions.where,
    "zeros_like": functions.filled_like(0),
}
