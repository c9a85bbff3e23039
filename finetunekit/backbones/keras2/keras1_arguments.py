"""Arguments of Keras 1 layers: their names and values in Keras 2."""

from typing import Any

# Old name of an argument -> its name today. Several become the axes of one.
_ARGUMENTS = {
    "U_regularizer": "recurrent_regularizer",
    "W_constraint": "kernel_constraint",
    "W_regularizer": "kernel_regularizer",
    "atrous_rate": "dilation_rate",
    "b_constraint": "bias_constraint",
    "b_regularizer": "bias_regularizer",
    "bias": "use_bias",
    "border_mode": "padding",
    "dim_ordering": "data_format",
    "dropout_U": "recurrent_dropout",
    "dropout_W": "dropout",
    "filter_length": "kernel_size",
    "init": "kernel_initializer",
    "inner_activation": "recurrent_activation",
    "inner_init": "recurrent_initializer",
    "length": "size",
    "nb_filter": "filters",
    "output_dim": "units",
    "p": "rate",
    "pool_length": "pool_size",
    "sigma": "stddev",
    "stride": "strides",
    "subsample": "strides",
    "subsample_length": "strides",
}
# Where a class has other names today.
_OF_CLASS = {
    "Embedding": {
        "W_constraint": "embeddings_constraint",
        "W_regularizer": "embeddings_regularizer",
        "init": "embeddings_initializer",
        "output_dim": "output_dim",
    },
    "PReLU": {"init": "alpha_initializer"},
    "SeparableConvolution2D": {"init": "depthwise_initializer"},
}
_AXES = (("nb_row", "nb_col"), ("kernel_dim1", "kernel_dim2", "kernel_dim3"))
# Without effect on what a trained model computes.
_WITHOUT_EFFECT = ("consume_less", "forget_bias_init")
_INITIALIZERS = {
    "normal": "random_normal",
    "one": "ones",
    "uniform": "random_uniform",
    "zero": "zeros",
}
_SAME_INITIALIZERS = (
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "identity",
    "lecun_uniform",
    "orthogonal",
)
_REGULARIZERS = ("ActivityRegularizer", "L1L2Regularizer", "WeightRegularizer")
_CONSTRAINTS = {
    "MaxNorm": ("MaxNorm", {"m": "max_value", "axis": "axis"}),
    "MinMaxNorm": (
        "MinMaxNorm",
        {"low": "min_value", "high": "max_value", "rate": "rate", "axis": "axis"},
    ),
    "NonNeg": ("NonNeg", {}),
    "UnitNorm": ("UnitNorm", {"axis": "axis"}),
}
FORMATS = {"tf": "channels_last", "th": "channels_first"}


def renamed(class_name: str, stored: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A layer's arguments as in Keras 2, and those that go, which matter in training only."""
    config = dict(stored)
    for axes in _AXES:
        if set(axes) <= set(config):
            config["kernel_size"] = [config.pop(axis) for axis in axes]
    names = _ARGUMENTS | _OF_CLASS.get(class_name, {})
    config = {names.get(key, key): v for key, v in config.items() if key not in _WITHOUT_EFFECT}
    dropped = {}
    for key, given in list(config.items()):
        convert = _VALUES.get(key) or _ENDINGS.get(key.rsplit("_", 1)[-1])
        if convert is None or given is None:
            continue
        config[key] = convert(given)
        if config[key] is None:
            dropped[key] = given
            del config[key]
    return config, dropped


def both_sides(padding: Any) -> Any:
    """Padding as one pair for each axis."""
    if isinstance(padding, dict):
        keys = ("left_pad", "right_pad")
        rows = ("top_pad", "bottom_pad")
        pairs = [rows, keys] if set(rows) & set(padding) else [keys]
        found = [[padding.get(key, 0) for key in pair] for pair in pairs]
        return found if len(found) > 1 else found[0]
    if isinstance(padding, list) and len(padding) == 4:
        return [padding[:2], padding[2:]]
    return padding


def _initializer(value: Any) -> Any:
    if value in _SAME_INITIALIZERS:
        return value
    return _INITIALIZERS.get(value) if isinstance(value, str) else None


def _regularizer(value: Any) -> Any:
    if not isinstance(value, dict) or value.get("name") not in _REGULARIZERS:
        return None
    amounts = {key: float(value.get(key) or 0.0) for key in ("l1", "l2")}
    return {"class_name": "L1L2", "config": amounts}


def _constraint(value: Any) -> Any:
    if not isinstance(value, dict) or value.get("name") not in _CONSTRAINTS:
        return None
    name, keys = _CONSTRAINTS[value["name"]]
    return {"class_name": name, "config": {keys[k]: v for k, v in value.items() if k in keys}}


# Values by the argument's name, or by its last part.
_VALUES = {"data_format": lambda value: FORMATS.get(value, value)}
_ENDINGS = {
    "constraint": _constraint,
    "initializer": _initializer,
    "regularizer": _regularizer,
}
