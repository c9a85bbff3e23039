"""`plot_history`: the curves of a run, of one stage or several."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from finetunekit.foundation import plots


def plot_history(
    history: Any, path: str | os.PathLike[str] | None = None, *, value: str = "loss"
) -> Any:
    """Draws a logged value by epoch; needs matplotlib, `finetunekit[plots]`.

    Args:
        history: The `History` that `fit` or `model.fit` returns, or its dict; the `StagedHistory`
            of `fit_in_stages`, whose stages are marked. Validation values that are fewer than the
            epochs are taken to be evenly spaced, as a `validation_freq` that is a number has them.
        path: Where to write the image; None for nowhere.
        value: Which value; that of the validation data is drawn too if there is one.

    Returns:
        The `Figure` of matplotlib, which notebooks show.

    Raises:
        TypeError: If it is not a history.
        ValueError: If there is no such value.
        ImportError: If matplotlib is not installed; with the line that installs it.

    Example:
        ```python
        import finetunekit as ftk

        model = ftk.add_head(ftk.freeze_layers(ftk.load_backbone("pretrained_model.h5")), "binary")
        ftk.compile_for_task(model)
        history = ftk.fit(model, x_train, y_train, epochs=3, validation_split=0.25, verbose=0)
        ftk.plot_history(history, "curves.png", value="accuracy")
        ```
    """
    logged = getattr(history, "history", history)
    if not isinstance(logged, Mapping) or not all(hasattr(v, "__len__") for v in logged.values()):
        raise TypeError(
            "`history` must be what `fit` returns, or its dict of one list for each value. "
            f"Received: history of type {type(history).__name__}"
        )
    if value not in logged:
        raise ValueError(
            f"`value` must be one of the logged values: {sorted(logged)}. Received: value={value!r}"
        )
    axes = plots.new_axes()
    numbers = getattr(history, "epoch", None) or range(len(logged[value]))
    for name in (value, f"val_{value}"):
        if name in logged:
            _curve(axes, [number + 1 for number in numbers], logged[name], name)
    for name, first in getattr(history, "stages", ()):
        axes.axvline(first + 0.5, color="0.7", linestyle="--")
        axes.annotate(name, (first + 0.55, 1.0), xycoords=("data", "axes fraction"), va="bottom")
    axes.set(xlabel="epoch", ylabel=value)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend()
    if path is not None:
        axes.figure.savefig(path)
    return axes.figure


def _curve(axes: Any, epochs: list[int], values: Sequence[Any], name: str) -> None:
    """One curve; validation that is not made in each epoch belongs to those of its frequency."""
    known = [float("nan") if number is None else number for number in values]
    every = max(1, len(epochs) // max(1, len(known)))
    axes.plot(epochs[every - 1 :: every][: len(known)], known, marker="o", label=name)
