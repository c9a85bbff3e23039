"""`fit`: a plan that is run at once."""

import inspect
import re
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import keras

from finetunekit.foundation.messages import obeys_verbose
from finetunekit.training.plan import FitPlan
from finetunekit.training.planning import plan_fit

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def _same_arguments(
    other: Callable[_Arguments, FitPlan],
) -> Callable[[Callable[..., _Result]], Callable[_Arguments, _Result]]:
    """Gives a function the signature of another one, for people, editors and type checkers."""

    def sign(function: Callable[..., _Result]) -> Callable[_Arguments, _Result]:
        returned = inspect.signature(function).return_annotation
        own = inspect.signature(other).replace(return_annotation=returned)
        function.__signature__ = own  # type: ignore[attr-defined]
        function.__doc__ = _with_options(function.__doc__ or "", other.__doc__ or "")
        return function

    return sign


def _with_options(text: str, other: str) -> str:
    """A docstring whose `**options` are those that another docstring explains."""
    explained = other[other.index("    batch_size:") : other.index("    **unknown:")].strip()
    indent = other.split("    batch_size:")[0].rpartition("\n")[2] + "    "
    return re.sub(
        r"^ *\*\*options:.*$", lambda _: f"{indent}{explained}", text, count=1, flags=re.M
    )


@_same_arguments(plan_fit)
@obeys_verbose
def fit(model: keras.Model, x: Any, y: Any = None, **options: Any) -> keras.callbacks.History:
    """Trains a compiled model in place: `model.fit`, with nothing computed twice.

    The part of the model that is frozen gives the same in every epoch: it is computed once for
    each sample, and the rest trains on these features, with the model's own loss, metrics,
    optimizer and callbacks. `explain` says beforehand what that saves.

    Before the first step it checks inputs and labels as `check_batch` does, and renews
    train functions that have gone stale since layers were frozen or unfrozen. Arrays are shuffled
    by an order that depends on `seed` and the epoch alone and differs in every epoch; Keras on
    TensorFlow repeats one order once it is seeded.

    Args:
        model: A compiled model.
        x: Inputs `(n, ...)` as arrays, or a dict or list of them; texts, or pairs of texts
            `(first, second)`, if the model has a tokenizer; or a tf.data pipeline or PyDataset
            of `(inputs, labels)`, whose samples keep their order.
        y: Labels, if `x` is arrays.
        **options: Those of `plan_fit`, under the same names; `help(fit)` lists them.

    Returns:
        The `History` that `model.fit` returns.

    Raises:
        ValueError: If model, data and options do not fit together; the message has the remedy.

    Example:
        ```python
        import finetunekit as ftk

        model = ftk.add_head(ftk.freeze_layers(ftk.load_backbone("pretrained_model.h5")), "binary")
        ftk.compile_for_task(model)
        history = ftk.fit(model, x_train, y_train, epochs=2, validation_split=0.25, verbose=0)
        assert len(history.history["val_loss"]) == 2
        ```
    """
    return plan_fit(model, x, y, **options).run()
