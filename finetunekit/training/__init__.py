"""In what order does training go? Compiling for a task, fitting, stopping, keeping the best."""

from finetunekit.training.batch_checks import check_batch
from finetunekit.training.candidates import AverageReport
from finetunekit.training.compiling import compile_for_task
from finetunekit.training.explain import Plan, explain
from finetunekit.training.fitting import fit
from finetunekit.training.nan_watch import NaNWatch
from finetunekit.training.range_test import RateCurve, find_learning_rate
from finetunekit.training.recipes import (
    gradual_unfreezing,
    head_then_top_then_all,
    probe_then_finetune,
)
from finetunekit.training.repeats import Repeats, repeat
from finetunekit.training.resuming import Checkpoint
from finetunekit.training.schedules import Schedule
from finetunekit.training.soups import greedy_soup, interpolate
from finetunekit.training.stages import Stage, StagedHistory, fit_in_stages
from finetunekit.training.stopping import EarlyStopping, SaveBest

__all__ = [
    "AverageReport",
    "Checkpoint",
    "EarlyStopping",
    "NaNWatch",
    "Plan",
    "RateCurve",
    "Repeats",
    "SaveBest",
    "Schedule",
    "Stage",
    "StagedHistory",
    "check_batch",
    "compile_for_task",
    "explain",
    "find_learning_rate",
    "fit",
    "fit_in_stages",
    "gradual_unfreezing",
    "greedy_soup",
    "head_then_top_then_all",
    "interpolate",
    "probe_then_finetune",
    "repeat",
]
