"""Learning rates by layer, by depth and by selector, for any optimizer of Keras."""

from collections.abc import Mapping
from typing import Any

import keras

from finetunekit.foundation import arguments, keras_internals
from finetunekit.foundation.messages import plural, say
from finetunekit.models import compiled, graph, rate_multipliers, selection
from finetunekit.optimizers import depth


def layerwise_optimizer(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    *,
    layer_decay: float | None = None,
    rates: Mapping[Any, float] | None = None,
    decay_all: bool = False,
) -> keras.optimizers.Optimizer:
    """Gives each layer a learning rate of its own, as a factor on the optimizer's, in place.

    The optimizer stays the class of Keras that it is: its rate may be a number, which callbacks go
    on changing, or a schedule, and a saved file opens with plain Keras. Decoupled weight decay is
    scaled alike and leaves biases, normalisation and other vectors out. What has the factor 0
    stands still, bit for bit.

    Args:
        model: A Keras model of any kind.
        optimizer: An optimizer for it, new or the one that it is compiled with.
        layer_decay: A factor in (0, 1] for each block on the way from the output to the input:
            the head has 1, the last block `layer_decay`, the one before its square. Blocks are told
            by their names; where there are none, each layer with a kernel is one. More than 24 are
            merged evenly.
        rates: Selector, as for `find_layers` -> factor of at least 0. The last that matches a layer
            counts. With `layer_decay`, factors multiply.
        decay_all: Whether weight decay acts on biases and normalisation too.

    Returns:
        The same optimizer, to compile with.

    Raises:
        ValueError: If a factor is out of range, a selector matches nothing, neither is given, or
            the optimizer is made of several.
        TypeError: If an argument is of the wrong type.

    Example:
        ```python
        import keras
        import finetunekit as ftk

        model = ftk.add_head(ftk.load_backbone("pretrained_model.h5"), "binary")
        optimizer = ftk.layerwise_optimizer(
            model, keras.optimizers.AdamW(1e-3), layer_decay=0.75, rates={"conv1": 0}
        )
        ftk.compile_for_task(model, optimizer=optimizer)
        print(ftk.learning_rates(model))
        ```

    Source: Bao et al., "BEiT: BERT Pre-Training of Image Transformers", arXiv:2106.08254 (decay by
        depth; `layer_decay` of timm); Howard, Ruder, "Universal Language Model Fine-tuning for
        Text Classification", arXiv:1801.06146 (discriminative rates).
    """
    arguments.check_model(model)
    rate_multipliers.check(optimizer)
    if layer_decay is None and not rates:
        raise ValueError(
            "Give `layer_decay`, such as 0.75, or `rates`, such as {'backbone': 0.1}, or both. "
            f"Received: layer_decay={layer_decay!r}, rates={rates!r}"
        )
    factors = _by_depth(model, layer_decay)
    for variable, factor in _by_selector(model, rates or {}):
        held = factors.get(id(variable), (variable, 1.0))[1]
        factors[id(variable)] = variable, held * factor
    undecayed = [] if decay_all else _vectors(model)
    rate_multipliers.set_factors(optimizer, factors.values(), undecayed)
    if getattr(model, "optimizer", None) is optimizer:
        compiled.renew(model)
    _tell(model, factors)
    return optimizer


def check_layer_decay(decay: Any) -> None:
    """Raises for what is not a factor by depth.

    Raises:
        TypeError: If it is not a number.
        ValueError: If it is not above 0 and up to 1.
    """
    arguments.check_number(decay, "layer_decay", arguments.SHARE_OR_ALL, "such as 0.75")


def _by_depth(model: keras.Model, decay: Any) -> dict[int, tuple[Any, float]]:
    if decay is None:
        return {}
    check_layer_decay(decay)
    found = depth.groups(model)
    return {
        id(variable): (variable, float(decay) ** (len(found) - 1 - number))
        for number, (_, layers) in enumerate(found)
        for layer in layers
        for variable in keras_internals.own_trainable_variables(layer)
    }


def _by_selector(model: keras.Model, rates: Any) -> list[tuple[Any, float]]:
    if not isinstance(rates, Mapping):
        raise TypeError(
            "`rates` must be a dict of selector -> factor, such as {'backbone': 0.1}. "
            f"Received: rates={rates!r}"
        )
    found: dict[int, tuple[Any, float]] = {}
    for selector, factor in rates.items():
        if not arguments.is_number(factor) or not 0 <= float(factor) < float("inf"):
            raise ValueError(
                "`rates` must hold factors of at least 0 on the optimizer's rate, such as 0.1. "
                f"Received: rates={{{selector!r}: {factor!r}}}"
            )
        layers = selection.find_layers_for("rates", model, selector)
        for layer in graph.with_descendants(list(layers.values())):
            for variable in keras_internals.own_trainable_variables(layer):
                found[id(variable)] = variable, float(factor)
    return list(found.values())


def _vectors(model: keras.Model) -> list[Any]:
    """Biases, and what normalisation scales and shifts by: vectors and single numbers."""
    return [
        variable
        for place in graph.walk(model)
        for variable in keras_internals.own_trainable_variables(place.layer)
        if len(variable.shape) < 2 or variable.name in ("bias", "gamma", "beta", "scale")
    ]


def _tell(model: keras.Model, factors: dict[int, tuple[Any, float]]) -> None:
    values = sorted({factor for _, factor in factors.values()})
    if len(values) == 1:
        times = "" if values[0] == 1 else f", {values[0]:.3g} times the optimizer's"
        say(f"{model.name!r}: one learning rate for all layers{times}")
        return
    say(
        f"{model.name!r}: {plural(len(values), 'learning rate')}, {values[0]:.3g} to "
        f"{values[-1]:.3g} times the optimizer's"
    )


def learning_rates(model: keras.Model) -> dict[str, float]:
    """The learning rate of each layer that trains, as of the next step; changes nothing.

    Args:
        model: A compiled model.

    Returns:
        Path of the layer -> the rate of its first variable that trains.

    Raises:
        ValueError: If the model is not compiled.

    Example:
        ```python
        import finetunekit as ftk

        model = ftk.add_head(ftk.load_backbone("pretrained_model.h5"), "binary")
        ftk.compile_for_task(model, learning_rate=1e-4)
        assert set(ftk.learning_rates(model).values()) == {float(np.float32(1e-4))}
        ```
    """
    arguments.check_model(model)
    if not model.compiled or model.optimizer is None:
        raise ValueError(f"`model` is not compiled, so it has no rates. Received: model={model!r}")
    trains = {id(variable) for variable in model.trainable_variables}
    optimizer = model.optimizer
    sizes = rate_multipliers.of(optimizer)
    base = float(optimizer.learning_rate)
    if sizes is not None and sizes.schedule is not None:
        base *= float(sizes.schedule(rate_multipliers.innermost(optimizer).iterations))
    found = {}
    for place in graph.walk(model):
        own = [v for v in keras_internals.own_trainable_variables(place.layer) if id(v) in trains]
        if own:
            found[place.path] = base * float(rate_multipliers.factor(optimizer, own[0]))
    return found
