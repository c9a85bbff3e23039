"""Which callbacks are there? The public shelf; each lives in its own file."""

from typing import TYPE_CHECKING

from finetunekit.foundation import lazy

if TYPE_CHECKING:
    from finetunekit.callbacks.early_stopping import EarlyStopping
    from finetunekit.callbacks.nan_watch import NaNWatch
    from finetunekit.callbacks.save_best import SaveBest
    from finetunekit.callbacks.schedule import Schedule
    from finetunekit.callbacks.time_budget import TimeBudget
    from finetunekit.models.freezing import FrozenGuard
    from finetunekit.regularization.dropout import DropoutInjection
    from finetunekit.regularization.penalties import L1L2Injection
    from finetunekit.resuming.checkpoint import Checkpoint

__all__ = [
    "Checkpoint",
    "DropoutInjection",
    "EarlyStopping",
    "FrozenGuard",
    "L1L2Injection",
    "NaNWatch",
    "SaveBest",
    "Schedule",
    "TimeBudget",
]

__getattr__, __dir__ = lazy.attach(
    __name__,
    {
        "callbacks.early_stopping": ("EarlyStopping",),
        "callbacks.nan_watch": ("NaNWatch",),
        "callbacks.save_best": ("SaveBest",),
        "callbacks.schedule": ("Schedule",),
        "callbacks.time_budget": ("TimeBudget",),
        "models.freezing": ("FrozenGuard",),
        "regularization.dropout": ("DropoutInjection",),
        "regularization.penalties": ("L1L2Injection",),
        "resuming.checkpoint": ("Checkpoint",),
    },
)
