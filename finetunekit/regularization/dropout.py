"""Dropout put into an existing model."""

import functools
import re
from typing import Any

import keras

from finetunekit.foundation import arguments, keras_internals
from finetunekit.foundation.messages import listed, plural, say
from finetunekit.foundation.patches import Patch, patch
from finetunekit.models import graph, metadata, model_state
from finetunekit.models.selection import Selector, find_layers_for
from finetunekit.models.temporary_injection import TemporaryInjection


def inject_dropout(
    model: keras.Model, rate: float, *, after: Selector, seed: int | None = None
) -> keras.Model:
    """Returns a new model with Dropout after the chosen layers, through nested models.

    It shares all weights with the old one, which stays as it is, and predicts the same: Dropout
    acts in training only. A compiled model keeps its compile configuration and optimizer state.
    Dropout put in before is never chosen, and a layer that has it at the same rate and seed gets
    no second one.

    Args:
        model: A Functional or built Sequential model.
        rate: Share of the values set to zero, in (0, 1).
        after: After which layers, as in `find_layers`; of nested ones the outermost counts.
        seed: Seed of the Dropout layers; drawn from Keras' global generator if None.

    Returns:
        The new model, of stock Keras layers.

    Raises:
        ValueError: If the rate is out of range, a chosen layer gives the task's probabilities, or
            it stands inside something that is not a graph.

    Example:
        ```python
        import keras
        import finetunekit as ftk

        model = ftk.add_head(ftk.load_backbone("pretrained_model.h5"), "binary")
        model = ftk.inject_dropout(model, 0.2, after=keras.layers.Conv2D)
        ```
    """
    rate = checked_rate(rate)
    chosen, there = _targets(model, after), _already_in(model)
    taken = {place.layer.name for place in graph.walk(model)}
    additions = {
        id(layer): keras.layers.Dropout(
            rate, seed=seed, name=free_name(f"{layer.name}_dropout", taken)
        )
        for layer in chosen
        if (id(layer), rate, seed) not in there
    }
    new = graph.insert_after(model, additions)
    model_state.carry(model, new)
    had = f"; {len(chosen) - len(additions)} had it" if len(additions) < len(chosen) else ""
    say(f"Dropout {rate:g} put after {plural(len(additions), 'layer')} of {model.name!r}{had}")
    return new


def free_name(name: str, taken: set[str]) -> str:
    """The name, or with a number if a layer of the model has it."""
    number, free = 1, name
    while free in taken:
        number, free = number + 1, f"{name}_{number}"
    taken.add(free)
    return free


def checked_rate(rate: Any) -> float:
    """A rate of Dropout, or an error."""
    return arguments.check_number(rate, "rate", arguments.SHARE, "the share of values set to zero")


def _targets(model: keras.Model, after: Selector) -> list[keras.layers.Layer]:
    """The outermost layers chosen, none of which gives the model's probabilities."""
    found = list(find_layers_for("after", model, after).values())
    ids = {id(layer) for layer in found} - set(_injected(model))
    chosen = [
        place.layer
        for place in graph.walk(model)
        if id(place.layer) in ids
        and not isinstance(place.layer, keras.layers.InputLayer)
        and not any(id(layer) in ids for layer in place.ancestors)
    ]
    outputs = _output_layers(model)
    wrong = [layer.name for layer in chosen if id(layer) in map(id, outputs)]
    if wrong or not chosen:
        what = "give the task's output" if wrong else "are inputs, or Dropout put in before"
        raise ValueError(
            f"`after` must choose layers inside the model; the chosen ones {what}: "
            f"{listed(wrong or [layer.name for layer in found])}. Choose an earlier layer. "
            f"Received: after={after!r}"
        )
    return chosen


def _injected(model: keras.Model) -> dict[int, tuple[Any, Any]]:
    """`id` of a Dropout layer put in -> it, and the layer that it was put after.

    They are known by their names, which files keep.
    """
    siblings: dict[tuple[int, str], Any] = {}
    dropouts = []
    for place in graph.walk(model):
        around = id(place.ancestors[-1]) if place.ancestors else id(model)
        siblings[around, place.layer.name] = place.layer
        name = re.fullmatch(r"(.+)_(dropout|depth)(_\d+)?", place.layer.name)
        if name and isinstance(place.layer, keras.layers.Dropout):
            dropouts.append((place.layer, around, name[1]))
    return {
        id(layer): (layer, siblings[around, base])
        for layer, around, base in dropouts
        if (around, base) in siblings
    }


def _already_in(model: keras.Model) -> set[tuple[int, float, int | None]]:
    """`id(layer)`, rate and seed of the Dropout that layers have had put after them."""
    return {
        (id(layer), dropout.rate, dropout.seed)
        for dropout, layer in _injected(model).values()
        if dropout.noise_shape is None
    }


def _output_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The head, and the layers that give probabilities as outputs: Dropout after them is wrong."""
    found = [layer for layer in [metadata.of(model).head] if layer is not None]
    if graph.is_graph(model):
        for tensor in model.outputs:
            layer = keras_internals.producer(tensor)
            activation = getattr(getattr(layer, "activation", None), "__name__", "")
            if isinstance(layer, keras.Model):
                found += _output_layers(layer)
            elif activation in ("sigmoid", "softmax") or isinstance(layer, keras.layers.Softmax):
                found.append(layer)
    head = metadata.of(model).head
    return [*found, *(head.layers[-1:] if isinstance(head, keras.Model) else [])]


class DropoutInjection(TemporaryInjection):
    """Puts Dropout after layers, in place, for the time of one `fit`, and takes it out after.

    A model that is saved meanwhile has no Dropout in it.

    Args:
        rate: Share of the values set to zero, in (0, 1).
        after: After which layers, as in `find_layers`; of nested ones the outermost counts.
        seed: Seed of the Dropout.

    Raises:
        ValueError: If the rate is out of range.

    Example:
        ```python
        import finetunekit as ftk

        model = ftk.add_head(ftk.load_backbone("pretrained_model.h5"), "binary", hidden_units=[8])
        ftk.compile_for_task(model)
        drop = ftk.callbacks.DropoutInjection(0.3, after="backbone")
        ftk.fit(model, x_train, y_train, callbacks=[drop], verbose=0)
        ```
    """

    changes_frozen_weights = False

    def __init__(self, rate: float, *, after: Selector, seed: int | None = None) -> None:
        super().__init__()
        self._rate, self._after, self._seed = checked_rate(rate), after, seed

    @property
    def training_settings(self) -> dict[str, Any]:
        """What a resumed run has to share."""
        return {"rate": self._rate, "seed": self._seed}

    @property
    def variables(self) -> list[Any]:
        """The states of the Dropout layers, which are not part of the model, for a checkpoint."""
        dropouts = [patch.tag for patch in self._patches]
        return [state for layer in dropouts for state in keras_internals.seed_states(layer)]

    def _change(self, model: keras.Model) -> list[Patch]:
        layers = _targets(model, self._after)
        dropouts = [keras.layers.Dropout(self._rate, seed=self._seed) for _ in layers]
        # The tag tells the frozen prefix what follows the layer.
        return [
            patch(layer, "call", functools.partial(_followed_by, dropout), tag=dropout)
            for layer, dropout in zip(layers, dropouts, strict=True)
        ]


def _followed_by(dropout: keras.layers.Layer, call: Any) -> Any:
    def call_and_drop(*args: Any, **kwargs: Any) -> Any:
        return keras.tree.map_structure(dropout, call(*args, **kwargs))

    return call_and_drop
