"""Learning-rate multipliers of one optimizer, by variable."""

import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import keras

from finetunekit.foundation import keras_optimizers
from finetunekit.models import state_tables


@dataclass
class StepSizes:
    """What an optimizer multiplies its rate with.

    Args:
        factors: For variables, by the optimizer's key; 1 for others, 0 for standing still.
        undecayed: Variables without weight decay.
        warming: Variables that began to train late: first update, number of updates in which
            their factor rises from 0 to 1.
        schedule: Updates done -> a factor for all variables; None for 1.
    """

    factors: dict[Any, float] = field(default_factory=dict)
    undecayed: frozenset[Any] = frozenset()
    warming: dict[Any, tuple[int, int]] = field(default_factory=dict)
    schedule: Callable[[Any], Any] | None = None


def innermost(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """The optimizer inside of a LossScaleOptimizer; the optimizer itself if there is none."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def batches_per_update(optimizer: keras.optimizers.Optimizer) -> int:
    """How many batches' gradients an optimizer accumulates before it updates."""
    return innermost(optimizer).gradient_accumulation_steps or 1


def of(optimizer: keras.optimizers.Optimizer) -> StepSizes | None:
    """The factors of an optimizer, if it has any."""
    sizes: StepSizes | None = state_tables.MULTIPLIERS.get(innermost(optimizer))
    return sizes


def check(optimizer: Any, name: str = "optimizer") -> None:
    """Raises for what has no steps of its own.

    Raises:
        TypeError: If it is not an optimizer.
        ValueError: If it is made of several.
    """
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise TypeError(
            f"`{name}` must be a Keras optimizer object, such as keras.optimizers.AdamW(3e-4). "
            f"Received: {name}={optimizer!r}"
        )
    if hasattr(optimizer, "optimizers"):
        raise ValueError(
            f"`{name}` is a {type(optimizer).__name__}, which gives each of its optimizers a rate "
            f"already. Give a single one. Received: {name}={optimizer!r}"
        )


def check_rate_is_a_number(optimizer: Any, name: str) -> None:
    """Raises for an optimizer that cannot take another schedule.

    Raises:
        TypeError: If it is not an optimizer.
        ValueError: If it is made of several, or has a schedule as its rate.
    """
    check(optimizer)
    inner = innermost(optimizer)
    if isinstance(inner.get_config()["learning_rate"], dict):
        raise ValueError(
            f"The optimizer has a schedule as its rate already, which leaves nothing to `{name}`. "
            "Compile with a number as the rate. "
            f"Received: optimizer={type(inner).__name__} object"
        )


def change(optimizer: keras.optimizers.Optimizer) -> StepSizes:
    """The factors of an optimizer, to be changed; whoever changes them has functions made anew."""
    inner = innermost(optimizer)
    found: StepSizes | None = state_tables.MULTIPLIERS.get(inner)
    if found is not None:
        return found
    sizes = state_tables.MULTIPLIERS[inner] = StepSizes()
    kept = weakref.ref(inner)  # Else the optimizer would keep itself alive.

    def key(variable: Any) -> Any:
        return keras_optimizers.variable_key(kept(), variable)

    keras_optimizers.hook_steps(
        inner,
        lambda variable: _factor(sizes, key(variable), kept()),
        lambda done: 1 if sizes.schedule is None else sizes.schedule(done),
        lambda variable: key(variable) not in sizes.undecayed,
    )
    return sizes


def factor(optimizer: keras.optimizers.Optimizer, variable: Any) -> Any:
    """What a variable's rate is multiplied with, the schedule left out."""
    sizes, inner = of(optimizer), innermost(optimizer)
    return (
        1
        if sizes is None
        else _factor(sizes, keras_optimizers.variable_key(inner, variable), inner)
    )


def _factor(sizes: StepSizes, key: Any, optimizer: Any) -> Any:
    fixed = sizes.factors.get(key, 1)
    if key not in sizes.warming or fixed == 0:
        return fixed
    first, steps = sizes.warming[key]
    done = keras.ops.cast(optimizer.iterations - first + 1, "float32")
    rise = keras.ops.clip(done / steps, 0.0, 1.0)
    if not keras_optimizers.is_plain_adam(optimizer):
        return fixed * rise
    # Adam takes the bias out of all moments by the steps since the run began. Those of a late
    # variable are as young as its own steps: for constant gradients, its steps would be up to 6.6
    # times too large around the tenth, and 3 times at the hundredth.
    every = keras.ops.cast(optimizer.iterations + 1, "float32")
    return fixed * rise * _unbiased(optimizer, done) / _unbiased(optimizer, every)


def _unbiased(optimizer: Any, steps: Any) -> Any:
    """What Adam multiplies its rate with after so many steps."""
    return keras.ops.sqrt(1 - optimizer.beta_2**steps) / (1 - optimizer.beta_1**steps)


def set_factors(
    optimizer: keras.optimizers.Optimizer,
    factors: Iterable[tuple[Any, float]],
    undecayed: Iterable[Any] = (),
) -> None:
    """Gives variables factors, and takes weight decay off some."""
    sizes, inner = change(optimizer), innermost(optimizer)
    sizes.factors = {keras_optimizers.variable_key(inner, v): float(value) for v, value in factors}
    sizes.undecayed = frozenset(keras_optimizers.variable_key(inner, v) for v in undecayed)


def kept(optimizer: keras.optimizers.Optimizer) -> StepSizes | None:
    """What `put_back` brings back."""
    sizes = of(optimizer)
    return None if sizes is None else replace(sizes, factors=dict(sizes.factors))


def put_back(optimizer: keras.optimizers.Optimizer, held: StepSizes | None) -> None:
    """Brings factors and decay back as they were; what warms up goes on doing so."""
    sizes = of(optimizer)
    if sizes is not None:
        sizes.factors = {} if held is None else dict(held.factors)
        sizes.undecayed = frozenset() if held is None else held.undecayed


def warm_up(optimizer: keras.optimizers.Optimizer, variables: Iterable[Any], steps: int) -> None:
    """Has variables begin with small updates from now on, and whole ones after so many."""
    sizes, inner = change(optimizer), innermost(optimizer)
    first = int(inner.iterations)
    sizes.warming |= {keras_optimizers.variable_key(inner, v): (first, steps) for v in variables}


def warming(optimizer: keras.optimizers.Optimizer, variable: Any) -> tuple[int, int] | None:
    """When a variable that began late began, and in how many steps its rate rises."""
    sizes, inner = of(optimizer), innermost(optimizer)
    if sizes is None or not sizes.warming:
        return None
    return sizes.warming.get(keras_optimizers.variable_key(inner, variable))


def set_warming(
    optimizer: keras.optimizers.Optimizer, rows: Iterable[tuple[Any, int, int]]
) -> None:
    """Puts back what `warming` said of variables."""
    inner = innermost(optimizer)
    found = {keras_optimizers.variable_key(inner, v): (first, steps) for v, first, steps in rows}
    if found or of(optimizer) is not None:
        change(optimizer).warming = found


def carry(old: keras.optimizers.Optimizer, new: keras.optimizers.Optimizer) -> None:
    """Gives another optimizer of the same variables the same factors."""
    sizes = of(old)
    if sizes is not None:
        mine = change(new)
        mine.factors, mine.undecayed = dict(sizes.factors), sizes.undecayed
        mine.warming = dict(sizes.warming)


def fingerprint(optimizer: keras.optimizers.Optimizer) -> Any:
    """What a traced function holds fixed of it."""
    sizes = of(optimizer) if optimizer is not None else None
    if sizes is None:
        return None
    parts = (sizes.factors, sizes.warming)
    return (*(tuple(sorted(p.items())) for p in parts), sizes.undecayed, id(sizes.schedule))


def described(optimizer: Any, variables: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Name -> factor and whether it decays, for variables that have anything but 1 and yes."""
    sizes = of(optimizer) if optimizer is not None else None
    if sizes is None:
        return {}
    inner = innermost(optimizer)
    keys = {
        name: keras_optimizers.variable_key(inner, variable) for name, variable in variables.items()
    }
    return {
        name: [sizes.factors.get(key, 1.0), key not in sizes.undecayed]
        for name, key in keys.items()
        if key in sizes.factors or key in sizes.undecayed
    }
