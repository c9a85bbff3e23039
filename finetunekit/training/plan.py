"""A training run before it happens."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import keras

from finetunekit.caching.cut import FrozenSplit
from finetunekit.caching.options import CacheOptions
from finetunekit.data.batches import Batches
from finetunekit.execution.feature_fit import find_cut
from finetunekit.execution.loop_options import LoopOptions
from finetunekit.foundation import html
from finetunekit.foundation.messages import plural
from finetunekit.models.metadata import Task
from finetunekit.resuming.run import Run
from finetunekit.training import estimate, fingerprint, plan_text, running
from finetunekit.training.estimate import FitEstimate


@dataclass(frozen=True, kw_only=True, eq=False)
class FitPlan:
    """What a `fit` will do, made by `plan_fit` without changing model, optimizer or data.

    Printing it says what will happen.

    Attributes:
        model: The compiled model.
        task: Its task, or None if it has a loss of its own.
        labels: The task as the labels show it: for integer labels or one-hot labels.
        batches: What it trains on.
        validation: What it is validated on, or None.
        cache: Where features of the frozen part are kept, and who computes them.
        loop: The plain arguments of `model.fit`.
        callbacks: The user's callbacks.
        seed: Seed of the order of arrays, if one was given or the run has one.
        resume: The run that is checkpointed or resumed, or None.

    Example:
        ```python
        import finetunekit as ftk

        model = ftk.add_head(ftk.freeze_layers(ftk.load_backbone("pretrained_model.h5")), "binary")
        ftk.compile_for_task(model)
        plan = ftk.plan_fit(model, x_train, y_train, epochs=2, verbose=0)
        print(plan)
        print(plan.estimate())
        history = plan.run()
        ```
    """

    model: keras.Model
    task: Task | None
    labels: Task | None
    batches: Batches
    validation: Batches | None
    cache: CacheOptions
    loop: LoopOptions
    callbacks: tuple[Any, ...]
    seed: int | None
    resume: Run | None

    def find_cut(self) -> tuple[FrozenSplit | None, str]:
        """Where the model is cut, so that the part before is computed once; or None, and why."""
        return find_cut(self.model, self.cache, self.batches.spec[0])

    def __str__(self) -> str:
        """What will happen, a line for each part."""
        return plan_text.describe(self)

    def __repr__(self) -> str:
        epochs = self.loop.epochs - self.loop.initial_epoch
        return f"<FitPlan: {plural(epochs, 'epoch')} of {self.model.name!r}>"

    def _repr_html_(self) -> str:
        first, *rest = str(self).splitlines()
        return html.view(first, html.table([], [line.strip().split(": ", 1) for line in rest]))

    def estimate(self) -> FitEstimate:
        """Measures one batch, and says what computing features once saves; changes nothing.

        Returns:
            A `FitEstimate`.

        Raises:
            ValueError: If the data can be read only once.
        """
        return estimate.of_model(
            self.model,
            self.batches,
            epochs=self.loop.epochs - self.loop.initial_epoch,
            cache=self.cache,
        )

    def fingerprint(self) -> dict[str, Any]:
        """What a run must share with another one to continue it bit for bit, by words.

        Returns:
            Plain values that are the same in each process.

        Raises:
            ValueError: If the data can be read only once.
        """
        return fingerprint.of(self)

    def replace(self, **changes: Any) -> "FitPlan":
        """A new plan of the same data with other attributes, such as a stage has."""
        return dataclasses.replace(self, **changes)

    def run(self) -> keras.callbacks.History:
        """Trains the model, in place.

        Returns:
            The `History` that `model.fit` returns.
        """
        return running.run(self)
