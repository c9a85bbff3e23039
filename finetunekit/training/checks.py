"""Do the data fit the model? Found before the first step, with the remedy in words."""

from typing import Any

import keras
import numpy as np

from finetunekit.messages import warn
from finetunekit.metadata import Task
from finetunekit.tasks import CLASSIFYING, FAMILIES

# A class that a random split would leave out with less than this probability is not rare: the
# data are sorted.
_SORTED = 0.01
_BLOCK = 1 << 24


def check_pair(x: Any, y: np.ndarray | None, model: keras.Model, task: Task | None) -> None:
    """Checks inputs and labels against each other, the model and the task.

    Raises:
        ValueError: If lengths, shapes, values or labels do not fit.
    """
    parts = keras.tree.flatten(x)
    counts = {len(part) for part in parts} | (set() if y is None else {len(y)})
    if len(counts) > 1:
        raise ValueError(
            "`x` and `y` must hold the same number of samples. Received: x with "
            f"{[len(part) for part in parts]}, y with {None if y is None else len(y)} samples"
        )
    if 0 in counts:
        raise ValueError("`x` holds no samples. Received: x with 0 samples")
    for part in parts:
        check_finite(part, "x")
    if len(parts) == 1 and len(getattr(model, "inputs", None) or []) == 1:
        _check_input_shape(parts[0], model)
    if y is not None:
        check_finite(y, "y")
        if task is not None:
            FAMILIES[task.name].check_labels(y, task, model.output_shape)


def check_finite(array: np.ndarray, name: str) -> None:
    """Raises for NaN or infinity.

    Raises:
        ValueError: With the number of such samples and the first one.
    """
    if array.dtype.kind != "f":
        return
    rows = max(1, _BLOCK // max(1, array[:1].size))
    for start in range(0, len(array), rows):
        bad = ~np.isfinite(array[start : start + rows])
        if bad.any():
            first = start + int(np.argmax(bad.reshape(len(bad), -1).any(axis=1)))
            raise ValueError(
                f"`{name}` holds NaN or infinite values, first in sample {first}; one such value "
                "spoils all weights. Drop these samples, "
                f"`keep = np.isfinite({name}).reshape(len({name}), -1).all(axis=1)`, or fill them. "
                f"Received: {name}[{first}] with {int(bad[first - start].sum())} such values"
            )


def _check_input_shape(x: np.ndarray, model: keras.Model) -> None:
    wanted = tuple(model.inputs[0].shape)
    found = x.shape
    if len(found) == len(wanted) and all(
        size is None or size == given for size, given in zip(wanted[1:], found[1:], strict=True)
    ):
        return
    if len(wanted) == len(found) + 1 and wanted[-1] == 1:
        return  # Keras adds the channel axis itself.
    raise ValueError(
        f"`x` must have shape {_text(wanted)} for {model.name!r}. {_shape_remedy(wanted, found)}"
        f"Received: x of shape {found}"
    )


def _shape_remedy(wanted: tuple[Any, ...], found: tuple[int, ...]) -> str:
    if len(found) == len(wanted) - 1 and _same(wanted[1:], found):
        return "For a single sample, add the batch axis: `x[None]`. "
    if len(wanted) == 4 and wanted[-1] == 3 and (len(found) == 3 or found[-1] == 1):
        return "Grey images become RGB with `np.repeat(x.reshape(*x.shape[:3], 1), 3, axis=-1)`. "
    if len(wanted) == len(found) == 4:
        if found[1] == wanted[-1] and found[-1] != wanted[-1]:
            return "The channels come last in Keras: `np.moveaxis(x, 1, -1)`. "
        if found[-1] == wanted[-1]:
            return (
                f"Resize with `keras.ops.image.resize(x, {wanted[1:3]})`, or load the backbone "
                f"with `input_shape={found[1:]}`. "
            )
    return ""


def _same(wanted: tuple[Any, ...], found: tuple[int, ...]) -> bool:
    return all(w is None or w == f for w, f in zip(wanted, found, strict=True))


def _text(shape: tuple[Any, ...]) -> str:
    return "(" + ", ".join(["n", *(str(size or "any") for size in shape[1:])]) + ")"


def check_split(train: np.ndarray, held_out: np.ndarray, task: Task, split: float) -> None:
    """Checks that a validation split, which Keras cuts off the end, has all classes on both sides.

    Raises:
        ValueError: If a class is on one side only though a random split would have it on both.
    """
    if task.name not in CLASSIFYING or task.name == "multilabel":
        return
    family = CLASSIFYING[task.name]
    in_train = np.unique(family.class_ids(train, task))
    ids, counts = np.unique(
        np.concatenate([family.class_ids(part, task).ravel() for part in (train, held_out)]),
        return_counts=True,
    )
    in_held_out = np.unique(family.class_ids(held_out, task))
    chance = {int(c): (1 - split) ** n for c, n in zip(ids, counts, strict=True)}
    never_trained = [c for c in chance if c not in in_train]
    not_held_out = [c for c in chance if c not in in_held_out]
    if never_trained or any(chance[c] < _SORTED for c in not_held_out):
        raise ValueError(
            "`validation_split` takes the last samples as they come, and the data look sorted: "
            f"classes {never_trained} would be in the validation part only, {not_held_out} in the "
            "training part only. Shuffle first, `order = np.random.default_rng(0)"
            ".permutation(len(x)); x, y = x[order], y[order]`, or give `validation_data`. "
            f"Received: validation_split={split!r}"
        )
    if not_held_out:
        warn(
            f"validation_split={split}: classes {not_held_out} have so few samples that none is in "
            "the validation part; give `validation_data` to measure them too"
        )
