"""The regularizers that layers had before a penalty was injected."""

from dataclasses import dataclass
from typing import Any

import keras

from finetunekit.foundation import keras_internals, patches
from finetunekit.foundation.messages import warn
from finetunekit.models.state_tables import REGULARIZERS_BEFORE


@dataclass(frozen=True)
class Regularizers:
    """The regularizers of a layer: of its kernels, and as its config has them."""

    variables: tuple[tuple[Any, Any], ...]
    attributes: tuple[tuple[str, Any], ...]


def of(layer: keras.layers.Layer) -> Regularizers:
    """As they are, but for what a callback has put in for a time."""
    return Regularizers(
        tuple((v, patches.original(v, "regularizer")) for v in keras_internals.kernels(layer)),
        tuple((n, getattr(layer, n)) for n in keras_internals.regularizer_attributes(layer)),
    )


def put_back(layer: keras.layers.Layer, before: Regularizers) -> None:
    """Gives a layer the regularizers that were noted."""
    for variable, regularizer in before.variables:
        variable.regularizer = regularizer
    for name, regularizer in before.attributes:
        setattr(layer, name, regularizer)


def note(layer: keras.layers.Layer) -> Regularizers:
    """Notes what the layer has, if nothing is noted yet; gives what is noted."""
    noted: Regularizers = REGULARIZERS_BEFORE.setdefault(layer, of(layer))
    return noted


def is_noted(layer: keras.layers.Layer) -> bool:
    """Whether a penalty was injected into the layer."""
    return layer in REGULARIZERS_BEFORE


def forget(layer: keras.layers.Layer) -> Regularizers:
    """Gives what was noted, and notes it no more."""
    noted: Regularizers = REGULARIZERS_BEFORE.pop(layer)
    return noted


def to_record(layer: keras.layers.Layer) -> dict[str, Any] | None:
    """What was noted, as JSON; None if a file of the layer has the same anyway."""
    noted: Regularizers | None = REGULARIZERS_BEFORE.get(layer)
    if noted is None or all(getattr(layer, n) is before for n, before in noted.attributes):
        return None
    return {
        "attributes": {name: _config(before) for name, before in noted.attributes},
        "variables": {variable.name: _config(before) for variable, before in noted.variables},
    }


def from_record(layer: keras.layers.Layer, record: dict[str, Any]) -> None:
    """Notes what `to_record` gave.

    A regularizer of an unknown class is told and taken for none.

    Raises:
        KeyError: If it names what the layer does not have.
        TypeError: If it holds anything but regularizers.
    """
    kernels = {variable.name: variable for variable in keras_internals.kernels(layer)}
    known = keras_internals.regularizer_attributes(layer)
    if not set(record["attributes"]) <= set(known):
        raise KeyError(f"{layer.name!r} has other regularizers than {list(record['attributes'])}")
    REGULARIZERS_BEFORE[layer] = Regularizers(
        tuple((kernels[name], _regularizer(row)) for name, row in record["variables"].items()),
        tuple((name, _regularizer(row)) for name, row in record["attributes"].items()),
    )


def _config(regularizer: Any) -> Any:
    return None if regularizer is None else keras.saving.serialize_keras_object(regularizer)


def _regularizer(config: Any) -> Any:
    try:
        found = None if config is None else keras.saving.deserialize_keras_object(config)
    except (TypeError, ValueError):
        found = None
        warn(
            f"`remove_regularizer` cannot bring {config.get('class_name')!r} back, which is not "
            "known here: give its class in `custom_objects`"
        )
    if not isinstance(found, keras.regularizers.Regularizer | None):
        raise TypeError(f"{config!r} is not a regularizer")
    return found
