"""How fast does which part learn? Learning rates and optimizers."""

from finetunekit.optimizers.layerwise import (
    check_layer_decay,
    layerwise_optimizer,
    learning_rates,
)
from finetunekit.optimizers.rates import make_optimizer, note, rate_for, trainable_part

__all__ = [
    "check_layer_decay",
    "layerwise_optimizer",
    "learning_rates",
    "make_optimizer",
    "note",
    "rate_for",
    "trainable_part",
]
