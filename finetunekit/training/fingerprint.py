"""What a run must share with another one to continue it bit for bit."""

from typing import TYPE_CHECKING, Any

from finetunekit.data.array_batches import ArrayBatches

if TYPE_CHECKING:
    from finetunekit.training.plan import FitPlan


def of(plan: "FitPlan") -> dict[str, Any]:
    """The fingerprint of a plan: words -> plain values that are the same in each process."""
    batches, validation, cache = plan.batches, plan.validation, plan.cache
    return {
        "seed": plan.seed,
        "batch_size": plan.loop.batch_size,
        "shuffle": isinstance(batches, ArrayBatches) and batches.order is not None,
        "cache": cache.cache is not False,
        "engine": cache.engine,
        "memory limit": cache.memory_limit,
        "frozen dropout": cache.frozen_dropout,
        "deterministic": cache.deterministic,
        "mixing": [[type(layer).__name__, layer.get_config()] for layer in batches.random_layers],
        "validation frequency": plan.loop.validation_freq,
        "validation data": "none"
        if validation is None
        else validation.digest()
        if isinstance(validation, ArrayBatches)
        else type(validation).__name__,
        "data": batches.digest(),
    }
