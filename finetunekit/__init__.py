"""finetunekit: fine-tune pretrained Keras models. This is the whole public surface.

Each name is loaded from its home when it is first used (PEP 562), so that importing the package,
or asking the command line for help, does not wait for TensorFlow.
"""

from typing import TYPE_CHECKING

from finetunekit.foundation import lazy, registration

if TYPE_CHECKING:
    from finetunekit import callbacks, examples
    from finetunekit.averaging.soups import greedy_soup, interpolate
    from finetunekit.averaging.weight_evaluation import AverageReport
    from finetunekit.backbones.contract import input_contract
    from finetunekit.backbones.loading import load_backbone
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
    from finetunekit.data.batch_checks import check_batch
    from finetunekit.evaluation import EvaluationReport, evaluate, predict
    from finetunekit.models.freezing import freeze_layers, unfreeze_layers
    from finetunekit.models.metadata import InputContract, Task
    from finetunekit.models.saving import load, save
    from finetunekit.models.selection import find_layers
    from finetunekit.models.trainable_summary import TrainableSummary, trainable_summary
    from finetunekit.optimizers import layerwise_optimizer, learning_rates
    from finetunekit.regularization import (
        inject_dropout,
        inject_regularizer,
        inject_stochastic_depth,
        remove_regularizer,
    )
    from finetunekit.tasks import NumberPrediction, Prediction, add_head, build_head, replace_head
    from finetunekit.text import WordPiece, tokenize, use_tokenizer
    from finetunekit.training.compiling import compile_for_task
    from finetunekit.training.estimate import FitEstimate, explain
    from finetunekit.training.fitting import fit
    from finetunekit.training.history_plot import plot_history
    from finetunekit.training.plan import FitPlan
    from finetunekit.training.planning import plan_fit
    from finetunekit.training.range_test import RateCurve, find_learning_rate
    from finetunekit.training.recipes import (
        gradual_unfreezing,
        head_then_top_then_all,
        probe_then_finetune,
    )
    from finetunekit.training.repeats import Repeats, repeat
    from finetunekit.training.stage import Stage, StagedHistory
    from finetunekit.training.stages import fit_in_stages
    from finetunekit.tuning import TuneReport, fine_tune

__version__ = "0.1.0"

__all__ = [
    "AverageReport",
    "BackboneRow",
    "BackboneTable",
    "CachedFeatures",
    "EvaluationReport",
    "FeatureStore",
    "FitEstimate",
    "FitPlan",
    "FrozenSplit",
    "InputContract",
    "LoadReport",
    "NumberPrediction",
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
    "evaluate",
    "examples",
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
    "plan_fit",
    "plot_history",
    "predict",
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

__getattr__, __dir__ = lazy.attach(
    __name__,
    {
        "averaging.soups": (
            "greedy_soup",
            "interpolate",
        ),
        "averaging.weight_evaluation": ("AverageReport",),
        "backbones.loading": ("load_backbone",),
        "backbones.contract": ("input_contract",),
        "backbones.report": (
            "LoadReport",
            "load_report",
        ),
        "backbones.saved_model": ("SavedModelLayer",),
        "backbones.taps": ("backbone_features",),
        "backbones.weights": (
            "WeightsReport",
            "WeightsRow",
            "load_weights",
        ),
        "backbones.weights_torch": ("load_weights_from_torch",),
        "caching.cut": (
            "FrozenSplit",
            "split_frozen",
        ),
        "caching.features": (
            "CachedFeatures",
            "cache_features",
            "clear_cache",
            "load_features",
        ),
        "caching.store": ("FeatureStore",),
        "choosing": (
            "BackboneRow",
            "BackboneTable",
            "RankedBackbone",
            "Ranking",
            "list_backbones",
            "rank_backbones",
        ),
        "data.batch_checks": ("check_batch",),
        "evaluation": (
            "EvaluationReport",
            "evaluate",
            "predict",
        ),
        "models.freezing": (
            "freeze_layers",
            "unfreeze_layers",
        ),
        "models.metadata": (
            "InputContract",
            "Task",
        ),
        "models.saving": (
            "load",
            "save",
        ),
        "models.selection": ("find_layers",),
        "models.trainable_summary": (
            "TrainableSummary",
            "trainable_summary",
        ),
        "optimizers": (
            "layerwise_optimizer",
            "learning_rates",
        ),
        "regularization": (
            "inject_dropout",
            "inject_regularizer",
            "inject_stochastic_depth",
            "remove_regularizer",
        ),
        "tasks": (
            "NumberPrediction",
            "Prediction",
            "add_head",
            "build_head",
            "replace_head",
        ),
        "text": (
            "WordPiece",
            "tokenize",
            "use_tokenizer",
        ),
        "training.compiling": ("compile_for_task",),
        "training.estimate": ("FitEstimate", "explain"),
        "training.plan": ("FitPlan",),
        "training.planning": ("plan_fit",),
        "training.fitting": ("fit",),
        "training.history_plot": ("plot_history",),
        "training.range_test": (
            "RateCurve",
            "find_learning_rate",
        ),
        "training.recipes": (
            "gradual_unfreezing",
            "head_then_top_then_all",
            "probe_then_finetune",
        ),
        "training.repeats": (
            "Repeats",
            "repeat",
        ),
        "training.stage": (
            "Stage",
            "StagedHistory",
        ),
        "training.stages": ("fit_in_stages",),
        "tuning": (
            "TuneReport",
            "fine_tune",
        ),
    },
    submodules=("callbacks", "examples"),
)
registration.register_with_keras()
