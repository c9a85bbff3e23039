"""In what order does training go? Compiling for a task, fitting, stopping, keeping the best."""

from finetunekit.training.batch_checks import check_batch
from finetunekit.training.compiling import compile_for_task
from finetunekit.training.explain import Plan, explain
from finetunekit.training.fitting import fit
from finetunekit.training.schedules import Schedule
from finetunekit.training.stopping import EarlyStopping, SaveBest

__all__ = [
    "EarlyStopping",
    "Plan",
    "SaveBest",
    "Schedule",
    "check_batch",
    "compile_for_task",
    "explain",
    "fit",
]
