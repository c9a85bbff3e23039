"""Reader of named models: the built-in one and those of keras.applications."""

from typing import Any

import keras

from finetunekit.backbones import applications, builtin, image_models
from finetunekit.backbones.readers import LoadOptions, SourceReader

BUILTIN = "builtin:mobilenet_v2"


def is_name(source: str) -> bool:
    """Whether a model of that name is known."""
    return source == BUILTIN or applications.constructor(source) is not None


def known() -> list[str]:
    """All names."""
    return [BUILTIN, *(function.__name__ for function in applications.constructors().values())]


def read(name: str, options: LoadOptions) -> keras.Model:
    """A new model by its name, in the dtype policy asked for.

    Raises:
        ValueError: If the options do not fit.
        OSError: If its weights cannot be downloaded or read.
    """
    function = applications.constructor(name)
    policy = keras.config.dtype_policy()
    try:
        if options.dtype is not None:
            keras.config.set_dtype_policy(_policy(options.dtype))
        return _builtin(options) if function is None else _application(function, options)
    finally:
        keras.config.set_dtype_policy(policy)


def _policy(dtype: Any) -> Any:
    try:
        return keras.dtype_policies.get(dtype)
    except (ValueError, TypeError) as error:
        raise ValueError(
            "`dtype` must be the name of a dtype policy, such as 'float32' or 'mixed_bfloat16'. "
            f"Received: dtype={dtype!r}"
        ) from error


def _builtin(options: LoadOptions) -> keras.Model:
    model = builtin.build_mobilenet_v2(
        input_shape=options.input_shape,
        weights=options.weights,
        preprocessing=options.preprocessing,
        include_top=options.include_top is True,
    )
    origin = {
        "source": BUILTIN,
        "format": "built-in",
        "weights": options.weights and builtin.SOURCE_FILE,
        "sha256": options.weights and builtin.WEIGHTS_SHA256,
    }
    contract = applications.contract("torch", options.preprocessing, (224, 224))
    image_models.describe(model, origin, contract)
    return model


def _application(function: Any, options: LoadOptions) -> keras.Model:
    model = applications.build(
        function,
        include_top=options.include_top is True,
        input_shape=options.input_shape,
        weights=options.weights,
        preprocessing=options.preprocessing,
    )
    origin = {
        "source": f"keras.applications.{function.__name__}",
        "format": "keras.applications",
        "weights": options.weights and str(options.weights),
        "keras_version": keras.__version__,
    }
    how = applications.outer_mode(function)
    image_models.describe(model, origin, applications.contract(how, options.preprocessing))
    return model


READER = SourceReader(
    kind="a name",
    accepts=is_name,
    options=frozenset(
        {"include_top", "input_shape", "weights", "preprocessing", "dtype", "reference"}
    ),
    read=read,
)
