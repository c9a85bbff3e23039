"""What holds a model back from overfitting? Penalties and Dropout, in one that exists already."""

from finetunekit.regularization.dropout import DropoutInjection, inject_dropout
from finetunekit.regularization.penalties import (
    L1L2Injection,
    inject_regularizer,
    remove_regularizer,
)
from finetunekit.regularization.stochastic_depth import inject_stochastic_depth

__all__ = [
    "DropoutInjection",
    "L1L2Injection",
    "inject_dropout",
    "inject_regularizer",
    "inject_stochastic_depth",
    "remove_regularizer",
]
