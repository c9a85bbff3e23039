"""Can one call do it? Backbone and data in, a tuned model and a report out."""

from finetunekit.tuning.report import TuneReport
from finetunekit.tuning.run import fine_tune

__all__ = ["TuneReport", "fine_tune"]
