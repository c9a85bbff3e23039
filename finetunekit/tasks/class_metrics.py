"""The metrics of Keras on heads of a softmax: one of several classes."""

from typing import Any

import keras

from finetunekit.models.head_metrics import Feed, fed
from finetunekit.tasks.metric_settings import (
    AT_A_POINT,
    COUNTS,
    ERRORS,
    F_SCORES,
    IOUS,
    TOP_K,
    Head,
    Row,
    check_class_id,
    check_threshold,
    counting_dtype,
    rebuilt,
    refuse,
    with_variables,
)

m = keras.metrics


def fit(metric: keras.metrics.Metric, head: Head) -> keras.metrics.Metric:
    """A metric for labels of the head's form; one of the user's own sees integers as `(n,)`.

    Args:
        metric: A metric object.
        head: The head.

    Raises:
        ValueError: If the metric means nothing on such a head.
    """
    row = _ROWS.get(type(metric))
    if row is None:
        return fed(metric, Feed(labels="places", classes=head.width, masks=False))
    return row(metric, head)


def _of_places(metric: keras.metrics.Metric, head: Head) -> keras.metrics.Metric:
    """For labels as they are, but those without a class."""
    return fed(metric, Feed(labels="places", classes=head.width, void=head.void))


def _of_rows(
    metric: keras.metrics.Metric, head: Head, labels: str, **options: Any
) -> keras.metrics.Metric:
    """For one-hot labels, which stock metrics take if they come so."""
    feed = Feed(labels=labels, classes=head.width, void=head.void, **options)
    stock = bool(head.task.one_hot) and feed.is_of_labels
    return fed(metric, feed) if stock else fed(metric, feed, whole=True)


def _accuracy(metric: Any, head: Head) -> keras.metrics.Metric:
    kind = m.CategoricalAccuracy if head.task.one_hot else m.SparseCategoricalAccuracy
    return _of_places(rebuilt(metric, kind), head)


def _top_k(metric: Any, head: Head) -> keras.metrics.Metric:
    if metric.k >= head.width:
        refuse(
            metric,
            f"each of {head.width} classes is among the {metric.k} most probable ones, so it "
            f"would always be 1. Give a smaller one, such as "
            f"keras.metrics.{type(metric).__name__}(k={max(head.width - 1, 1)}).",
        )
    kind = m.TopKCategoricalAccuracy if head.task.one_hot else m.SparseTopKCategoricalAccuracy
    return _of_places(rebuilt(metric, kind, **_unsorted(kind)), head)


def _unsorted(kind: type) -> dict[str, Any]:
    """The head gives scores, whatever the metric was told."""
    return {"from_sorted_ids": False} if kind is m.SparseTopKCategoricalAccuracy else {}


def _cross_entropy(metric: Any, head: Head) -> keras.metrics.Metric:
    if head.task.one_hot or metric.get_config().get("label_smoothing"):
        made = rebuilt(metric, m.CategoricalCrossentropy, from_logits=head.logits, axis=-1)
        return _of_rows(made, head, "rows")
    # The feed leaves out what does not count; Keras' metric counts it as 0.
    settings = {"from_logits": head.logits, "axis": -1, "ignore_class": None}
    return _of_places(rebuilt(metric, m.SparseCategoricalCrossentropy, **settings), head)


def _auc(metric: Any, head: Head) -> keras.metrics.Metric:
    several = bool(metric.multi_label)
    made = rebuilt(metric, num_labels=head.width if several else None, from_logits=False)
    return _of_rows(made, head, "one class", outputs=_softmax(head), flat=several and head.dense)


def _confusion(metric: Any, head: Head) -> keras.metrics.Metric:
    check_class_id(metric, head)
    thresholds = metric.get_config().get("thresholds")
    check_threshold(metric, thresholds)
    top_k = getattr(metric, "top_k", None)
    if top_k is not None and top_k >= head.width:
        refuse(metric, f"`top_k={top_k}` takes all of {head.width} classes. Give a smaller one.")
    in_order = top_k is not None and thresholds is None  # That of logits is that of probabilities.
    return _of_rows(metric, head, "one class", outputs=None if in_order else _softmax(head))


def _f_score(metric: Any, head: Head) -> keras.metrics.Metric:
    made = with_variables(rebuilt(metric), head.width)
    outputs = None if metric.threshold is None else _softmax(head)
    return _of_rows(made, head, "one class", outputs=outputs, flat=head.dense)


def _iou(metric: Any, head: Head) -> keras.metrics.Metric:
    if metric.num_classes != head.width:
        refuse(
            metric,
            f"`num_classes={metric.num_classes}` differs from its {head.width} classes.",
        )
    one_hot = bool(head.task.one_hot)
    void = metric.ignore_class if head.void is None else head.void
    settings = {"sparse_y_true": not one_hot, "sparse_y_pred": False, "ignore_class": void}
    kind = {m.OneHotIoU: m.IoU, m.OneHotMeanIoU: m.MeanIoU}.get(type(metric), type(metric))
    return rebuilt(metric, kind, axis=-1, **settings, **counting_dtype(metric, head))


def _of_probabilities(metric: Any, head: Head) -> keras.metrics.Metric:
    return _of_rows(metric, head, "rows", outputs=_softmax(head))


def _of_scores(metric: Any, head: Head) -> keras.metrics.Metric:
    return _of_rows(metric, head, "rows")


def _of_yes_or_no(metric: Any, head: Head) -> keras.metrics.Metric:
    refuse(
        metric,
        "it takes each class for a yes or no of its own, and here one of several holds. Give "
        "'accuracy', 'categorical_crossentropy' or keras.metrics.MeanIoU.",
    )


def _softmax(head: Head) -> str | None:
    return "softmax" if head.logits else None


_ROWS: dict[type, Row] = {
    **dict.fromkeys((m.Accuracy, m.CategoricalAccuracy, m.SparseCategoricalAccuracy), _accuracy),
    **dict.fromkeys(TOP_K, _top_k),
    **dict.fromkeys((m.CategoricalCrossentropy, m.SparseCategoricalCrossentropy), _cross_entropy),
    m.AUC: _auc,
    **dict.fromkeys((*COUNTS, *AT_A_POINT), _confusion),
    **dict.fromkeys(F_SCORES, _f_score),
    **dict.fromkeys(IOUS, _iou),
    **dict.fromkeys((*ERRORS, m.KLDivergence), _of_probabilities),
    m.CategoricalHinge: _of_scores,
    **dict.fromkeys(
        (m.BinaryAccuracy, m.BinaryCrossentropy, m.BinaryIoU, m.Hinge, m.SquaredHinge),
        _of_yes_or_no,
    ),
}
