"""`repeat`: the same experiment with several seeds."""

import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from finetunekit.foundation import html
from finetunekit.foundation.arguments import check_int, check_seed
from finetunekit.foundation.messages import obeys_verbose, plural, say


@dataclass(frozen=True, eq=False)
class Repeats:
    """The results of `repeat`; prints as mean and spread.

    Attributes:
        seeds: The seed of each run.
        runs: For each run what it gave: name -> number.
    """

    seeds: tuple[int, ...]
    runs: tuple[dict[str, float], ...]

    @property
    def mean(self) -> dict[str, float]:
        """The mean over the runs, by name."""
        return {name: float(np.mean(self.values(name))) for name in self.runs[0]}

    @property
    def std(self) -> dict[str, float]:
        """The standard deviation between the runs (n - 1), by name; NaN for one run."""
        if len(self.runs) == 1:
            return dict.fromkeys(self.runs[0], float("nan"))
        return {name: float(np.std(self.values(name), ddof=1)) for name in self.runs[0]}

    def values(self, name: str) -> list[float]:
        """What each run gave for a name."""
        return [run[name] for run in self.runs]

    def __str__(self) -> str:
        """A line for each name."""
        rows = []
        for name, mean in self.mean.items():
            each = ", ".join(f"{value:.4g}" for value in self.values(name))
            rows.append(
                f"{name}: {mean:.4g} ± {self.std[name]:.2g} ({len(self.runs)} runs: {each})"
            )
        return "\n".join(rows)

    def __repr__(self) -> str:
        found = (f"{name} {mean:.4g} ± {self.std[name]:.2g}" for name, mean in self.mean.items())
        return f"<Repeats: {plural(len(self.runs), 'run')}, {', '.join(found)}>"

    def _repr_html_(self) -> str:
        head = ("", "mean", "deviation", *(f"seed {seed}" for seed in self.seeds))
        rows = [
            (name, f"{mean:.4g}", f"{self.std[name]:.2g}", *(f"{x:.4g}" for x in self.values(name)))
            for name, mean in self.mean.items()
        ]
        return html.view(plural(len(self.runs), "run"), html.table(head, rows))


@obeys_verbose
def repeat(
    fn: Callable[[int], Any], seeds: int | Sequence[int] = 3, *, verbose: Any = "auto"
) -> Repeats:
    """Runs an experiment once for each seed, and gives mean, spread and all results.

    Before each run Python's, numpy's and Keras' random numbers are seeded. What is frozen is
    computed in the first run only, if `fn` uses one backbone for all, or a file, `cache=path`.

    Args:
        fn: Takes the seed and returns a number, a dict of numbers, or a `History`, of which the
            last epoch counts.
        seeds: How many, from 0 on; or the seeds themselves.
        verbose: 0 to say nothing.

    Returns:
        `Repeats`, with `mean`, `std` and `runs`.

    Raises:
        TypeError: If `fn` is not a function, or returns something else.
        ValueError: If there are no seeds, or the runs give different names.

    Example:
        ```python
        import finetunekit as ftk

        backbone = ftk.freeze_layers(ftk.load_backbone("pretrained_model.h5"))

        def run(seed):
            model = ftk.compile_for_task(ftk.add_head(backbone, "binary"))
            ftk.fit(model, x_train, y_train, seed=seed, verbose=0)
            return model.evaluate(x_test, y_test, verbose=0, return_dict=True)

        print(ftk.repeat(run, seeds=3))
        ```
    """
    if not callable(fn):
        raise TypeError(
            "`fn` must be a function that takes a seed and returns a number or a dict of numbers. "
            f"Received: fn={fn!r}"
        )
    chosen = _seeds(seeds)
    runs: list[dict[str, float]] = []
    for seed in chosen:
        keras.utils.set_random_seed(seed)
        found = _numbers(fn(seed))
        if runs and list(found) != list(runs[0]):
            raise ValueError(
                "`fn` must give the same names in each run. Received: "
                f"{sorted(found)} after {sorted(runs[0])}"
            )
        runs.append(found)
        words = ", ".join(f"{name} {value:.4g}" for name, value in found.items())
        say(f"seed {seed}: {words}", verbose)
    return Repeats(tuple(chosen), tuple(runs))


def _seeds(seeds: Any) -> list[int]:
    if isinstance(seeds, (list, tuple, range)):
        chosen = list(seeds)
        for seed in chosen:
            check_seed(seed)
        if not chosen or len(set(chosen)) != len(chosen):
            raise ValueError(
                "`seeds` must be a number of runs, or a list of different seeds. "
                f"Received: seeds={seeds!r}"
            )
        return [int(seed) for seed in chosen]
    check_int(seeds, "seeds", 1)
    return list(range(int(seeds)))


def _numbers(found: Any) -> dict[str, float]:
    if isinstance(found, keras.callbacks.History):
        found = {name: values[-1] for name, values in found.history.items()}
    if isinstance(found, numbers.Real) or (np.ndim(found) == 0 and hasattr(found, "__float__")):
        found = {"result": found}
    good = isinstance(found, Mapping) and found
    if not good or not all(hasattr(value, "__float__") for value in found.values()):
        raise TypeError(
            "`fn` must return a number, a dict of numbers, or a History. "
            f"Received: {type(found).__name__}"
        )
    return {str(name): float(value) for name, value in found.items()}
