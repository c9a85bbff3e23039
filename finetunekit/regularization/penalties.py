"""L1, L2 and L2-SP penalties put into an existing model."""

from collections.abc import Callable
from typing import Any

import keras

from finetunekit.foundation import arguments, keras_internals, patches
from finetunekit.foundation.messages import listed, plural, say
from finetunekit.foundation.patches import Patch
from finetunekit.models import compiled, graph, regularizers
from finetunekit.models.selection import Selector, find_layers
from finetunekit.models.temporary_injection import TemporaryInjection
from finetunekit.regularization.start import StartPull, starts_of, with_start


def inject_regularizer(
    model: keras.Model,
    *,
    l1: float | None = None,
    l2: float | None = None,
    l2_sp: float | None = None,
    start: keras.Model | None = None,
    layers: Selector = ".*",
) -> keras.Model:
    """Puts an L1, L2 or L2-SP penalty on the kernels of layers, in place.

    It acts at once, in training and validation loss, and Keras leaves frozen layers out of it. It
    takes the place of a penalty that a layer has; `remove_regularizer` brings that back. Biases
    and normalisation are never penalised. L1 and L2 are saved with the model and read by plain
    Keras. L2-SP is for training only: a saved file has what the layers had before, and
    `inject_regularizer(model, l2_sp=..., start=...)` puts it back on a loaded model.

    Args:
        model: A built Keras model.
        l1: Strength of `l1 * sum(|w|)`.
        l2: Strength of `l2 * sum(w ** 2)`.
        l2_sp: Strength of `l2_sp * sum((w - w0) ** 2)`, a pull to the weights `w0` that training
            starts from. The head has none: `l1` and `l2` given beside it act on the head alone.
        start: For `l2_sp`, a model of the same layers, or a backbone like the model's, whose
            weights are `w0`. Defaults to the model's own as they are now.
        layers: Which layers, as in `find_layers`; those without a kernel are skipped.

    Returns:
        The same model.

    Raises:
        ValueError: If no strength is given, one is negative, no layer chosen has a kernel, or
            `start` is a model of other layers.
        TypeError: If an argument is of the wrong type.

    Example:
        ```python
        import finetunekit as ftk

        model = ftk.add_head(ftk.load_backbone("pretrained_model.h5"), "binary")
        ftk.inject_regularizer(model, l2=1e-4, layers="head")
        assert len(model.losses) == 1
        ftk.inject_regularizer(model, l2_sp=1e-2, l2=1e-4)
        ```

    Source: Li, Grandvalet, Davoine, "Explicit Inductive Bias for Transfer Learning with
        Convolutional Networks", arXiv:1802.01483 (L2-SP).
    """
    l1, l2, pull = _strength(l1, "l1"), _strength(l2, "l2"), _strength(l2_sp, "l2_sp")
    if not (l1 or l2 or pull):
        raise ValueError(
            "Give `l1`, `l2` or `l2_sp`, a number above 0; `remove_regularizer` takes penalties "
            f"out. Received: l1={l1!r}, l2={l2!r}, l2_sp={l2_sp!r}"
        )
    if start is not None and not pull:
        raise ValueError(
            f"`start` is where `l2_sp` pulls to: give its strength. Received: l2_sp={l2_sp!r}"
        )
    changed = _carriers(model, layers)
    pulled: list[keras.layers.Layer] = []
    if pull:
        starts = starts_of(model, start)
        pulled = with_start(model, changed, starts, layers)
        changed = changed if l1 or l2 else pulled
    for layer in changed:
        regularizers.put_back(layer, regularizers.note(layer))
        if layer in pulled:
            for variable in [v for v in keras_internals.kernels(layer) if id(v) in starts]:
                variable.regularizer = StartPull(pull, starts[id(variable)])
        else:
            _penalise(layer, l1, l2)
    compiled.renew_all(changed, model)
    parts = [f"l2_sp={pull:g} on the kernels of {plural(len(pulled), 'layer')}"] if pull else []
    if len(changed) > len(pulled):
        count = plural(len(changed) - len(pulled), "layer")
        parts.append(f"l1={l1:g}, l2={l2:g} on the kernels of {count}")
    say(f"{model.name!r}: penalty {'; '.join(parts)}")
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
    injected = [layer for layer in chosen if regularizers.is_noted(layer)]
    if not injected:
        there = [place.path for place in graph.walk(model) if regularizers.is_noted(place.layer)]
        raise ValueError(
            "`layers` matches no layer with an injected penalty. Such layers are: "
            f"{listed(there) or 'none'}. Received: layers={layers!r}"
        )
    for layer in injected:
        regularizers.put_back(layer, regularizers.forget(layer))
    compiled.renew_all(injected, model)
    say(f"{model.name!r}: penalties taken out of {plural(len(injected), 'layer')}")
    return model


