"""The private names of Keras' optimizers that the library uses; see `keras_internals.py`."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import keras

from finetunekit.foundation import patches

MULTIPLIERS = "learning-rate multipliers"  # The tag of the patches that `hook_steps` makes.


def optimizer_variables(optimizer: keras.optimizers.Optimizer) -> list[Any]:
    """The model variables that a built optimizer was built for, in its order."""
    return list(optimizer._trainable_variables)


def optimizer_slots(optimizer: keras.optimizers.Optimizer) -> dict[str, list[Any]]:
    """The optimizer's per-variable state: attribute name -> one entry for each variable."""
    count = len(optimizer._trainable_variables)
    return {
        name: value
        for name, value in vars(optimizer).items()
        if isinstance(value, list)
        and name not in ("_variables", "_trainable_variables")
        and len(value) == count
        and all(entry is None or isinstance(entry, keras.Variable) for entry in value)
    }


def optimizer_scalars(optimizer: keras.optimizers.Optimizer) -> dict[str, Any]:
    """The optimizer's own variables beside step, rate and per-variable state (Nadam has one)."""
    return {
        name: value
        for name, value in vars(optimizer).items()
        if isinstance(value, keras.Variable) and name not in ("_iterations", "_learning_rate")
    }


def batches_seen(optimizer: keras.optimizers.Optimizer) -> Any:
    """How many batches an optimizer has been given; its `iterations` are updates.

    The two differ if gradients are accumulated.
    """
    return optimizer._iterations


def averages(optimizer: keras.optimizers.Optimizer) -> list[Any]:
    """The running averages that an optimizer with `use_ema` keeps, one for each variable."""
    return list(optimizer._model_variables_moving_average)


def unbuild_optimizer(optimizer: keras.optimizers.Optimizer) -> None:
    """Takes all state but step and rate out, so that `build` works again on the same object.

    The user may hold the optimizer (to change its rate); a new object would leave that handle
    without effect.
    """
    kept = {id(optimizer._iterations), id(optimizer._learning_rate)}
    for variable in list(optimizer._variables):
        if id(variable) not in kept:
            optimizer._tracker.untrack(variable)
    optimizer._trainable_variables_indices.clear()
    optimizer._trainable_variables = []
    optimizer.built = False


def adam_moments(optimizer: keras.optimizers.Optimizer, variable: Any) -> tuple[Any, Any]:
    """The two moments that Adam keeps of a variable."""
    index = optimizer._get_variable_index(variable)
    return optimizer._momentums[index], optimizer._velocities[index]


def is_plain_adam(optimizer: keras.optimizers.Optimizer) -> bool:
    """Whether the optimizer's step is that of Adam itself, without AMSGrad; so is AdamW's."""
    step = getattr(type(optimizer), "update_step", None)
    return step is keras.optimizers.Adam.update_step and not optimizer.amsgrad


def variable_key(optimizer: keras.optimizers.Optimizer, variable: Any) -> Any:
    """What the optimizer knows a variable by, the model's or the backend's own."""
    return optimizer._var_key(variable)


_Method = Callable[..., None]
_DECAYS = ("weight_decay", "adam_weight_decay")  # The second is Muon's, for what Adam updates.


def hook_steps(
    optimizer: keras.optimizers.Optimizer,
    factor_of: Callable[[Any], Any],
    common: Callable[[Any], Any],
    decays: Callable[[Any], bool],
) -> None:
    """Makes an optimizer multiply what it does to each variable, in place; once for an object.

    The class stays Keras' own, so a file with the optimizer opens with plain Keras. Decoupled
    weight decay goes by the optimizer's one rate, not by what `update_step` is given, so it is
    scaled apart. A variable of factor 0 is left alone, averages included.

    Args:
        optimizer: No wrapper of another optimizer.
        factor_of: A variable -> a number or tensor.
        common: Steps done -> a factor for all of them.
        decays: A variable -> whether weight decay acts on it.
    """

    def update_step(own: _Method, gradient: Any, variable: Any, learning_rate: Any) -> None:
        factor = factor_of(variable)
        if _is_number(factor, 0):
            return
        if not _is_number(factor, 1):
            learning_rate = learning_rate * factor
        own(gradient, variable, learning_rate)

    def update_all(own: _Method, gradients: Any, variables: Any, learning_rate: Any) -> None:
        factor = common(optimizer.iterations)
        if not _is_number(factor, 1):
            learning_rate = learning_rate * factor
        own(gradients, variables, learning_rate)

    def apply_weight_decay(own: _Method, variables: Any) -> None:
        shared = common(optimizer.iterations)
        held = {n: v for n in _DECAYS if (v := vars(optimizer).get(n)) is not None}
        for variable in variables if held else ():
            factor = factor_of(variable)
            if _is_number(factor, 0) or not decays(variable):
                continue
            if not _is_number(shared, 1):
                factor = factor * shared
            with contextlib.ExitStack() as stack:
                for name, value in () if _is_number(factor, 1) else held.items():
                    stack.enter_context(patches.exchange(optimizer, name, value * factor))
                own([variable])

    def update_averages(own: _Method, variables: Any) -> None:
        own(variables)
        pairs = zip(variables, optimizer._model_variables_moving_average, strict=True)
        for variable, average in pairs if optimizer.use_ema else ():
            if average is not None and _is_number(factor_of(variable), 0):
                average.assign(variable)  # Rounding would move it.

    rows: dict[str, _Method] = {
        "update_step": update_step,
        "_backend_update_step": update_all,
        "_apply_weight_decay": apply_weight_decay,
        "_update_model_variables_moving_average": update_averages,
    }
    for name, ours in rows.items():
        patches.patch(optimizer, name, functools.partial(functools.partial, ours), tag=MULTIPLIERS)


def _is_number(value: Any, number: int) -> bool:
    return isinstance(value, (int, float)) and value == number
