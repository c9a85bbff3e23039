"""Which callbacks are there? The public shelf; each lives in its own room."""

from finetunekit.freezing import FrozenGuard
from finetunekit.regularization import DropoutInjection, L1L2Injection
from finetunekit.training import Checkpoint, EarlyStopping, NaNWatch, SaveBest, Schedule

__all__ = [
    "Checkpoint",
    "DropoutInjection",
    "EarlyStopping",
    "FrozenGuard",
    "L1L2Injection",
    "NaNWatch",
    "SaveBest",
    "Schedule",
]