def _carriers(model: keras.Model, layers: Selector) -> list[keras.layers.Layer]:
    """The chosen layers that have kernels, and those whose config speaks for inner ones."""
    chosen = graph.with_descendants(list(find_layers(model, layers).values()))
    if not any(keras_internals.kernels(layer) for layer in chosen):
        possible = [
            place.path for place in graph.walk(model) if keras_internals.kernels(place.layer)
        ]
        raise ValueError(
            "`layers` matches no layer with a kernel to penalise. Layers with one are: "
            f"{listed(possible) or 'none'}. Received: layers={layers!r}"
        )
    return [
        layer
        for layer in chosen
        if keras_internals.kernels(layer) or keras_internals.regularizer_attributes(layer)
    ]


def _penalise(layer: keras.layers.Layer, l1: float, l2: float) -> None:
    """Sets both: Keras takes the loss from the variable, and the saved config from the layer."""
    for variable in keras_internals.kernels(layer):
        variable.regularizer = _penalty(l1, l2)
    for name in keras_internals.regularizer_attributes(layer):
        setattr(layer, name, _penalty(l1, l2))


def _penalty(l1: float, l2: float) -> keras.regularizers.Regularizer:
    if l1 and l2:
        return keras.regularizers.L1L2(l1=l1, l2=l2)
    return keras.regularizers.L1(l1) if l1 else keras.regularizers.L2(l2)


def _strength(value: Any, name: str) -> float:
    if value is None:
        return 0.0
    return arguments.check_number(value, name, arguments.NOT_NEGATIVE, "such as 1e-4")


class L1L2Injection(TemporaryInjection):
    """Puts an L1 or L2 penalty on kernels for the time of one `fit`, and takes it out after.

    It takes the place of a penalty that a layer has; several such callbacks add up. A model that
    is saved meanwhile has no such penalty in its file.

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

    changes_frozen_weights = False

    def __init__(
        self, *, l1: float | None = None, l2: float | None = None, layers: Selector = ".*"
    ) -> None:
        super().__init__()
        self._l1, self._l2, self._layers = _strength(l1, "l1"), _strength(l2, "l2"), layers
        if not self._l1 and not self._l2:
            raise ValueError(f"Give `l1` or `l2`, a number above 0. Received: l1={l1!r}, l2={l2!r}")

    @property
    def training_settings(self) -> dict[str, Any]:
        """What a resumed run has to share."""
        return {"l1": self._l1, "l2": self._l2}

    def _change(self, model: keras.Model) -> list[Patch]:
        layers = _carriers(model, self._layers)
        kernels = {id(v): v for layer in layers for v in keras_internals.kernels(layer)}
        return [
            patches.patch(variable, "regularizer", self._added_to(variable))
            for variable in kernels.values()
        ]

    def _added_to(self, variable: Any) -> Callable[[Any], Any]:
        own = patches.original(variable, "regularizer")

        def added(below: Any) -> Any:
            strengths = [(self._l1, self._l2)]
            if below is not own:  # Of another injection.
                strengths.append((_strength_of(below, "l1"), _strength_of(below, "l2")))
            return _penalty(sum(l1 for l1, _ in strengths), sum(l2 for _, l2 in strengths))

        return added


def _strength_of(penalty: Any, name: str) -> float:
    return float(getattr(penalty, name, 0.0))
