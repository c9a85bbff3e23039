"""The outputs of a model by name: labels, losses and weights given in dicts are matched by it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras

from finetunekit.foundation import keras_internals
from finetunekit.foundation.messages import closest, listed
from finetunekit.models import graph


@dataclass(frozen=True)
class OutputNames:
    """The outputs of a model, as labels name them.

    Attributes:
        names: A name for each, in the model's order; empty if they are not known.
        keyed: Whether the model gives them in a dict.
    """

    names: tuple[str, ...]
    keyed: bool

    def arranged(self, parts: Any, name: str) -> Any:
        """Labels or weights in the structure in which the model gives its outputs.

        Keras matches them by their order where a name is not known, and a dict is in the order of
        the alphabet.

        Raises:
            ValueError: If a name is that of no output, or only an order would tell.
        """
        if len(self.names) == 1:
            return of_one(parts, name)
        if len(self.names) < 2:
            return parts
        if isinstance(parts, dict):
            self.check(parts, name)
            return parts if self.keyed else tuple(parts.get(key) for key in self.names)
        # A list of numbers is one weight a sample.
        one_each = isinstance(parts, (list, tuple)) and len(parts) == len(self.names)
        if one_each and all(part is None or hasattr(part, "shape") for part in parts):
            self.check_ordered(name)
        return parts

    def check(self, keys: Iterable[Any], name: str) -> None:
        """Raises ValueError for a key that is the name of no output."""
        unknown = [key for key in keys if key not in self.names]
        if unknown:
            hint = "".join(closest(str(key), self.names) for key in unknown)
            raise ValueError(
                f"`{name}` names {listed(unknown)}, which is no output of the model: its outputs "
                f"are {listed(self.names)}. {hint}Received: {name} with the keys {list(keys)}"
            )

    def check_ordered(self, name: str) -> None:
        """Raises ValueError for a list where the outputs are a dict in an order of its own."""
        if self.keyed and list(self.names) != sorted(self.names):
            raise ValueError(
                f"`{name}` must be a dict with the outputs' names, {listed(self.names)}, since "
                "the model gives its outputs in a dict: Keras would take a list in the order of "
                f"the alphabet. Received: {name} in a list"
            )


def of_one(parts: Any, name: str) -> Any:
    """Labels or weights for a model with one output, out of a dict if they are in one.

    Raises:
        ValueError: If the dict has several.
    """
    if not isinstance(parts, dict):
        return parts
    if len(parts) != 1:
        first = next(iter(parts), "label")
        raise ValueError(
            f"`{name}` has the keys {listed(parts)}, and the model one output. Give the one that "
            f"it is for; of a pipeline, `data.map(lambda x, y: (x, y[{first!r}]))`. "
            f"Received: {name} with {len(parts)} keys"
        )
    (alone,) = parts.values()
    return alone


def of(model: keras.Model) -> OutputNames:
    """The outputs of a model; no names where it is not a graph or trains by steps of its own."""
    if not graph.is_graph(model) or _has_own_loss(model):
        return OutputNames((), False)
    _, outputs = keras_internals.structures(model)
    if isinstance(outputs, dict):
        return OutputNames(tuple(outputs), True)
    names = tuple(keras_internals.producer(tensor).name for tensor in model.outputs)
    return OutputNames(names, False)


def check_compiled(model: keras.Model) -> None:
    """Raises if losses or their weights are for outputs that the model does not have.

    Keras would match them by their order.

    Raises:
        ValueError: With the names that are known.
    """
    found = of(model)
    if not model.compiled or not found.names:
        return
    compiled = keras_internals.compile_arguments(model)
    loss, loss_weights = compiled["loss"], compiled["loss_weights"]
    for name, given in (("loss", loss), ("loss_weights", loss_weights)):
        if isinstance(given, dict):
            found.check(given, name)
        elif isinstance(given, (list, tuple)) and len(given) > 1:
            found.check_ordered(name)
    if isinstance(loss_weights, dict) and isinstance(loss, (list, tuple)) and len(loss) > 1:
        raise ValueError(
            "`loss_weights` by name need the losses by name: Keras would match them by their "
            f"order. Compile with `loss={{name: loss, ...}}` for {listed(found.names)}. "
            f"Received: loss_weights={loss_weights!r}, loss in a list"
        )
    if isinstance(loss_weights, dict) and isinstance(loss, dict):
        _check_weighted(loss, loss_weights)


def _check_weighted(loss: dict[str, Any], loss_weights: dict[str, Any]) -> None:
    trained = [key for key, one in loss.items() if one is not None]
    lacking = [key for key in trained if key not in loss_weights]
    spare = [key for key in loss_weights if key not in loss]
    if lacking or spare:
        raise ValueError(
            "`loss_weights` must have a weight for each output with a loss, 1 for one that is not "
            f"to be weighted: {listed(trained)}. Received: loss_weights={loss_weights!r}"
        )


def _has_own_loss(model: keras.Model) -> bool:
    return any(
        getattr(type(model), name) is not getattr(keras.Model, name)
        for name in ("compute_loss", "train_step")
    )
