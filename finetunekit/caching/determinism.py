"""Whether a layer gives the same for the same input in every epoch, and if not, why."""

import keras

from finetunekit.caching.calls import Call
from finetunekit.foundation import keras_internals, patches
from finetunekit.models import graph

# Where a layer keeps how strongly it disturbs its input; all zero means not at all.
_STRENGTHS = ("rate", "stddev", "dropout", "recurrent_dropout", "drop_rate")
# Libraries whose layers do nothing else while training than drop, disturb and count.
_KNOWN = ("keras.", "keras_hub.", "finetunekit.")


def obstacle(call: Call, trained: set[int], *, frozen_dropout: bool) -> str:
    """Why the outputs of a call may change between epochs; empty if they do not.

    Args:
        call: A call whose inputs are constant.
        trained: `id(variable)` of what the model trains. A layer that was made with
            `trainable=False` says that it trains nothing, but a model trains the layers in it.
        frozen_dropout: Whether layers that are frozen run as while training, with their dropout.
    """
    for leaf in keras.tree.flatten((call.args, call.kwargs)):
        if isinstance(leaf, keras.Variable):
            return f"the weight {leaf.path!r} is used outside of a layer"
    if not isinstance(call.operation, keras.layers.Layer):
        return ""
    if any(id(variable) in trained for variable in call.operation.variables):
        return "its weights are trainable"
    frozen = _is_frozen(call, trained)
    for layer in [call.operation, *(place.layer for place in graph.walk(call.operation))]:
        reason = _obstacle_in(layer, frozen or not layer.trainable, frozen_dropout)
        if reason:
            return reason if layer is call.operation else f"{layer.name!r} inside of it: {reason}"
    return ""


def switched_off(call: Call) -> list[keras.layers.Layer]:
    """The layers of a constant call that would be random, or unknown, while training."""
    if not isinstance(call.operation, keras.layers.Layer):
        return []
    layers = [call.operation, *(place.layer for place in graph.walk(call.operation))]
    return [layer for layer in layers if _is_random(layer) or _is_unknown(layer)]


def state_of_others(calls: list[Call]) -> list[keras.Variable]:
    """The variables that layers of other libraries might change when they are called.

    Of Keras' own layers it is known which do, and when.
    """
    found = {}
    for call in calls:
        if isinstance(call.operation, keras.layers.Layer):
            for layer in [call.operation, *(place.layer for place in graph.walk(call.operation))]:
                if not type(layer).__module__.startswith(_KNOWN):
                    found.update({id(v): v for v in keras_internals.own_weights(layer)})
    return list(found.values())


def _obstacle_in(layer: keras.layers.Layer, frozen: bool, frozen_dropout: bool) -> str:
    if patches.is_patched(layer, "call") or patches.is_users_own(layer, "call"):
        return "its `call` was replaced"
    if layer.activity_regularizer is not None:
        return "its activity regularizer is a part of the loss"
    if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
        return "it is BatchNormalization that updates its statistics"
    if isinstance(layer, keras.layers.SpectralNormalization):
        return "it changes its weights in each training step"
    if getattr(layer, "stateful", False) is True:
        return "it is stateful: it remembers the batch before"
    if _is_random(layer):
        if _is_augmentation(layer):
            return "it is random augmentation"
        if not frozen:
            return "it is random while training"
        if frozen_dropout:
            return "it is random while training, and `frozen_dropout=True` leaves it so"
    elif _is_unknown(layer) and (frozen_dropout or not frozen):
        return "its `call` takes `training`, and what it then does is not known"
    return ""


def _is_frozen(call: Call, trained: set[int]) -> bool:
    """Whether the layer, or a nested model around it, is frozen as a whole."""
    if not call.operation.trainable:
        return True
    around = [layer for layer in call.inside if layer.weights]
    return any(not any(id(variable) in trained for variable in layer.variables) for layer in around)


def _is_random(layer: keras.layers.Layer) -> bool:
    if not keras_internals.has_seed(layer):
        return False
    strengths = [getattr(layer, name, None) for name in _STRENGTHS]
    numbers = [value for value in strengths if isinstance(value, (int, float))]
    return any(numbers) if numbers else True


def _is_augmentation(layer: keras.layers.Layer) -> bool:
    return ".preprocessing." in type(layer).__module__ or "RandomLayer" in {
        parent.__name__ for parent in type(layer).__mro__
    }


def _is_unknown(layer: keras.layers.Layer) -> bool:
    return keras_internals.takes_training(layer) and not type(layer).__module__.startswith(_KNOWN)
