"""The optimizer and its small learning rate: a rule from what is trainable.

The smaller the part that trains, the larger the steps it takes: a new head starts from random
numbers, a pretrained layer from good ones. For Adam, 1e-3 for a head alone and 1e-5 for the whole
model are the rates of Keras' guide "Transfer learning & fine-tuning"; 1e-4 for a part of the
backbone is their geometric mean. SGD takes ten times as much, as its default does in Keras.
"""

from typing import Any

import keras

from finetunekit.foundation import arguments
from finetunekit.foundation.messages import closest, listed
from finetunekit.models import graph, metadata, rate_multipliers

RATES = {"head": 1e-3, "part": 1e-4, "all": 1e-5}
_SGD_FACTOR = 10
_NAMES = ("adam", "adamw", "sgd")


def trainable_part(model: keras.Model) -> str:
    """What of the model trains: `"head"`, `"part"` (of the backbone too), or `"all"`.

    In a model that was not made by `add_head`, the layers that train are its head if the frozen
    ones are whole models inside of it, or if they are Dense layers behind all that is frozen.
    BatchNormalization does not count, since it may stay frozen for good, nor do layers that the
    output is not made of.

    Raises:
        ValueError: If nothing trains.
    """
    trains = {id(variable) for variable in model.trainable_variables}
    if not trains and not model.weights:
        raise ValueError(
            f"{model.name!r} is not built, so it has nothing to train yet. Call it on a batch "
            f"first, or give it a `keras.Input`. Received: model={model!r}"
        )
    if not trains:
        raise ValueError(
            f"Nothing in {model.name!r} is trainable, so there is nothing to fit. Unfreeze "
            "something with `unfreeze_layers(model, 'head')`, or add a head. "
            f"Received: model={model!r}"
        )
    if metadata.of(model).is_head:
        return "head"
    backbone = metadata.roles(model).get("backbone")
    idle = {id(layer) for layer in graph.with_descendants(graph.idle_layers(model))}
    places = [
        place
        for place in graph.leaves(backbone if backbone is not None else model)
        if not isinstance(place.layer, keras.layers.BatchNormalization)
        and id(place.layer) not in idle
    ]
    states = [any(id(v) in trains for v in place.layer.weights) for place in places]
    if backbone is not None and not any(states):
        return "head"
    if all(states):
        return "all"
    return "head" if backbone is None and _are_a_head(places, states) else "part"


def _are_a_head(places: list[graph.Place], states: list[bool]) -> bool:
    """Whether the layers that train are new by all signs: put on a frozen model, or the last."""
    around = [place.ancestors[1] if len(place.ancestors) > 1 else None for place in places]
    pairs = list(zip(around, states, strict=True))
    frozen = {id(outer) for outer, trains in pairs if not trains}
    whole = all(isinstance(outer, keras.Model) for outer, trains in pairs if not trains)
    if whole and not any(trains and id(outer) in frozen for outer, trains in pairs):
        return True
    dense = [isinstance(place.layer, keras.layers.Dense) for place in places]
    return states == sorted(states) and all(
        d for d, trains in zip(dense, states, strict=True) if trains
    )


def note(model: keras.Model, part: str) -> str:
    """What was taken for the head of a model without one on record, in words; else empty."""
    known = metadata.of(model)
    if known.backbone is not None or known.is_head or part == "all":
        return ""
    if part == "part":
        return f" (if all of these are new, give learning_rate={RATES['head']:.0e})"
    trains = {id(variable) for variable in model.trainable_variables}
    names = [p.path for p in graph.leaves(model) if any(id(v) in trains for v in p.layer.weights)]
    return f": {listed(names, limit=4)}"


def rate_for(optimizer: keras.optimizers.Optimizer, part: str) -> float | None:
    """The rate of the rule for an optimizer, by what trains; None if the rule has none for it."""
    kind = type(rate_multipliers.innermost(optimizer))
    if kind is keras.optimizers.SGD:
        return RATES[part] * _SGD_FACTOR
    return RATES[part] if kind in (keras.optimizers.Adam, keras.optimizers.AdamW) else None


def make_optimizer(
    optimizer: Any, learning_rate: Any, part: str, ema_momentum: float | None = None
) -> tuple[keras.optimizers.Optimizer, str]:
    """The optimizer to compile with, and a word on its rate.

    Raises:
        ValueError: If the name is unknown, a number is out of range, or a rate or average is given
            beside an optimizer object.
        TypeError: If an argument is of the wrong type.
    """
    if isinstance(optimizer, keras.optimizers.Optimizer):
        if learning_rate != "auto":
            raise ValueError(
                "An optimizer object keeps its own rate. Give the rate to the optimizer, or give "
                "the optimizer by name. "
                f"Received: optimizer={type(optimizer).__name__} object, "
                f"learning_rate={learning_rate!r}"
            )
        if ema_momentum is not None:
            raise ValueError(
                "An optimizer object averages by itself: give it `use_ema=True, "
                f"ema_momentum={ema_momentum!r}`. Received: ema_momentum={ema_momentum!r}, "
                f"optimizer={type(optimizer).__name__} object"
            )
        return optimizer, f"{type(optimizer).__name__} at its own rate"
    if not isinstance(optimizer, str):
        raise TypeError(
            f"`optimizer` must be one of {listed(_NAMES)}, or a Keras optimizer object. "
            f"Received: optimizer={optimizer!r}"
        )
    name = "adam" if optimizer == "auto" else optimizer.lower()
    if name not in _NAMES:
        raise ValueError(
            f"`optimizer` must be one of {listed(_NAMES)}, or any Keras optimizer object, such "
            f"as keras.optimizers.Lion(1e-5). {closest(name, _NAMES)}"
            f"Received: optimizer={optimizer!r}"
        )
    rate, reason = _rate(learning_rate, part, name)
    average = _average(ema_momentum)
    if name == "sgd":
        return keras.optimizers.SGD(rate, momentum=0.9, **average), f"SGD (momentum 0.9) {reason}"
    kind = keras.optimizers.Adam if name == "adam" else keras.optimizers.AdamW
    return kind(rate, **average), f"{kind.__name__} {reason}"


def _average(momentum: Any) -> dict[str, Any]:
    if momentum is None:
        return {}
    what = "such as 0.99: the weights are averaged over about 1 / (1 - ema_momentum) steps"
    share = arguments.check_number(momentum, "ema_momentum", arguments.SHARE, what)
    return {"use_ema": True, "ema_momentum": share}


def _rate(learning_rate: Any, part: str, name: str) -> tuple[Any, str]:
    if isinstance(learning_rate, keras.optimizers.schedules.LearningRateSchedule):
        return learning_rate, f"with {type(learning_rate).__name__}"
    if isinstance(learning_rate, str) and learning_rate == "auto":
        rate = RATES[part] * (_SGD_FACTOR if name == "sgd" else 1)
        what = {"head": "the head alone", "part": "a part of the layers", "all": "everything"}
        return rate, f"at {rate:.0e}, since {what[part]} trains"
    meant = "such as 1e-4, or 'auto', or a LearningRateSchedule"
    rate = arguments.check_number(learning_rate, "learning_rate", arguments.POSITIVE, meant)
    return rate, f"at {rate:.3g}"
