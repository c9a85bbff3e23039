"""Which pretrained model for my task? A table of what there is, and a ranking on one's own data."""

from finetunekit.choosing.catalog import BackboneRow, BackboneTable, list_backbones
from finetunekit.choosing.ranking import RankedBackbone, Ranking, rank_backbones

__all__ = [
    "BackboneRow",
    "BackboneTable",
    "RankedBackbone",
    "Ranking",
    "list_backbones",
    "rank_backbones",
]
