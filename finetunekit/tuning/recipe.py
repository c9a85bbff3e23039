"""The stages of `fine_tune`: a probe of the head, then the top of the backbone with it."""

import dataclasses
import functools
from typing import Any

import keras

from finetunekit.callbacks.time_budget import TimeBudget
from finetunekit.foundation.messages import plural
from finetunekit.models import graph
from finetunekit.optimizers import depth
from finetunekit.training.stage import Stage
from finetunekit.tuning.judge import Judge
from finetunekit.tuning.length import Length
from finetunekit.tuning.options import Options

HEAD_RATE = 1e-3
# What "auto" means, chosen on validation data of sets in `benchmarks/fine_tune.py`. Texts are
# cut to the longest of a batch only while nothing is frozen, so there one pass over everything
# costs less than several over the features of a part.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "texts": {
        "probe_epochs": Length.fixed(5, fewest_steps=150, most=50),
        "epochs": Length(strong=1, fair=2, weak=3, fewest_steps=50, most=10),
        "top": 1.0,
        "learning_rate": 1e-4,
        "layer_decay": 0.9,
    },
    "others": {
        "probe_epochs": Length.fixed(10, fewest_steps=70, most=50),
        "epochs": Length.fixed(10, fewest_steps=70, most=20),
        "top": 0.5,
        "learning_rate": 3e-4,
        "layer_decay": 1.0,
    },
}
# Transformers diverge at rates that convolutions bear.
_RATE_WITH_ATTENTION = 1e-4


def with_defaults(options: Options, *, texts: bool, attention: bool, samples: int) -> Options:
    """The options with the rules of the kind of backbone where they say `"auto"`.

    Args:
        options: The options.
        texts: Whether the backbone takes texts.
        attention: Whether there is attention in it.
        samples: How many samples train; few of them are seen more often by the probe.
    """
    rules = dict(_DEFAULTS["texts" if texts else "others"])
    if attention:
        rules["learning_rate"] = _RATE_WITH_ATTENTION
    rules["probe_epochs"] = rules["probe_epochs"].epochs(1.0, samples // options.batch_size)
    return dataclasses.replace(
        options,
        **{name: value for name, value in rules.items() if getattr(options, name) == "auto"},
    )


def has_attention(model: keras.Model) -> bool:
    """Whether a layer of the model, at any depth, is one of attention."""
    return any("Attention" in type(place.layer).__name__ for place in graph.walk(model))


def stages_of(
    model: keras.Model, options: Options, judge: Judge, choices: dict[str, str]
) -> list[Stage]:
    """The head alone, then the upper part of the backbone with it, if that is wanted.

    Args:
        model: The model, which is not changed.
        options: The options without `"auto"`.
        judge: The callback that measures each stage.
        choices: Where to note what was chosen.
    """
    budget = [] if options.budget is None else [TimeBudget(options.budget)]
    if budget:
        choices["budget"] = f"{options.budget:g} s of training, in which the rate falls to 0"
    choices["probe"] = f"the head alone, {plural(options.probe_epochs, 'epoch')} at {HEAD_RATE:g}"
    probe = Stage(
        trainable="head",
        epochs=options.probe_epochs,
        name="probe",
        callbacks=[*budget, judge],
        learning_rate=HEAD_RATE,
    )
    if not options.epochs:
        return [probe]
    return [probe, _upper(model, options, [*budget, judge], judge, choices)]


def _upper(
    model: keras.Model,
    options: Options,
    callbacks: list[Any],
    judge: Judge,
    choices: dict[str, str],
) -> Stage:
    found = depth.groups(model)
    count = max(1, round(options.top * (len(found) - 1)))
    decides = isinstance(options.epochs, Length)
    length = str(options.epochs) if decides else plural(options.epochs, "epoch")
    choices["fine-tune"] = (
        f"the head and {_blocks(count, len(found) - 1)}, {length} at a rate of "
        f"{options.learning_rate:.2g} that falls along a cosine{_decay(options.layer_decay)}"
    )
    return Stage(
        trainable=[layer for _, layers in found[-count - 1 :] for layer in layers],
        epochs=functools.partial(judge.epochs, options.epochs) if decides else options.epochs,
        learning_rate=options.learning_rate,
        schedule="cosine",
        layer_decay=options.layer_decay,
        callbacks=callbacks,
        name="fine-tune",
    )


def _blocks(count: int, of: int) -> str:
    if count == of:
        return "the backbone, which is one block" if of == 1 else f"all {of} blocks"
    return f"the last of {of} blocks" if count == 1 else f"the last {count} of {of} blocks"


def _decay(decay: float) -> str:
    return "" if decay == 1 else f", each block at {decay:g} times the rate of the one above"
