"""Labels and sample weights of models with one output or several."""

from collections.abc import Callable
from typing import Any

import keras

from finetunekit.data import label_checks, output_names
from finetunekit.data.output_names import OutputNames
from finetunekit.foundation import keras_internals
from finetunekit.foundation.messages import listed
from finetunekit.models import inputs
from finetunekit.models.metadata import Task


def read_labels(y: Any, model: keras.Model, task: Task | None) -> Any:
    """Labels as arrays, in the structure in which they were given.

    Args:
        y: An array for a model with one output; else a dict or list with one for each output that
            has a loss, and None for the others.
        model: The model.
        task: Its task, or None if it has a loss of its own.

    Raises:
        ValueError: If labels are missing or do not fit.
    """
    if y is None:
        if task is not None:
            raise ValueError(
                "`y` is missing: the labels, one for each sample. Give `fit(model, x, y)`. "
                "Received: y=None"
            )
        return None
    if len(getattr(model, "outputs", None) or [None]) == 1:
        labels = inputs.to_numpy(output_names.of_one(y, "y"), "y")
        label_checks.check_labels(labels, model, task)
        return labels
    known = output_names.of(model)
    y = known.arranged(y, "y")
    _check_complete(y, model, known)
    return _by_output(y, "y", _finite)


def read_weights(sample_weight: Any, y: Any, count: int) -> Any:
    """Sample weights as one array, or as one for each output, in the structure of the labels.

    Raises:
        ValueError: If they do not fit the samples or the labels.
    """
    if sample_weight is None:
        return None
    if y is None:
        raise ValueError(
            "`sample_weight` weights the loss of labels, and there are none. Leave it out, or give "
            "`y`. Received: sample_weight without y"
        )

    def one(part: Any, name: str) -> Any:
        weights = _finite(part, name)
        if len(weights) != count:
            raise ValueError(
                f"`{name}` must have one weight a sample. Received: {name} of shape "
                f"{weights.shape} for {count} samples"
            )
        return weights

    several = isinstance(y, (dict, tuple))
    if several and isinstance(sample_weight, (dict, list, tuple)) and _alike(sample_weight, y):
        return _by_output(sample_weight, "sample_weight", one)
    if isinstance(sample_weight, dict) and len(sample_weight) == 1 and not several:
        (sample_weight,) = sample_weight.values()  # As the labels of a model with one output.
    if isinstance(sample_weight, dict):
        raise ValueError(
            "`sample_weight` must have one array for each of the labels: "
            f"{listed(y if isinstance(y, dict) else ['y'])}. "
            f"Received: sample_weight with the keys {list(sample_weight)}"
        )
    return one(sample_weight, "sample_weight")


def _alike(weights: Any, y: Any) -> bool:
    if isinstance(y, dict):
        return isinstance(weights, dict) and set(weights) == set(y)
    # A list of numbers is one weight a sample.
    return len(weights) == len(y) and all(w is None or hasattr(w, "__len__") for w in weights)


def _finite(part: Any, name: str) -> Any:
    array = inputs.to_numpy(part, name)
    inputs.check_finite(array, name)
    return array


def _by_output(parts: Any, name: str, read: Callable[[Any, str], Any]) -> Any:
    """Each part read under its name; None, for an output without a loss, as it is."""
    pairs = parts.items() if isinstance(parts, dict) else enumerate(parts)
    found = {key: None if part is None else read(part, f"{name}[{key!r}]") for key, part in pairs}
    return found if isinstance(parts, dict) else tuple(found.values())


def _check_complete(y: Any, model: keras.Model, known: OutputNames) -> None:
    names: list[Any] = list(known.names)
    if not names:
        names = list(getattr(model, "output_names", range(len(model.outputs))))
    optional = _without_loss(model, names)
    given: list[Any] = []
    if isinstance(y, dict):
        given = [key for key, part in y.items() if part is not None]
    elif isinstance(y, (list, tuple)):
        given = [name for name, part in zip(names, y, strict=False) if part is not None]
    lacking = [name for name in names if name not in given]
    needed = [name for name in lacking if name not in optional]
    # Keys that are all unknown belong to a loss of the user's own, in a train step of its own.
    if (needed and given and len(lacking) < len(names)) or not given:
        raise ValueError(
            f"`y` must hold labels for each output: {listed(n for n in names if n not in optional)}"
            f"; it lacks {listed(needed or lacking)}. Received: y of type {type(y).__name__}"
        )


def _without_loss(model: keras.Model, names: list[Any]) -> set[Any]:
    """The outputs that the model is compiled without a loss for."""
    loss = keras_internals.compile_arguments(model)["loss"] if model.compiled else None
    if isinstance(loss, dict):
        return {name for name in names if loss.get(name) is None}
    if isinstance(loss, (list, tuple)) and len(loss) == len(names):
        return {name for name, one in zip(names, loss, strict=True) if one is None}
    return set()
