"""finetunekit: fine-tune pretrained Keras models. This is the whole public surface."""

from finetunekit import callbacks
from finetunekit.backbones import load_backbone
from finetunekit.backbones.contract import input_contract
from finetunekit.backbones.report import LoadReport, load_report
from finetunekit.backbones.saved_model import SavedModelLayer
from finetunekit.backbones.taps import backbone_features
from finetunekit.backbones.weights import WeightsReport, WeightsRow, load_weights
from finetunekit.backbones.weights_torch import load_weights_from_torch
from finetunekit.caching.cut import FrozenSplit, split_frozen
from finetunekit.caching.features import (
    CachedFeatures,
    cache_features,
    clear_cache,
    load_features,
)
from finetunekit.caching.store import FeatureStore
from finetunekit.choosing import (
    BackboneRow,
    BackboneTable,
    RankedBackbone,
    Ranking,
    list_backbones,
    rank_backbones,
)
from finetunekit.freezing import (
    TrainableSummary,
    freeze_layers,
    trainable_summary,
    unfreeze_layers,
)
from finetunekit.metadata import InputContract, Task
from finetunekit.optimizers import layerwise_optimizer, learning_rates
from finetunekit.regularization import (
    inject_dropout,
    inject_regularizer,
    inject_stochastic_depth,
    remove_regularizer,
)
from finetunekit.saving import load, save
from finetunekit.selection import find_layers
from finetunekit.tasks import Prediction, add_head, build_head, predict_labels, replace_head
from finetunekit.text import WordPiece, tokenize, use_tokenizer
from finetunekit.training import (
    AverageReport,
    Plan,
    RateCurve,
    Repeats,
    Stage,
    StagedHistory,
    check_batch,
    compile_for_task,
    explain,
    find_learning_rate,
    fit,
    fit_in_stages,
    gradual_unfreezing,
    greedy_soup,
    head_then_top_then_all,
    interpolate,
    probe_then_finetune,
    repeat,
)
from finetunekit.tuning import TuneReport, fine_tune

__version__ = "0.1.0"

__all__ = [
    "AverageReport",
    "BackboneRow",
    "BackboneTable",
    "CachedFeatures",
    "FeatureStore",
    "FrozenSplit",
    "InputContract",
    "LoadReport",
    "Plan",
    "Prediction",
    "RankedBackbone",
    "Ranking",
    "RateCurve",
    "Repeats",
    "SavedModelLayer",
    "Stage",
    "StagedHistory",
    "Task",
    "TrainableSummary",
    "TuneReport",
    "WeightsReport",
    "WeightsRow",
    "WordPiece",
    "add_head",
    "backbone_features",
    "build_head",
    "cache_features",
    "callbacks",
    "check_batch",
    "clear_cache",
    "compile_for_task",
    "explain",
    "find_layers",
    "find_learning_rate",
    "fine_tune",
    "fit",
    "fit_in_stages",
    "freeze_layers",
    "gradual_unfreezing",
    "greedy_soup",
    "head_then_top_then_all",
    "inject_dropout",
    "inject_regularizer",
    "inject_stochastic_depth",
    "input_contract",
    "interpolate",
    "layerwise_optimizer",
    "learning_rates",
    "list_backbones",
    "load",
    "load_backbone",
    "load_features",
    "load_report",
    "load_weights",
    "load_weights_from_torch",
    "predict_labels",
    "probe_then_finetune",
    "rank_backbones",
    "remove_regularizer",
    "repeat",
    "replace_head",
    "save",
    "split_frozen",
    "tokenize",
    "trainable_summary",
    "unfreeze_layers",
    "use_tokenizer",
]
