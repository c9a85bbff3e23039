"""How does an interrupted run go on as if nothing had been? Checkpoints, and runs from them."""

from finetunekit.training.resuming.checkpoint import Checkpoint
from finetunekit.training.resuming.run import Resume, Run, StageState, read_checkpoint

__all__ = ["Checkpoint", "Resume", "Run", "StageState", "read_checkpoint"]
