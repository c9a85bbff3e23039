"""`find_learning_rate`: a short run over many rates, after which all is as before."""

import contextlib
import dataclasses
import math
import numbers
import os
import random
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from finetunekit.foundation import html, keras_optimizers, plots
from finetunekit.foundation.messages import obeys_verbose, say, warn
from finetunekit.models import inputs, metadata, optimizer_state, rate_multipliers
from finetunekit.training import checks, label_form
from finetunekit.training.planning import plan_fit

_SMOOTH = 0.9  # Of the running mean of losses.
# What a `fit` leaves behind on the model; none of it is there before the first.
_HELD = ("train_function", "test_function", "stop_training", "steps_per_execution", "history")
_DIVERGED = 4.0  # Times the smallest loss: the run ends.
_CLEAR = 2.0  # Times the noise from batch to batch.
_DEVIATION = 1.4826  # Of normal numbers, in medians of their absolute values.
_ROUNDING = 1e-6  # Of a loss in float32.
RULE = "where the smoothed loss has made half of its fall"


@dataclasses.dataclass(frozen=True, eq=False)
class RateCurve:
    """What `find_learning_rate` found.

    Attributes:
        rates: The rate of each step, `(steps,)`.
        losses: The loss of each step's batch or batches, `(steps,)`.
        smoothed: Their running mean, `(steps,)`.
        half_way: The rate at which the smoothed loss has made half of its fall; None if it falls
            by less than twice the noise of the batches, so that the curve tells no rate.
        rule: How the suggestion follows from the curve.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    half_way: float | None
    rule: str

    @property
    def suggestion(self) -> float:
        """The rate to train with.

        Raises:
            ValueError: If the loss has no clear fall.
        """
        if self.half_way is None:
            raise ValueError(
                "The curve suggests no learning rate: there is no clear fall of the loss, at no "
                "rate does it come down by twice its noise from batch to batch. Look at "
                "the curve (`plot()`) and the labels; larger batches or more `steps` show a weak "
                f"fall. Received: {len(self.rates)} losses from {np.nanmin(self.losses):.3g} to "
                f"{np.nanmax(self.losses):.3g}"
            )
        return self.half_way

    def __str__(self) -> str:
        """The suggestion, and what it rests on."""
        steps = f"{len(self.rates)} steps from {self.rates[0]:.1g} to {self.rates[-1]:.1g}"
        if self.half_way is None:
            return f"no learning rate: no clear fall of the loss in {steps}"
        return f"learning rate {self.half_way:.2g}: {self.rule}; {steps}"

    def __repr__(self) -> str:
        return f"<RateCurve: {self}>"

    def _repr_html_(self) -> str:
        lowest = f"{np.nanmin(self.smoothed):.4g}"
        known = {"loss at first": f"{self.smoothed[0]:.4g}", "smallest loss": lowest}
        return html.view(str(self), html.facts(known))

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Draws loss by rate; needs matplotlib, `finetunekit[plots]`.

        Args:
            path: Where to write the image; None for nowhere.

        Returns:
            The `Figure` of matplotlib, which notebooks show.
        """
        axes = plots.new_axes()
        axes.plot(self.rates, self.losses, color="0.8", label="each batch")
        axes.plot(self.rates, self.smoothed, label="smoothed")
        if self.half_way is not None:
            axes.axvline(self.half_way, color="tab:red", label=f"{self.half_way:.2g}")
        low, high = np.nanmin(self.smoothed), self.smoothed[0]
        axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
        axes.set_ylim(low - 0.1 * abs(high - low), max(high, low) + 0.5 * abs(high - low) + 1e-9)
        axes.legend()
        if path is not None:
            axes.figure.savefig(path)
        return axes.figure


