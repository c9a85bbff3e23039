"""What holds the model back from overfitting? L1, L2 and Dropout in a model that exists already."""

from finetunekit.regularization.dropout import DropoutInjection, inject_dropout
from finetunekit.regularization.penalties import (
    L1L2Injection,
    inject_regularizer,
    remove_regularizer,
)
from finetunekit.regularization.temporary import TemporaryInjection

__all__ = [
    "DropoutInjection",
    "L1L2Injection",
    "TemporaryInjection",
    "inject_dropout",
    "inject_regularizer",
    "remove_regularizer",
]
