"""finetunekit: fine-tune pretrained Keras models. This is the whole public surface."""

from finetunekit import callbacks
from finetunekit.backbones import load_backbone
from finetunekit.backbones.contract import input_contract
from finetunekit.backbones.report import LoadReport, load_report
from finetunekit.backbones.saved_model import SavedModelLayer
from finetunekit.backbones.taps import backbone_features
from finetunekit.backbones.weights import WeightsReport, WeightsRow, load_weights
from finetunekit.freezing import (
    TrainableSummary,
    freeze_layers,
    trainable_summary,
    unfreeze_layers,
)
from finetunekit.metadata import InputContract, Task
from finetunekit.regularization import inject_dropout, inject_regularizer, remove_regularizer
from finetunekit.saving import load, save
from finetunekit.selection import find_layers
from finetunekit.tasks import Prediction, add_head, build_head, predict_labels, replace_head
from finetunekit.training import check_batch, compile_for_task, fit

__version__ = "0.1.0"

__all__ = [
    "InputContract",
    "LoadReport",
    "Prediction",
    "SavedModelLayer",
    "Task",
    "TrainableSummary",
    "WeightsReport",
    "WeightsRow",
    "add_head",
    "backbone_features",
    "build_head",
    "callbacks",
    "check_batch",
    "compile_for_task",
    "find_layers",
    "fit",
    "freeze_layers",
    "inject_dropout",
    "inject_regularizer",
    "input_contract",
    "load",
    "load_backbone",
    "load_report",
    "load_weights",
    "predict_labels",
    "remove_regularizer",
    "replace_head",
    "save",
    "trainable_summary",
    "unfreeze_layers",
]
