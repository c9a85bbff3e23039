"""A stage of a training run, and the history of several."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from finetunekit.callbacks.schedule import Schedule
from finetunekit.foundation import arguments, html
from finetunekit.foundation.messages import plural
from finetunekit.models.selection import Selector
from finetunekit.optimizers import check_layer_decay
from finetunekit.training.history_plot import plot_history


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of a training run: what trains, for how long, how fast.

    Args:
        trainable: Which layers train, as in `find_layers`; all others are frozen.
            BatchNormalization trains in the head only. None leaves all as it is.
        epochs: How many epochs; or a function without arguments that says so as the stage begins,
            from what the stages before it have shown.
        learning_rate: A number; `"auto"` takes what `compile_for_task` would for this part, for
            Adam, AdamW and SGD; None leaves the rate as it is.
        schedule: The shape of a `callbacks.Schedule` over this stage, or None.
        layer_decay: As for `layerwise_optimizer`.
        rates: As for `layerwise_optimizer`.
        batch_norm: Whether BatchNormalization outside of the head trains too.
        callbacks: Callbacks of this stage, after those of the whole run.
        name: For messages and plots; defaults to the number of the stage.
    """

    trainable: Selector | None = None
    epochs: int | Callable[[], int] = 1
    learning_rate: float | str | None = "auto"
    schedule: str | None = None
    layer_decay: float | None = None
    rates: Mapping[Any, float] | None = None
    batch_norm: bool = False
    callbacks: Sequence[Any] = ()
    name: str | None = None

    def __post_init__(self) -> None:
        if not callable(self.epochs):
            arguments.check_int(self.epochs, "epochs", 1)
        rate = self.learning_rate
        number = isinstance(rate, (int, float)) and not isinstance(rate, bool)
        if rate not in ("auto", None) and not (number and 0 < float(rate) < float("inf")):
            raise ValueError(
                "`learning_rate` of a stage must be a positive number, 'auto' or None. "
                f"Received: learning_rate={rate!r}"
            )
        if self.layer_decay is not None:
            check_layer_decay(self.layer_decay)
        if self.schedule is not None:
            Schedule(self.schedule)


@dataclass(frozen=True, eq=False)
class StagedHistory:
    """The history of all stages of a run, as one.

    Attributes:
        history: Name of a logged value -> one number an epoch; None where a stage did not log it.
        epoch: The numbers of the epochs.
        stages: For each stage its name and the number of its first epoch.
    """

    history: dict[str, list[Any]]
    epoch: list[int]
    stages: list[tuple[str, int]]

    def plot(self, path: str | os.PathLike[str] | None = None, *, value: str = "loss") -> Any:
        """Draws a value by epoch, with the stages marked; needs matplotlib, `finetunekit[plots]`.

        Args:
            path: Where to write the image; None for nowhere.
            value: Which value; that of the validation data is drawn too if there is one.

        Returns:
            The `Figure` of matplotlib, which notebooks show.
        """
        return plot_history(self, path, value=value)

    def __repr__(self) -> str:
        last = (f"{name} {_number(values[-1])}" for name, values in self.history.items())
        return f"<StagedHistory: {self._headline()}; {', '.join(last)}>"

    def _repr_html_(self) -> str:
        rows = []
        ends = [first for _, first in self.stages[1:]] + [self.epoch[-1] + 1 if self.epoch else 0]
        for (name, first), end in zip(self.stages, ends, strict=True):
            last = self.epoch.index(end - 1)
            values = (_number(numbers[last]) for numbers in self.history.values())
            rows.append((name, end - first, *values))
        head = ("stage", "epochs", *self.history)
        return html.view(f"{self._headline()}; at the end of each", html.table(head, rows))

    def _headline(self) -> str:
        return f"{plural(len(self.epoch), 'epoch')} in {plural(len(self.stages), 'stage')}"


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.4g}"
