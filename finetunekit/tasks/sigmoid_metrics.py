"""The metrics of Keras on heads of sigmoids: yes or no for each output."""

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
    probability_threshold,
    rebuilt,
    refuse,
    with_variables,
)

m = keras.metrics


def fit(metric: keras.metrics.Metric, head: Head) -> keras.metrics.Metric:
    """A metric that counts what the head gives; a metric of the user's own sees the head's shape.

    Args:
        metric: A metric object.
        head: The head.

    Raises:
        ValueError: If the metric means nothing on such a head.
    """
    row = _ROWS.get(type(metric))
    if row is None:
        return fed(metric, Feed(classes=head.width, masks=False))
    return row(metric, head)


def _yes_or_no(head: Head, *, sigmoid: bool = False, flat: bool = False) -> Feed:
    """What counts yes and no: probabilities as labels are the nearer of the two."""
    outputs = "sigmoid" if sigmoid else None
    return Feed(labels="yes or no", outputs=outputs, classes=head.width, flat=flat)


def _accuracy(metric: Any, head: Head) -> keras.metrics.Metric:
    threshold = probability_threshold(metric, metric.get_config().get("threshold"), head)
    return fed(rebuilt(metric, m.BinaryAccuracy, threshold=threshold), _yes_or_no(head))


def _class_accuracy(metric: Any, head: Head) -> keras.metrics.Metric:
    if head.width > 1:
        refuse(
            metric,
            "it takes the largest output for the only class, and here each output is a label of "
            "its own. Give 'accuracy', the share of labels that are right.",
        )
    return _accuracy(metric, head)


def _cross_entropy(metric: Any, head: Head) -> keras.metrics.Metric:
    made = rebuilt(metric, m.BinaryCrossentropy, from_logits=head.logits)
    return fed(made, Feed(classes=head.width))


def _class_cross_entropy(metric: Any, head: Head) -> keras.metrics.Metric:
    if head.width > 1:
        refuse(metric, "its classes exclude each other. Give 'binary_crossentropy'.")
    return _cross_entropy(metric, head)


def _auc(metric: Any, head: Head) -> keras.metrics.Metric:
    several = metric.multi_label or (head.width > 1 and metric.label_weights is None)
    made = rebuilt(
        metric,
        multi_label=several,
        num_labels=head.width if several else None,
        from_logits=head.logits,
    )
    return fed(made, _yes_or_no(head, flat=several and head.dense))


def _confusion(metric: Any, head: Head) -> keras.metrics.Metric:
    check_class_id(metric, head)
    thresholds = metric.get_config()["thresholds"]
    top_k = getattr(metric, "top_k", None)
    if top_k is not None and top_k >= head.width:
        refuse(metric, f"`top_k={top_k}` takes all of {head.width} output(s). Leave it out.")
    if not head.logits:
        check_threshold(metric, thresholds)
    elif thresholds is None and top_k is None:
        metric = rebuilt(metric, thresholds=0.0)  # The logit of 0.5.
    own = metric.get_config()["thresholds"]
    of_logits = not head.logits or own in (0, [0], (0,)) or (own is None and top_k is not None)
    return fed(metric, _yes_or_no(head, sigmoid=not of_logits))


def _at_a_point(metric: Any, head: Head) -> keras.metrics.Metric:
    check_class_id(metric, head)
    return fed(metric, _yes_or_no(head, sigmoid=head.logits))


def _f_score(metric: Any, head: Head) -> keras.metrics.Metric:
    settings: dict[str, Any] = {"threshold": 0.5} if metric.threshold is None else {}
    if head.width == 1 and metric.average is None:
        settings["average"] = "macro"  # Of one: a number instead of a list of one.
    made = with_variables(rebuilt(metric, **settings), head.width)
    return fed(made, _yes_or_no(head, sigmoid=head.logits, flat=head.dense))


def _binary_iou(metric: Any, head: Head) -> keras.metrics.Metric:
    threshold = probability_threshold(metric, metric.get_config().get("threshold"), head)
    settings = {"threshold": threshold, **counting_dtype(metric, head)}
    feed = Feed(labels="yes or no", classes=head.width, masks=False)  # It counts in integers.
    return fed(rebuilt(metric, m.BinaryIoU, **settings), feed)


def _class_iou(metric: Any, head: Head) -> keras.metrics.Metric:
    if metric.num_classes != 2:
        refuse(metric, "each output is yes or no. Give keras.metrics.BinaryIoU().")
    made = m.BinaryIoU(metric.target_class_ids, name=metric.name)
    return _binary_iou(made, head)


def _hinge(metric: Any, head: Head) -> keras.metrics.Metric:
    if not head.logits:
        refuse(
            metric,
            "it takes scores below and above 0, and the head gives probabilities. Build it with "
            "`activation=None`.",
        )
    return fed(metric, Feed(classes=head.width))


def _of_probabilities(metric: Any, head: Head) -> keras.metrics.Metric:
    return fed(metric, Feed(outputs="sigmoid" if head.logits else None, classes=head.width))


def _of_several_classes(metric: Any, head: Head) -> keras.metrics.Metric:
    refuse(
        metric,
        "it is for one of several classes, and here each output is yes or no. Give 'accuracy', "
        "'auc', 'precision', 'recall' or 'f1_score'.",
    )


_ROWS: dict[type, Row] = {
    **dict.fromkeys((m.Accuracy, m.BinaryAccuracy), _accuracy),
    **dict.fromkeys((m.CategoricalAccuracy, m.SparseCategoricalAccuracy), _class_accuracy),
    m.BinaryCrossentropy: _cross_entropy,
    **dict.fromkeys(
        (m.CategoricalCrossentropy, m.SparseCategoricalCrossentropy), _class_cross_entropy
    ),
    m.AUC: _auc,
    **dict.fromkeys(COUNTS, _confusion),
    **dict.fromkeys(AT_A_POINT, _at_a_point),
    **dict.fromkeys(F_SCORES, _f_score),
    m.BinaryIoU: _binary_iou,
    **dict.fromkeys(IOUS, _class_iou),
    **dict.fromkeys((m.Hinge, m.SquaredHinge), _hinge),
    **dict.fromkeys(ERRORS, _of_probabilities),
    **dict.fromkeys((*TOP_K, m.CategoricalHinge, m.KLDivergence), _of_several_classes),
}
