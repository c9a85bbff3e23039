"""Heads that give their inputs, and a table of metrics on each, with their values by formula."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
import metric_references as ref
from finetunekit.tasks import metric_fitting

m = keras.metrics
WIDTH = {"binary": 1, "multiclass": 4, "multilabel": 3}
COUNT = 48
Row = tuple[Any, ref.Reference]  # A metric as the user gives it, or a function that makes it.


def logits_and_labels(task: str) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels as rows of 0 and 1, which agree more often than not."""
    random, width = np.random.default_rng(3), WIDTH[task]
    z = random.normal(0, 1.5, (COUNT, width)).astype("float32")
    noisy = z + random.normal(0, 1.5, z.shape)
    if task == "multiclass":
        return z, np.eye(width, dtype="float32")[noisy.argmax(-1)]
    return z, (noisy > 0.3).astype("float32")


YES_OR_NO: dict[str, Row] = {
    "accuracy": ("accuracy", ref.by_label),
    "bin": (lambda: m.BinaryAccuracy(name="bin"), ref.by_label),
    "at_0.3": (lambda: m.BinaryAccuracy("at_0.3", threshold=0.3),
               lambda y, p: ref.by_label(y, p, 0.3)),
    "exact": (lambda: m.Accuracy(name="exact"), ref.by_label),
    "auc": (lambda: m.AUC(2000, name="auc"), ref.mean_area),
    "pr": (lambda: m.AUC(curve="PR", name="pr"),
           lambda y, p: np.mean([ref.of_keras(lambda: m.AUC(curve="PR"))(y[:, k], p[:, k])
                                 for k in range(y.shape[1])])),
    "precision": (m.Precision(name="precision").__class__, ref.precision()),
    "recall_0.3": (lambda: m.Recall(0.3, name="recall_0.3"), ref.recall(0.3)),
    "first": (lambda: m.Precision(class_id=0, name="first"), ref.precision(column=[0])),
    "tp": (lambda: m.TruePositives(name="tp"), ref.number(0)),
    "fp": (lambda: m.FalsePositives(name="fp"), ref.number(1)),
    "fn": (lambda: m.FalseNegatives([0.5], name="fn"), ref.number(2)),
    "tn": (lambda: m.TrueNegatives(name="tn"), ref.true_negatives),
    "p_at_r": (lambda: m.PrecisionAtRecall(0.6, name="p_at_r"),
               ref.of_keras(lambda: m.PrecisionAtRecall(0.6))),
    "r_at_p": (lambda: m.RecallAtPrecision(0.7, name="r_at_p"),
               ref.of_keras(lambda: m.RecallAtPrecision(0.7))),
    "se_at_sp": (lambda: m.SensitivityAtSpecificity(0.6, name="se_at_sp"),
                 ref.of_keras(lambda: m.SensitivityAtSpecificity(0.6))),
    "sp_at_se": (lambda: m.SpecificityAtSensitivity(0.6, name="sp_at_se"),
                 ref.of_keras(lambda: m.SpecificityAtSensitivity(0.6))),
    "f1": (lambda: m.F1Score("macro", name="f1"), ref.f_beta(threshold=0.5)),
    "f2": (lambda: m.FBetaScore("micro", 2.0, 0.3, name="f2"),
           ref.f_beta(2.0, "micro", threshold=0.3)),
    "iou": (lambda: m.BinaryIoU(name="iou"), ref.binary_iou()),
    "iou_yes": (lambda: m.BinaryIoU([1], 0.3, name="iou_yes"), ref.binary_iou(0.3, (1,))),
    "mean_iou": (lambda: m.MeanIoU(2, name="mean_iou"), ref.binary_iou()),
    "bce": ("bce", ref.binary_cross_entropy),
    "mse": ("mse", ref.squared),
    "brier": (lambda: m.RootMeanSquaredError(name="brier"), lambda y, p: ref.squared(y, p) ** 0.5),
}  # fmt: skip
ONE_OF_TWO: dict[str, Row] = {
    "categorical_accuracy": ("categorical_accuracy", ref.by_label),
    "ce": (lambda: m.SparseCategoricalCrossentropy(name="ce"), ref.binary_cross_entropy),
    "f1_score": ("f1_score", ref.f_beta(threshold=0.5)),
}
OF_SEVERAL: dict[str, Row] = {
    "top_1": (lambda: m.Precision(top_k=1, name="top_1"), ref.top_precision(1)),
    "flat": (lambda: m.AUC(2000, name="flat", label_weights=[1.0] * 3), ref.area),
}
OF_CLASSES: dict[str, Row] = {
    "accuracy": ("accuracy", ref.by_class),
    "exact": (lambda: m.Accuracy(name="exact"), ref.by_class),
    "cat": (lambda: m.CategoricalAccuracy(name="cat"), ref.by_class),
    "sparse": (lambda: m.SparseCategoricalAccuracy(name="sparse"), ref.by_class),
    "function": (lambda: m.categorical_accuracy, ref.by_class),
    "top_2": (lambda: m.TopKCategoricalAccuracy(2, name="top_2"), ref.top(2)),
    "top_3": (lambda: m.SparseTopKCategoricalAccuracy(3, name="top_3"), ref.top(3)),
    "ce": (lambda: m.CategoricalCrossentropy(name="ce"), ref.cross_entropy()),
    "sce": (lambda: m.SparseCategoricalCrossentropy(name="sce"), ref.cross_entropy()),
    "smooth": (lambda: m.CategoricalCrossentropy("smooth", label_smoothing=0.2),
               ref.cross_entropy(0.2)),
    "loss_object": (lambda: keras.losses.CategoricalCrossentropy(name="loss_object"),
                    ref.cross_entropy()),
    "kl": (lambda: m.KLDivergence(name="kl"), ref.cross_entropy()),
    "auc": (lambda: m.AUC(2000, name="auc"), ref.area),
    "mean_auc": (lambda: m.AUC(2000, multi_label=True, name="mean_auc"), ref.mean_area),
    "precision": ("precision", ref.precision()),
    "p_class": (lambda: m.Precision(class_id=2, name="p_class"), ref.precision(column=[2])),
    "r_0.3": (lambda: m.Recall(0.3, name="r_0.3"), ref.recall(0.3)),
    "r_top": (lambda: m.Recall(top_k=2, name="r_top"), ref.top_recall(2)),
    "tp": (lambda: m.TruePositives(name="tp"), ref.number(0)),
    "fp": (lambda: m.FalsePositives(name="fp"), ref.number(1)),
    "fn": (lambda: m.FalseNegatives(name="fn"), ref.number(2)),
    "tn": (lambda: m.TrueNegatives(name="tn"), ref.true_negatives),
    "p_at_r": (lambda: m.PrecisionAtRecall(0.6, class_id=1, name="p_at_r"),
               ref.of_keras(lambda: m.PrecisionAtRecall(0.6, class_id=1))),
    "r_at_p": (lambda: m.RecallAtPrecision(0.7, name="r_at_p"),
               ref.of_keras(lambda: m.RecallAtPrecision(0.7))),
    "se_at_sp": (lambda: m.SensitivityAtSpecificity(0.6, name="se_at_sp"),
                 ref.of_keras(lambda: m.SensitivityAtSpecificity(0.6))),
    "sp_at_se": (lambda: m.SpecificityAtSensitivity(0.6, name="sp_at_se"),
                 ref.of_keras(lambda: m.SpecificityAtSensitivity(0.6))),
    "f1": (lambda: m.F1Score("weighted", name="f1"), ref.f_beta(average="weighted")),
    "f1_each": (lambda: m.F1Score(name="f1_each"), ref.f_beta(average=None)),
    "f2": (lambda: m.FBetaScore("micro", 2.0, 0.3, name="f2"),
           ref.f_beta(2.0, "micro", threshold=0.3)),
    "MeanIoU": ("MeanIoU", ref.mean_iou),
    "iou": (lambda: m.IoU(4, [1], name="iou"), lambda y, p: ref.mean_iou(y, p, slice(1, 2))),
    "hot_iou": (lambda: m.OneHotMeanIoU(4, name="hot_iou"), ref.mean_iou),
    "mse": ("mse", ref.squared),
}  # fmt: skip
TABLES: dict[str, dict[str, Row]] = {
    "binary": YES_OR_NO | ONE_OF_TWO,
    "multilabel": YES_OR_NO | OF_SEVERAL,
    "multiclass": OF_CLASSES,
}


