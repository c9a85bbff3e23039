"""Which activations are dropped in training? Dropout put into a model that exists already."""

from typing import Any

import keras

from finetunekit.foundation import keras_internals
from finetunekit.foundation.messages import listed, plural, say
from finetunekit.models import compiled, graph, metadata
from finetunekit.models.selection import Selector, find_layers_for
from finetunekit.models.temporary_injection import TemporaryInjection


def inject_dropout(
    model: keras.Model, rate: float, *, after: Selector, seed: int | None = None
) -> keras.Model:
    """Returns a new model with Dropout after the chosen layers, through nested models.

    It shares all weights with the old one, which stays as it is, and predicts the same: Dropout
    acts in training only. A compiled model keeps its compile configuration and optimizer state.

    Args:
        model: A Functional or built Sequential model.
        rate: Share of the values set to zero, in (0, 1).
        after: After which layers, as in `find_layers`; of nested ones the outermost counts.
        seed: Seed of the Dropout layers; drawn from Keras' global generator if None.

    Returns:
        The new model, of stock Keras layers.

    Raises:
        ValueError: If the rate is out of range, a chosen layer gives the task's probabilities, or
            it stands inside something that is no graph.

    Example:
        ```python
        import keras
        import finetunekit as ftk

        model = ftk.add_head(ftk.load_backbone("pretrained_model.h5"), "binary")
        model = ftk.inject_dropout(model, 0.2, after=keras.layers.Conv2D)
        ```
    """
    rate = checked_rate(rate)
    chosen = _targets(model, after)
    taken = {place.layer.name for place in graph.walk(model)}
    additions = {
        id(layer): keras.layers.Dropout(
            rate, seed=seed, name=free_name(f"{layer.name}_dropout", taken)
        )
        for layer in chosen
    }
    new = graph.insert_after(model, additions)
    carry_roles(model, new)
    compiled.carry_compilation(model, new)
    say(f"Dropout {rate:g} put after {plural(len(chosen), 'layer')} of {model.name!r}")
    return new


def free_name(name: str, taken: set[str]) -> str:
    """The name, or with a number if a layer of the model has it."""
    number, free = 1, name
    while free in taken:
        number, free = number + 1, f"{name}_{number}"
    taken.add(free)
    return free


def checked_rate(rate: Any) -> float:
    """A rate of Dropout, or a ValueError."""
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 < rate < 1:
        raise ValueError(
            "`rate` must be a number in (0, 1), the share of values set to zero. "
            f"Received: rate={rate!r}"
        )
    return float(rate)


def _targets(model: keras.Model, after: Selector) -> list[keras.layers.Layer]:
    """The outermost layers chosen, none of which gives the model's probabilities."""
    found = list(find_layers_for("after", model, after).values())
    ids = {id(layer) for layer in found}
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
        what = "give the task's output" if wrong else "are inputs only"
        raise ValueError(
            f"`after` must choose layers inside the model; the chosen ones {what}: "
            f"{listed(wrong or [layer.name for layer in found])}. Choose an earlier layer. "
            f"Received: after={after!r}"
        )
    return chosen


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


def carry_roles(old: keras.Model, new: keras.Model) -> None:
    """Finds backbone and head again by name: nested models with Dropout inside are new objects."""
    by_name = {layer.name: layer for layer in new.layers}
    known = metadata.of(old)
    for layer in old.layers:
        if by_name.get(layer.name) is not layer and isinstance(layer, keras.Model):
            metadata.carry(layer, by_name[layer.name])
    renamed = {
        role: None if layer is None else by_name.get(layer.name)
        for role, layer in (("backbone", known.backbone), ("head", known.head))
    }
    metadata.carry(old, new, **renamed)


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
        self._held: list[keras.layers.Layer] = []
        self._dropouts: list[keras.layers.Dropout] = []

    @property
    def training_settings(self) -> dict[str, Any]:
        """What a resumed run has to share."""
        return {"rate": self._rate, "seed": self._seed}

    @property
    def variables(self) -> list[Any]:
        """The states of the Dropout layers, which are no part of the model, for a checkpoint."""
        return [state for layer in self._dropouts for state in keras_internals.seed_states(layer)]

    def _change(self, model: keras.Model) -> None:
        self._held = _targets(model, self._after)
        self._dropouts = [keras.layers.Dropout(self._rate, seed=self._seed) for _ in self._held]
        for layer, dropout in zip(self._held, self._dropouts, strict=True):
            # An attribute of the instance hides the class's method until it is deleted.
            layer.call = _followed_by(layer.call, dropout)

    def _undo(self, model: keras.Model) -> None:
        for layer in self._held:
            del layer.call
        self._held, self._dropouts = [], []


def _followed_by(call: Any, dropout: keras.layers.Layer) -> Any:
    def call_and_drop(*args: Any, **kwargs: Any) -> Any:
        return keras.tree.map_structure(dropout, call(*args, **kwargs))

    call_and_drop.followed_by = dropout  # type: ignore[attr-defined]  # For the frozen prefix.
    return call_and_drop
