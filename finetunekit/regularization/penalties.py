"""How large may weights grow? L1 and L2 penalties put into a model that exists already."""

import math
import weakref
from dataclasses import dataclass
from typing import Any

import keras

from finetunekit import _keras, compiled, graph
from finetunekit.messages import listed, plural, say
from finetunekit.regularization.temporary import TemporaryInjection
from finetunekit.selection import Selector, find_layers


@dataclass(frozen=True)
class _Regularizers:
    """The regularizers of a layer: of its kernels, and as its config has them."""

    variables: tuple[tuple[Any, Any], ...]
    attributes: tuple[tuple[str, Any], ...]


# What layers with an injected penalty had before.
_before: "weakref.WeakKeyDictionary[Any, _Regularizers]" = weakref.WeakKeyDictionary()


def inject_regularizer(
    model: keras.Model,
    *,
    l1: float | None = None,
    l2: float | None = None,
    layers: Selector = ".*",
) -> keras.Model:
    """Puts an L1 or L2 penalty on the kernels of layers, in place.

    It acts at once, in training and validation loss; it is saved with the model and read by plain
    Keras; and Keras leaves frozen layers out of it. It takes the place of a penalty that a layer
    has; `remove_regularizer` brings that back. Biases and normalisation are never penalised.

    Args:
        model: A built Keras model.
        l1: Strength of `l1 * sum(|w|)`.
        l2: Strength of `l2 * sum(w ** 2)`.
        layers: Which layers, as in `find_layers`; those without a kernel are passed over.

    Returns:
        The same model.

    Raises:
        ValueError: If no strength is given, one is negative, or no layer chosen has a kernel.

    Example:
        ```python
        import finetunekit as ftk

        model = ftk.add_head(ftk.load_backbone("pretrained_model.h5"), "binary")
        ftk.inject_regularizer(model, l2=1e-4, layers="head")
        assert len(model.losses) == 1
        ```
    """
    l1, l2 = _strength(l1, "l1"), _strength(l2, "l2")
    if not l1 and not l2:
        raise ValueError(
            "Give `l1` or `l2`, a number above 0; `remove_regularizer` takes penalties out. "
            f"Received: l1={l1!r}, l2={l2!r}"
        )
    changed = _carriers(model, layers)
    for layer in changed:
        _before.setdefault(layer, _found(layer))
        _penalise(layer, l1, l2)
    compiled.renew_all(changed, model)
    say(
        f"{model.name!r}: penalty l1={l1:g}, l2={l2:g} on the kernels of "
        f"{plural(len(changed), 'layer')}"
    )
    return model


def remove_regularizer(model: keras.Model, layers: Selector = ".*") -> keras.Model:
    """Takes injected penalties out again, in place, and brings back what was there before.

    Args:
        model: A model that `inject_regularizer` has changed.
        layers: Which layers, as in `find_layers`.

    Returns:
        The same model.

    Raises:
        ValueError: If no layer chosen has an injected penalty.

    Example:
        ```python
        import finetunekit as ftk

        model = ftk.add_head(ftk.load_backbone("pretrained_model.h5"), "binary")
        ftk.inject_regularizer(model, l1=1e-5, l2=1e-4)
        ftk.remove_regularizer(model)
        assert model.losses == []
        ```
    """
    chosen = graph.with_descendants(list(find_layers(model, layers).values()))
    injected = [layer for layer in chosen if layer in _before]
    if not injected:
        there = [place.path for place in graph.walk(model) if place.layer in _before]
        raise ValueError(
            "`layers` matches no layer with an injected penalty. Such layers are: "
            f"{listed(there) or 'none'}. Received: layers={layers!r}"
        )
    for layer in injected:
        _put_back(layer, _before.pop(layer))
    compiled.renew_all(injected, model)
    say(f"{model.name!r}: penalties taken out of {plural(len(injected), 'layer')}")
    return model


def _carriers(model: keras.Model, layers: Selector) -> list[keras.layers.Layer]:
    """The chosen layers that have kernels, and those whose config speaks for inner ones."""
    chosen = graph.with_descendants(list(find_layers(model, layers).values()))
    if not any(_keras.kernels(layer) for layer in chosen):
        possible = [place.path for place in graph.walk(model) if _keras.kernels(place.layer)]
        raise ValueError(
            "`layers` matches no layer with a kernel to penalise. Layers with one are: "
            f"{listed(possible) or 'none'}. Received: layers={layers!r}"
        )
    return [
        layer for layer in chosen if _keras.kernels(layer) or _keras.regularizer_attributes(layer)
    ]


def _found(layer: keras.layers.Layer) -> _Regularizers:
    return _Regularizers(
        tuple((variable, variable.regularizer) for variable in _keras.kernels(layer)),
        tuple((name, getattr(layer, name)) for name in _keras.regularizer_attributes(layer)),
    )


def _penalise(layer: keras.layers.Layer, l1: float, l2: float) -> None:
    """Sets both: Keras takes the loss from the variable, and the saved config from the layer."""
    for variable in _keras.kernels(layer):
        variable.regularizer = _penalty(l1, l2)
    for name in _keras.regularizer_attributes(layer):
        setattr(layer, name, _penalty(l1, l2))


def _put_back(layer: keras.layers.Layer, before: _Regularizers) -> None:
    for variable, regularizer in before.variables:
        variable.regularizer = regularizer
    for name, regularizer in before.attributes:
        setattr(layer, name, regularizer)


def _penalty(l1: float, l2: float) -> keras.regularizers.Regularizer:
    if l1 and l2:
        return keras.regularizers.L1L2(l1=l1, l2=l2)
    return keras.regularizers.L1(l1) if l1 else keras.regularizers.L2(l2)


def _strength(value: Any, name: str) -> float:
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"`{name}` must be a number. Received: {name}={value!r}")
    if value < 0 or not math.isfinite(value):
        raise ValueError(
            f"`{name}` must be a number of at least 0, such as 1e-4. Received: {name}={value!r}"
        )
    return float(value)


class L1L2Injection(TemporaryInjection):
    """Puts an L1 or L2 penalty on kernels for the time of one `fit`, and takes it out after.

    Args:
        l1: As for `inject_regularizer`.
        l2: As for `inject_regularizer`.
        layers: As for `inject_regularizer`.

    Raises:
        ValueError: If no strength is given or one is negative.

    Example:
        ```python
        import finetunekit as ftk

        model = ftk.add_head(ftk.load_backbone("pretrained_model.h5"), "binary")
        ftk.compile_for_task(model)
        penalty = ftk.callbacks.L1L2Injection(l2=1e-3, layers="head")
        ftk.fit(model, x_train, y_train, callbacks=[penalty], verbose=0)
        assert model.losses == []
        ```
    """

    def __init__(
        self, *, l1: float | None = None, l2: float | None = None, layers: Selector = ".*"
    ) -> None:
        super().__init__()
        self._l1, self._l2, self._layers = _strength(l1, "l1"), _strength(l2, "l2"), layers
        if not self._l1 and not self._l2:
            raise ValueError(f"Give `l1` or `l2`, a number above 0. Received: l1={l1!r}, l2={l2!r}")
        self._held: list[tuple[keras.layers.Layer, _Regularizers]] = []

    def _change(self, model: keras.Model) -> None:
        self._held = [(layer, _found(layer)) for layer in _carriers(model, self._layers)]
        for layer, _ in self._held:
            _penalise(layer, self._l1, self._l2)

    def _undo(self, model: keras.Model) -> None:
        for layer, before in self._held:
            _put_back(layer, before)
        self._held = []