@obeys_verbose
def find_learning_rate(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    low: float = 1e-6,
    high: float = 1.0,
    steps: int = 100,
    batch_size: int = 32,
    seed: int = 0,
    verbose: Any = "auto",
    **fit_options: Any,
) -> RateCurve:
    """Tries learning rates from low to high, a step each, and suggests one; changes nothing.

    It is a short `fit` with a rate that rises; it ends early when the loss is four times its
    least. Weights, optimizer, BatchNormalization, seeds and the order of the data are put back
    bit for bit, also after an error. A frozen part is computed once, and the `fit` after it finds
    the features there. A tf.data pipeline that shuffles anew at each pass has made one pass more.

    Args:
        model: A compiled model, whose rate is a number; rates by layer keep their ratios.
        x: As for `fit`.
        y: As for `fit`.
        low: The first rate.
        high: The last.
        steps: How many steps, each an update of the optimizer: of one batch, or of as many as
            it accumulates gradients of.
        batch_size: Samples a step, for arrays; as in the training to come.
        seed: Seed of the order of arrays.
        verbose: 0 to say nothing.
        **fit_options: The other arguments of `fit`, such as `class_weight` and `cache`.

    Returns:
        A `RateCurve`; the rate is its `suggestion`, which is an error if the loss has no clear
        fall, as with labels that have nothing to do with the inputs.

    Raises:
        ValueError: If the range or the number of steps makes no sense, the optimizer has a
            schedule, or no loss of the run is finite.
        TypeError: If an argument is of the wrong type.

    Example:
        ```python
        import finetunekit as ftk

        model = ftk.add_head(ftk.freeze_layers(ftk.load_backbone("pretrained_model.h5")), "binary")
        ftk.compile_for_task(model)
        found = ftk.find_learning_rate(model, x_train, y_train)
        ftk.compile_for_task(model, learning_rate=found.suggestion)
        ```

    Source: Smith, "Cyclical Learning Rates for Training Neural Networks", arXiv:1506.01186 (range
        test).
    """
    _check(model, low, high, steps, fit_options)
    rates = np.geomspace(low, high, steps)
    every = rate_multipliers.batches_per_update(model.optimizer)
    owned = _Quiet(x) if isinstance(x, keras.utils.PyDataset) else x
    if inputs.is_array_like(x):
        fit_options = fit_options | {"batch_size": batch_size}
    plan = plan_fit(model, owned, y, seed=seed, verbose=0, **fit_options)
    epochs = -(-steps * every // (plan.batches.steps or 1))
    loop = dataclasses.replace(plan.loop, epochs=epochs)
    with _put_back(model) as optimizer:
        optimizer.learning_rate = 1.0
        table = keras.ops.convert_to_tensor(np.append(rates, rates[-1]), dtype="float32")
        inner = rate_multipliers.innermost(optimizer)
        start = int(inner.iterations)
        sweep = _Sweep(steps, every, int(keras_optimizers.batches_seen(inner)) % every)
        rate_multipliers.change(optimizer).schedule = lambda done: table[
            keras.ops.clip(done - start, 0, steps)
        ]
        plan.replace(loop=loop, callbacks=(sweep,)).run()
    found = _curve(rates, np.array(sweep.losses))
    if found.half_way is None:
        warn(str(found))
    else:
        say(f"tried {len(found.rates)} learning rates, from {found.rates[0]:.2g} up")
    return found


class _Sweep(keras.callbacks.Callback):
    """Notes the loss of each update, and ends the run when it has grown too large.

    Args:
        steps: The number of updates.
        every: How many batches an update takes.
        begun: How many batches of the first update an earlier run has accumulated.
    """

    changes_frozen_weights = False

    def __init__(self, steps: int, every: int, begun: int) -> None:
        super().__init__()
        self.losses: list[float] = []
        self._steps, self._every, self._begun = steps, every, begun
        self._batches: list[float] = []

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._batches.append(float((logs or {})["loss"]))
        self.model.reset_metrics()
        if self._begun + len(self._batches) == self._every:
            self.losses.append(float(np.mean(self._batches)))
            self._begun, self._batches = 0, []
            self._judge()

    def _judge(self) -> None:
        smooth = smoothed(np.array(self.losses))
        worse = not math.isfinite(smooth[-1]) or (
            len(smooth) > self._steps // 10 and smooth[-1] > _DIVERGED * max(smooth.min(), 1e-9)
        )
        if worse or len(self.losses) == self._steps:
            self.model.stop_training = True


class _Quiet(keras.utils.PyDataset):
    """A PyDataset whose epochs do not begin or end: it may shuffle itself then."""

    def __init__(self, source: keras.utils.PyDataset) -> None:
        super().__init__()
        self._source = source

    def __len__(self) -> int:
        """The number of batches."""
        return len(self._source)

    def __getitem__(self, index: int) -> Any:
        """A batch of the other."""
        return self._source[index]


@contextlib.contextmanager
def _put_back(model: keras.Model) -> Iterator[keras.optimizers.Optimizer]:
    """Gives the model an optimizer of equal state for a while, and then all back as it was."""
    held = {name: vars(model)[name] for name in _HELD if name in vars(model)}
    optimizer = model.optimizer
    values = [(v, np.array(keras.ops.convert_to_numpy(v))) for v in _variables(model)]
    states = random.getstate(), np.random.get_state()
    copy = optimizer_state.copy_of(optimizer, model)
    known, picked = metadata.of(model), metadata.choices(model)
    try:
        model.optimizer = copy
        if picked is not None:
            metadata.remember(model, choices=dataclasses.replace(picked, optimizer=copy))
        model.train_function = model.test_function = None
        model.steps_per_execution = 1
        yield copy
    finally:
        if metadata.of(model).task is not known.task:
            label_form.follow_back(model, known.task)
        model.optimizer = optimizer
        if picked is not None:
            metadata.remember(
                model, choices=dataclasses.replace(picked, loss=model.loss, optimizer=optimizer)
            )
        _put_attributes_back(model, held)
        model.reset_metrics()
        for variable, value in values:
            variable.assign(value)
        random.setstate(states[0])
        np.random.set_state(states[1])


def _put_attributes_back(model: keras.Model, held: dict[str, Any]) -> None:
    for name in _HELD:
        if name in held:
            setattr(model, name, held[name])
        elif name in vars(model):
            delattr(model, name)


def _variables(model: keras.Model) -> list[Any]:
    return [*model.variables, *model.metrics_variables]


def smoothed(losses: np.ndarray) -> np.ndarray:
    """The running mean, corrected for its start at zero."""
    mean, found = 0.0, []
    for number, loss in enumerate(losses, start=1):
        mean = _SMOOTH * mean + (1 - _SMOOTH) * loss
        found.append(mean / (1 - _SMOOTH**number))
    return np.array(found)


def _curve(rates: np.ndarray, losses: np.ndarray) -> RateCurve:
    rates, means = rates[: len(losses)], smoothed(losses)
    if not np.isfinite(means).any():
        raise ValueError(
            "No step had a finite loss, at whatever rate: look at data and model first "
            "(`check_batch`). Nothing has been changed. "
            f"Received: losses={losses[:3].tolist()}"
        )
    return RateCurve(rates, losses, means, _half_way(rates, losses, means), RULE)


def _half_way(rates: np.ndarray, losses: np.ndarray, means: np.ndarray) -> float | None:
    """Where the loss is half-way down: a steepest point would be a matter of the noise.

    None unless the fall is `_CLEAR` times the noise: in pure noise of 40 steps or more, the start
    and the least of the running mean lie that far apart once in a hundred runs at most.
    """
    first = max(1, len(losses) // 10)  # Where the running mean is one of few losses.
    start = float(np.median(losses[:first]))
    if not np.isfinite(means[first:]).any():
        return None
    least = first + int(np.nanargmin(means[first:]))
    # Neighbours differ by the noise of two batches; where the loss falls steeply by the fall too,
    # which a median leaves out.
    steps = np.abs(np.diff(losses[: least + 1])) / math.sqrt(2)
    noise = min(math.sqrt(np.mean(steps**2)), _DEVIATION * float(np.median(steps)))
    fall = start - float(means[least])
    if not fall > max(_CLEAR * noise, _ROUNDING * abs(start)):
        return None
    low = np.flatnonzero(means[first : least + 1] <= start - fall / 2)
    return float(rates[first + int(low[0])])


def _check(model: Any, low: Any, high: Any, steps: Any, options: dict[str, Any]) -> None:
    for name, value in (("low", low), ("high", high)):
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise TypeError(f"`{name}` must be a rate, such as 1e-6. Received: {name}={value!r}")
    if not 0 < float(low) < float(high) < float("inf"):
        raise ValueError(
            "`low` must be above 0 and below `high`, such as 1e-6 and 1. "
            f"Received: low={low!r}, high={high!r}"
        )
    if isinstance(steps, bool) or not isinstance(steps, numbers.Integral) or steps < 20:
        raise ValueError(
            f"`steps` must be an int of at least 20, to see a curve. Received: steps={steps!r}"
        )
    taken = ("epochs", "initial_epoch", "callbacks", "validation_data", "validation_split")
    for name in taken:
        if name in options:
            raise TypeError(
                f"`{name}` means nothing in a range test, which is one short run without "
                f"validation. Leave it out. Received: {name}={options[name]!r}"
            )
    checks.check_model(model)
    rate_multipliers.check_rate_is_a_number(model.optimizer, "find_learning_rate")
