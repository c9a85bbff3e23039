"""The options of `fine_tune`: what can be overridden, checked before anything is loaded."""

import dataclasses
import inspect
import numbers
from typing import Any

import keras

from finetunekit.backbones.loading import load_backbone
from finetunekit.callbacks.early_stopping import EarlyStopping
from finetunekit.callbacks.time_budget import seconds_of
from finetunekit.foundation import arguments
from finetunekit.foundation.messages import closest
from finetunekit.tasks import add_head
from finetunekit.training.compiling import compile_for_task
from finetunekit.training.planning import plan_fit

# Where options live that people give to `fine_tune` by mistake.
_ELSEWHERE = {
    "load_backbone": load_backbone,
    "add_head": add_head,
    "compile_for_task": compile_for_task,
    "fit": plan_fit,
    "callbacks.EarlyStopping": EarlyStopping,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What `fine_tune` was asked for; `"auto"` where a rule decides.

    The attributes are the arguments of `fine_tune` of the same names, `budget` in seconds.
    """

    task: Any = "auto"
    class_names: Any = None
    validation_split: Any = "auto"
    image_size: Any = None
    dropout: Any = 0.2
    probe_epochs: Any = "auto"
    epochs: Any = "auto"
    top: Any = "auto"
    learning_rate: Any = "auto"
    layer_decay: Any = "auto"
    budget: Any = None
    class_weight: Any = None
    batch_size: int = 32
    seed: int = 0
    verbose: Any = "auto"
    callbacks: Any = None
    resume: Any = None

    def checked(self) -> "Options":
        """The same with numbers for numbers.

        Raises:
            ValueError: If one is out of range.
            TypeError: If one is of the wrong type.
        """
        return dataclasses.replace(
            self,
            probe_epochs=_whole(self.probe_epochs, "probe_epochs", 1, auto=True),
            epochs=_whole(self.epochs, "epochs", 0, auto=True),
            top=share(self.top, "top"),
            learning_rate=_number(self.learning_rate, "learning_rate", arguments.POSITIVE),
            layer_decay=_number(self.layer_decay, "layer_decay", arguments.SHARE_OR_ALL),
            budget=None if self.budget is None else seconds_of(self.budget, "budget"),
            batch_size=_whole(self.batch_size, "batch_size", 1),
            seed=_whole(self.seed, "seed", 0),
        )


def check_source(source: Any, train: Any) -> None:
    """Raises for data given as the source.

    Raises:
        TypeError: If so.
    """
    is_data = isinstance(source, (tuple, list, keras.utils.PyDataset)) or hasattr(source, "shape")
    if is_data or hasattr(source, "element_spec"):
        raise TypeError(
            "`source` must be what `load_backbone` takes: a name, a file or a model; the data come "
            "second: `fine_tune(source, train)`. Received: source of type "
            f"{type(source).__name__}, train of type {type(train).__name__}"
        )


def check_load_options(options: dict[str, Any], own: Any) -> None:
    """Raises for options that `load_backbone` does not know, with the verb that does.

    Args:
        options: What was given besides the arguments of `fine_tune`.
        own: `fine_tune` itself.

    Raises:
        TypeError: If there is one.
    """
    for name, value in options.items():
        verbs = [verb for verb, does in _ELSEWHERE.items() if _takes(does, name)]
        if "load_backbone" in verbs:
            continue
        hint = closest("learning_rate" if name == "lr" else name, inspect.signature(own).parameters)
        if verbs:
            hint = (
                f"It is one of `{verbs[0]}`: to set it, write the steps yourself, as "
                "docs/guide/training.md does. "
            )
        raise TypeError(
            f"`{name}` is not an argument of `fine_tune` or `load_backbone`. {hint}"
            f"Received: {name}={value!r}"
        )


def _takes(verb: Any, name: str) -> bool:
    found = inspect.signature(verb).parameters.get(name)
    return found is not None and found.kind is not inspect.Parameter.VAR_KEYWORD


def _whole(value: Any, name: str, smallest: int, *, auto: bool = False) -> Any:
    if auto and value == "auto":
        return value
    arguments.check_int(value, name, smallest)
    return int(value)


def _number(value: Any, name: str, interval: arguments.Interval) -> Any:
    return value if value == "auto" else arguments.check_number(value, name, interval)


def share(value: Any, name: str) -> Any:
    """A share above 0 and up to 1, or `"auto"`.

    Raises:
        ValueError: If it is neither.
    """
    if value == "auto":
        return value
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number or not 0 < float(value) <= 1:
        raise ValueError(
            f"`{name}` must be a share above 0 and up to 1. Received: {name}={value!r}"
        )
    return float(value)
