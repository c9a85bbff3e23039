"""What does a model say of samples, and how good is it? Predictions, and figures with intervals."""

from finetunekit.evaluation.evaluating import evaluate
from finetunekit.evaluation.predicting import predict
from finetunekit.evaluation.report import EvaluationReport

__all__ = ["EvaluationReport", "evaluate", "predict"]