def head_on(task: str, *, logits: bool) -> keras.Model:
    """A model that gives its inputs, as logits or through the activation; its base is frozen."""
    width = WIDTH[task]
    inputs = keras.Input((width,))
    base = keras.Model(inputs, keras.layers.Dense(width, kernel_initializer="identity")(inputs))
    options = {} if task == "binary" else {"num_classes": width}
    activation = {"activation": None} if logits else {}
    model = ftk.add_head(ftk.freeze_layers(base), task, **options, **activation)
    model.layers[-1].layers[-1].kernel.assign(np.eye(width))
    return model


def in_form(rows: np.ndarray, form: str) -> np.ndarray:
    return {
        "rows": lambda: rows,
        "integers": lambda: rows.argmax(-1),
        "column": lambda: rows.argmax(-1)[:, None],
        "flat": lambda: rows[:, 0].astype("int64"),
    }[form]()


def made(table: dict[str, Row]) -> list[Any]:
    return [give() if callable(give) else give for give, _ in table.values()]


def expected(table: dict[str, Row], task: str, rows: np.ndarray, z: np.ndarray) -> dict[str, Any]:
    p = (ref.softmax if task == "multiclass" else ref.sigmoid)(z.astype("float64"))
    found = {name: by_formula(rows, p) for name, (_, by_formula) in table.items()}
    if "function" in found:
        found["categorical_accuracy"] = found.pop("function")
    return found


