"""Training in stages, with one optimizer and one history."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras

from finetunekit.callbacks.schedule import Schedule
from finetunekit.data.order import drawn_seed
from finetunekit.foundation.messages import obeys_verbose, plural, say
from finetunekit.models import compiled, freezing, graph, metadata, rate_multipliers
from finetunekit.optimizers import layerwise_optimizer, rate_for, trainable_part
from finetunekit.resuming.describing import describe
from finetunekit.resuming.fingerprint import check_same, describe_callbacks
from finetunekit.resuming.resume_point import Resume, StageState, read_checkpoint
from finetunekit.resuming.run import Run
from finetunekit.training import checks
from finetunekit.training.plan import FitPlan
from finetunekit.training.planning import plan_fit
from finetunekit.training.stage import Stage, StagedHistory

_WARMUP = 0.1  # Share of a stage's steps in which late variables reach their rate.
_STEPS = 100  # Of an epoch, where their number is not known.


@obeys_verbose
def fit_in_stages(
    model: keras.Model, x: Any, y: Any = None, *, stages: Sequence[Stage], **fit_options: Any
) -> StagedHistory:
    """Trains a compiled model in place, stage by stage; each is one `fit`.

    One optimizer goes through all stages: its steps go on, and the moments of what trains on are
    kept. What begins to train in a later stage starts with small steps, as its own moments are
    young. Each stage computes its frozen part once; a callback such as `EarlyStopping` begins
    anew in each, so each stage starts from the best weights of the one before.

    Args:
        model: A compiled model, whose rate is a number.
        x: As for `fit`.
        y: As for `fit`.
        stages: What is done in turn; recipes make such lists: `probe_then_finetune`,
            `gradual_unfreezing`, `head_then_top_then_all`.
        **fit_options: The other arguments of `fit`, for all stages; `callbacks` go before those
            of a stage.

    Returns:
        A `StagedHistory`. The layers stay frozen and the rate stays as the last stage had them.

    Raises:
        ValueError: If a stage does not fit the model; found before training.
        TypeError: If `stages` is not a list of `Stage`.

    Example:
        ```python
        import finetunekit as ftk

        model = ftk.add_head(ftk.load_backbone("pretrained_model.h5"), "binary")
        ftk.compile_for_task(model)
        stages = [
            ftk.Stage(trainable="head", epochs=2),
            ftk.Stage(trainable=["head", "conv3"], epochs=2, schedule="cosine"),
        ]
        history = ftk.fit_in_stages(model, x_train, y_train, stages=stages, verbose=0)
        assert history.epoch == [0, 1, 2, 3]
        ```
    """
    stages = _read(stages, fit_options)
    checks.check_model(model)
    for stage in stages:
        if stage.trainable is not None:
            freezing.targets_of(model, stage.trainable, batch_norm=stage.batch_norm)
    rate_multipliers.check_rate_is_a_number(model.optimizer, "fit_in_stages")
    described = _described(model, stages)
    begun = _begun(described, fit_options.pop("resume", None))
    if fit_options.get("seed") is None:
        fit_options["seed"] = drawn_seed(begun.facts.get("seed"))
    if begun.facts:  # It may decide the order, so all stages keep what the run began with.
        fit_options["memory_limit"] = begun.facts["memory limit"]
    plan = plan_fit(model, x, y, epochs=len(stages), **fit_options)  # Each stage has its own.
    return _Staging(plan, stages, described, begun).run()


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Begun:
    """How far a run in stages has come: nowhere, or where the file says that it is resumed from.

    Attributes:
        path: The file, or None.
        number: The number of the stage that it is in, or None.
        lengths: The epochs of the stages up to this one.
        joined: The history of the stages before it.
        facts: What the run began with.
    """

    path: Any = None
    number: int | None = None
    lengths: Sequence[int] = ()
    joined: StagedHistory = dataclasses.field(default_factory=lambda: StagedHistory({}, [], []))
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)


class _Staging:
    """A plan that is run stage by stage: its data are read once, its optimizer goes through all."""

    def __init__(
        self, plan: FitPlan, stages: list[Stage], described: list[Any], begun: _Begun
    ) -> None:
        self.plan, self.stages, self.joined = plan, stages, begun.joined
        self._described, self._begun = described, begun
        self._lengths: list[int] = []
        model = plan.model
        self._multipliers = rate_multipliers.kept(model.optimizer)
        self._known = {id(v) for v in model.trainable_variables if model.optimizer.built}

    def run(self) -> StagedHistory:
        """Runs the stages that are not done yet."""
        for number, stage in enumerate(self.stages):
            self._lengths.append(self._epochs(number, stage))
            name = stage.name or f"stage {number + 1}"
            late = self._begin(stage, name)
            if number >= (self._begun.number or 0):
                _join(self.joined, name, self._planned(number, stage, late).run())
        return self.joined

    def _epochs(self, number: int, stage: Stage) -> int:
        """How long a stage is: as long as it was, if it has begun already."""
        if number < len(self._begun.lengths):
            return self._begun.lengths[number]
        return stage.epochs() if callable(stage.epochs) else stage.epochs

    def _planned(self, number: int, stage: Stage, late: list[Any]) -> FitPlan:
        """The plan of one stage."""
        plan, optimizer = self.plan, self.plan.model.optimizer
        epochs = self._lengths[-1]
        if late and int(rate_multipliers.innermost(optimizer).iterations) > 0:
            batches = _WARMUP * (plan.batches.steps or _STEPS) * epochs
            rise = batches / rate_multipliers.batches_per_update(optimizer)
            rate_multipliers.warm_up(optimizer, late, max(1, round(rise)))
        compiled.renew_if_stale(plan.model)
        first = self.joined.epoch[-1] + 1 if self.joined.epoch else 0
        more = [Schedule(stage.schedule, first_epoch=first)] if stage.schedule else []
        callbacks = (*plan.callbacks, *checks.check_callbacks(list(stage.callbacks)), *more)
        checks.check_monitors(plan.model, list(callbacks), validated=plan.validation is not None)
        point = Resume(
            self._begun.path if number == self._begun.number else None,
            _state(number, self._lengths, self.joined, self._described),
        )
        run = Run.of(list(callbacks), point)
        cache = plan.cache.for_stage(number)
        loop = dataclasses.replace(plan.loop, initial_epoch=first, epochs=first + epochs)
        return plan.replace(
            loop=loop.checked(),
            callbacks=callbacks,
            cache=cache if run is None else run.cache(cache),
            resume=run,
        )

    def _begin(self, stage: Stage, name: str) -> list[Any]:
        """Sets what trains and how fast; the variables that have never trained in this run."""
        model = self.plan.model
        rate_multipliers.put_back(model.optimizer, self._multipliers)
        if stage.trainable is not None:
            freezing.train_only(model, stage.trainable, batch_norm=stage.batch_norm)
        _set_rate(model, stage)
        say(
            f"{name}: {freezing.balance(model)}, rate {float(model.optimizer.learning_rate):.2g}, "
            f"{plural(self._lengths[-1], 'epoch')}"
        )
        late = [v for v in model.trainable_variables if id(v) not in self._known]
        self._known |= {id(v) for v in late}
        return late


def _set_rate(model: keras.Model, stage: Stage) -> None:
    part, optimizer = trainable_part(model), model.optimizer
    if stage.layer_decay is not None or stage.rates:
        layerwise_optimizer(model, optimizer, layer_decay=stage.layer_decay, rates=stage.rates)
    rate = rate_for(optimizer, part) if stage.learning_rate == "auto" else stage.learning_rate
    if rate is not None:
        optimizer.learning_rate = rate
    picked = metadata.choices(model)
    if picked is not None:
        chosen = part if stage.learning_rate == "auto" else None
        metadata.remember(model, choices=dataclasses.replace(picked, rate_chosen_for=chosen))


def _read(stages: Any, options: dict[str, Any]) -> list[Stage]:
    rows = list(stages) if isinstance(stages, (list, tuple)) else []
    if not rows or not all(isinstance(row, Stage) for row in rows):
        raise TypeError(
            "`stages` must be a list of `Stage`, such as [Stage(trainable='head', epochs=5), "
            "Stage(trainable='.*', epochs=2)], or what a recipe returns. "
            f"Received: stages={stages!r}"
        )
    for name in ("epochs", "initial_epoch"):
        if name in options:
            raise TypeError(
                f"`{name}` is said by each stage: `Stage(epochs=...)`. "
                f"Received: {name}={options[name]!r}"
            )
    return rows


def _begun(described: list[Any], resume: Any) -> _Begun:
    """Where the run goes on.

    Raises:
        ValueError: If the file is of other stages, or of a run without.
    """
    held = None if resume is None else read_checkpoint(resume)
    if held is None:
        return _Begun(path=resume)
    known = held["stage"]
    if known is None:
        raise ValueError(
            "`resume` is of a run of `fit`: call that to go on. "
            f"Received: resume={resume!r} in `fit_in_stages`"
        )
    check_same({"stages": known["plan"]}, {"stages": described}, "resume", resume)
    done = StagedHistory(known["history"], known["epoch"], [tuple(s) for s in known["stages"]])
    return _Begun(
        path=resume,
        number=known["number"],
        lengths=known["lengths"],
        joined=done,
        facts=held["facts"],
    )


def _state(
    number: int, lengths: list[int], joined: StagedHistory, described: list[Any]
) -> StageState:
    """Where the run is, for a checkpoint; copied, since the history grows."""
    history = {name: list(values) for name, values in joined.history.items()}
    return StageState(
        number, described, list(lengths), history, list(joined.epoch), list(joined.stages)
    )


def _described(model: keras.Model, stages: list[Stage]) -> list[Any]:
    """All that decides what the stages do, in plain values; their callbacks say it themselves."""
    # Names would not do: Keras numbers them by what was made before.
    places = enumerate(graph.walk(model))
    numbers = {id(place.layer): f"{n} {type(place.layer).__name__}" for n, place in places}
    rows = []
    for stage in stages:
        row = {f.name: describe(getattr(stage, f.name)) for f in dataclasses.fields(stage)}
        row["callbacks"] = describe_callbacks(list(stage.callbacks))
        if callable(stage.epochs):  # What it finds is in the checkpoint itself.
            row["epochs"] = "decided as the stage begins"
        if stage.trainable is not None:
            chosen = freezing.targets_of(model, stage.trainable, batch_norm=stage.batch_norm)
            row["trainable"] = [numbers[id(layer)] for layer in chosen]
        rows.append(row)
    return rows


def _join(joined: StagedHistory, name: str, found: keras.callbacks.History) -> None:
    done, new = len(joined.epoch), len(found.epoch)
    joined.stages.append((name, found.epoch[0]))
    joined.epoch.extend(found.epoch)
    for key in {**joined.history, **found.history}:
        held = joined.history.setdefault(key, [None] * done)
        held.extend(found.history.get(key, [None] * new))
