"""A plan in words: what will be trained, on what, and what is computed once."""

from typing import TYPE_CHECKING

from finetunekit.foundation.messages import listed, plural
from finetunekit.models import freezing

if TYPE_CHECKING:
    from finetunekit.training.plan import FitPlan


def describe(plan: "FitPlan") -> str:
    """A line for each part of the plan."""
    rows = [
        f"fit of {plan.model.name!r}",
        f"  trains: {freezing.balance(plan.model)}",
        f"  task: {_task(plan)}",
        f"  data: {_data(plan)}",
        f"  validation: {_validation(plan)}",
        f"  epochs: {plan.loop.initial_epoch + 1} to {plan.loop.epochs}",
        f"  computed once: {_once(plan)}",
    ]
    if plan.callbacks:
        rows.append(f"  callbacks: {', '.join(type(c).__name__ for c in plan.callbacks)}")
    if plan.resume is not None:
        state = plan.resume.state
        rows.append(
            "  run: from its beginning"
            if state is None
            else f"  run: resumed after epoch {state['epoch']}"
        )
    return "\n".join(rows)


def _task(plan: "FitPlan") -> str:
    task = plan.task
    if task is None:
        return "a loss of its own"
    return f"{task.name} ({listed(task.class_names)})" if task.class_names else task.name


def _data(plan: "FitPlan") -> str:
    batches = plan.batches
    steps = "an unknown number of batches" if batches.steps is None else None
    steps = steps or plural(batches.steps or 0, "batch")
    samples = "" if batches.samples is None else f"{plural(batches.samples, 'sample')} in "
    return f"{samples}{steps} an epoch"


def _validation(plan: "FitPlan") -> str:
    held_out = plan.validation
    if held_out is None:
        return "none"
    if held_out.samples is not None:
        return plural(held_out.samples, "sample")
    return "a pipeline" if held_out.steps is None else plural(held_out.steps, "batch")


def _once(plan: "FitPlan") -> str:
    split, reason = plan.find_cut()
    if split is None:
        return f"nothing, since {reason}"
    last = split.prefix_calls[-1].path
    where = "in memory" if plan.cache.path is None else f"in {plan.cache.path}"
    return f"{plural(len(split.layers), 'layer')} with weights, up to {last!r}; features {where}"
