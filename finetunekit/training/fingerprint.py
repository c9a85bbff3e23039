"""What a run must share with another one to continue it bit for bit."""

from typing import TYPE_CHECKING, Any

from finetunekit.data.array_batches import ArrayBatches
from finetunekit.data.batches import Batches
from finetunekit.resuming.describing import describe
from finetunekit.resuming.fingerprint import describe_callbacks, describe_compilation

if TYPE_CHECKING:
    from finetunekit.training.plan import FitPlan


def of(plan: "FitPlan") -> dict[str, Any]:
    """The fingerprint of a plan: words -> plain values that are the same in each process."""
    batches, cache, loop = plan.batches, plan.cache, plan.loop
    return {
        "data": batches.digest(),
        "validation data": _validation(plan.validation),
        "seed": plan.seed,
        "batch_size": loop.batch_size,
        "shuffle": isinstance(batches, ArrayBatches) and batches.order is not None,
        "class weights": describe(batches.for_keras(0).class_weight),
        "mixing": describe(list(batches.random_layers)),
        "validation_freq": describe(loop.validation_freq),
        "validation_steps": loop.validation_steps,
        "validation_batch_size": loop.validation_batch_size,
        "cache": cache.cache is not False,
        "engine": cache.engine,
        "frozen_dropout": cache.frozen_dropout,
        "deterministic": cache.deterministic,
        "memory limit": cache.memory_limit,
        **describe_compilation(plan.model),
        "callbacks": describe_callbacks(list(plan.callbacks)),
    }


def _validation(validation: Batches | None) -> str:
    if validation is None or isinstance(validation, ArrayBatches):
        return "none" if validation is None else validation.digest()
    return type(validation).__name__
