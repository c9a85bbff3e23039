"""How fast does which part learn? Learning rates and optimizers."""

from finetunekit.optimizers.rates import make_optimizer, trainable_part

__all__ = ["make_optimizer", "trainable_part"]