def compare(found: dict[str, Any], wanted: dict[str, Any], what: str) -> None:
    for name, value in wanted.items():
        # AUC counts in steps.
        loose = 2e-3 if "auc" in name or name == "flat" else 2e-5
        assert np.asarray(found[name]) == pytest.approx(np.asarray(value), abs=loose), (what, name)


FORMS = [
    *(("binary", logits, form) for logits in (False, True) for form in ("flat", "rows")),
    *(("multilabel", logits, "rows") for logits in (False, True)),
    *(
        ("multiclass", logits, form)
        for logits in (False, True)
        for form in ("integers", "rows", "column")
    ),
]


def check_every_metric(task: str, *, logits: bool, form: str) -> None:
    """Compares all metrics of the table on a head, without a step, with their formulas."""
    z, rows = logits_and_labels(task)
    y, table = in_form(rows, form), TABLES[task]
    known = ftk.Task(name=task, num_classes=WIDTH[task], one_hot=form == "rows")
    model = head_on(task, logits=logits)
    fitted = metric_fitting.fit_metrics(made(table), model, known, None)
    outputs = z if logits else (ref.softmax if task == "multiclass" else ref.sigmoid)(z)
    for part in np.split(np.arange(COUNT), 2):
        for metric in fitted:
            metric.update_state(y[part], outputs[part])
    found = {metric.name: np.asarray(metric.result()) for metric in fitted}
    assert len(found) == len(table)
    compare(found, expected(table, task, rows, z), form)


def check_refused(task: str, logits: bool, given: Any, remedy: str) -> None:
    """Checks that a metric, or what makes it, is refused with a remedy before anything changes."""
    model = head_on(task, logits=logits)
    with pytest.raises(ValueError, match=rf"`metrics`.*{remedy}.*Received: metrics with '"):
        ftk.compile_for_task(model, metrics=[given() if callable(given) else given])
    assert not model.compiled
