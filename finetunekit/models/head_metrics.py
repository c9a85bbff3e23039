"""Metrics that are fed labels and outputs in the form that they are made for.

A head gives logits or probabilities, and labels are integers, one-hot or probabilities; a metric of
Keras is made for one of these. Where labels of the plain form stay as they are, the metric is fed
in place: a file of it is stock Keras. Else it is put into a `HeadMetric`.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras

from finetunekit.foundation import keras_internals, patches

ops = keras.ops


@dataclass(frozen=True, kw_only=True)
class Feed:
    """What a metric is fed instead of labels and outputs as they come.

    Attributes:
        labels: `"outputs"`, in the shape of the outputs; `"yes or no"`, the same with 1 from above
            0.5 on, else 0; `"places"`, integers in the shape of the outputs without the classes;
            `"rows"`, integers as one-hot labels; `"one class"`, the same, and of probabilities
            only the largest as 1.
        outputs: `"sigmoid"` or `"softmax"`, which make probabilities of logits; None for as is.
        classes: The number of outputs.
        void: The integer label of what does not count.
        flat: Whether the places of an image or text count as samples.
        masks: Whether padded places, which the outputs have a mask for, weigh nothing; Keras heeds
            the mask in metrics that are means only.
    """

    labels: str = "outputs"
    outputs: str | None = None
    classes: int = 1
    void: int | None = None
    flat: bool = False
    masks: bool = True

    @property
    def is_of_labels(self) -> bool:
        """Whether labels in the form that a stock metric takes stay as they are, and all else."""
        return self.outputs is None and self.void is None and not self.flat

    def __call__(self, y_true: Any, y_pred: Any, weights: Any = None) -> tuple[Any, Any, Any]:
        """Labels, outputs and weights for the metric."""
        y_true, outputs = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        if len(getattr(weights, "shape", ())) == len(outputs.shape) and weights.shape[-1] == 1:
            weights = ops.squeeze(weights, -1)  # One a place, which some metrics take only so.
        mask = keras_internals.mask_of(y_pred) if self.masks else None
        if mask is not None and len(mask.shape) == len(outputs.shape) - 1:
            weights = _times(ops.cast(mask, outputs.dtype), weights)
        of_classes = self.labels in ("places", "rows", "one class")
        if of_classes:
            y_true, weights = self._of_classes(y_true, outputs, weights)
        else:
            y_true = self._of_outputs(y_true, outputs)
        if self.outputs is not None:
            outputs = getattr(ops, self.outputs)(outputs)
        if self.flat:
            y_true, outputs, weights = self._flat(y_true, outputs, weights)
        return y_true, outputs, weights

    def _of_outputs(self, y_true: Any, outputs: Any) -> Any:
        if len(y_true.shape) == len(outputs.shape) - 1:
            y_true = ops.expand_dims(y_true, -1)
        if self.labels == "yes or no":
            return ops.cast(ops.cast(y_true, outputs.dtype) > 0.5, outputs.dtype)
        return y_true

    def _of_classes(self, y_true: Any, outputs: Any, weights: Any) -> tuple[Any, Any]:
        in_rows = len(y_true.shape) == len(outputs.shape)
        if in_rows and y_true.shape[-1] == 1 and self.classes > 1:
            y_true, in_rows = ops.squeeze(y_true, -1), False
        if in_rows:
            if self.labels == "one class":
                y_true = ops.one_hot(ops.argmax(y_true, -1), self.classes, dtype=outputs.dtype)
            return y_true, weights
        if self.void is not None:
            counts = ops.not_equal(y_true, ops.cast(self.void, y_true.dtype))
            y_true = ops.where(counts, y_true, ops.zeros_like(y_true))
            weights = _times(ops.cast(counts, outputs.dtype), weights)
        if self.labels != "places":
            y_true = ops.one_hot(ops.cast(y_true, "int32"), self.classes, dtype=outputs.dtype)
        return y_true, weights

    def _flat(self, y_true: Any, outputs: Any, weights: Any) -> tuple[Any, Any, Any]:
        if weights is not None:
            places = ops.ones_like(outputs[..., 0])
            weights = ops.reshape(_times(places, weights), (-1,))
        rows = (-1, self.classes)
        return ops.reshape(y_true, rows), ops.reshape(outputs, rows), weights


def _times(places: Any, weights: Any) -> Any:
    """Weights of samples, or of places, as one for each place, times what each place has."""
    if weights is None:
        return places
    weights = ops.cast(weights, places.dtype)
    while len(weights.shape) < len(places.shape):
        weights = ops.expand_dims(weights, -1)
    return places * weights


@keras.saving.register_keras_serializable("finetunekit")
class HeadMetric(keras.metrics.Metric):
    """A metric of Keras on labels and outputs in another form than the head has them.

    Args:
        metric: The metric.
        feed: What it is fed, as a `Feed` or as its attributes in a dict.
        name: The name in the logs; that of the metric unless given.
        dtype: As for any metric.
    """

    def __init__(self, metric: Any, feed: Any, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(name=name or metric.name, dtype=dtype)
        self.metric = metric
        self.feed = feed if isinstance(feed, Feed) else Feed(**feed)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch."""
        y_true, y_pred, sample_weight = self.feed(y_true, y_pred, sample_weight)
        self.metric.update_state(y_true, y_pred, sample_weight=sample_weight)

    def result(self) -> Any:
        """What the metric gives."""
        return self.metric.result()

    def reset_state(self) -> None:
        """Begins anew."""
        self.metric.reset_state()

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        inner = keras.saving.serialize_keras_object(self.metric)
        return {"metric": inner, "feed": dataclasses.asdict(self.feed), **super().get_config()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "HeadMetric":
        """The metric of a config."""
        inner = keras.saving.deserialize_keras_object(config["metric"])
        return cls(**config | {"metric": inner})


_STOCK_NAME = "finetunekit>HeadMetric"


def fed(metric: keras.metrics.Metric, feed: Feed, *, whole: bool = False) -> keras.metrics.Metric:
    """The metric, fed in place if a file of it may be stock Keras; else in a new `HeadMetric`.

    Args:
        metric: The metric.
        feed: What it is fed.
        whole: Whether labels do not come in the form that the metric alone takes.
    """
    if whole or not feed.is_of_labels:
        return HeadMetric(metric, feed)
    for patch in patches.patches_of(metric, "update_state"):
        if isinstance(patch.tag, Feed):
            patch.undo()

    def over(own: Any) -> Any:
        def update_state(y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
            y_true, y_pred, sample_weight = feed(y_true, y_pred, sample_weight)
            return own(y_true, y_pred, sample_weight=sample_weight)

        return update_state

    patches.patch(metric, "update_state", over, tag=feed)
    return metric


def feed_of(metric: Any) -> Feed | None:
    """What a metric is fed in place; None for one that is not."""
    if not isinstance(metric, keras.metrics.Metric):
        return None
    tags = [patch.tag for patch in patches.patches_of(metric, "update_state")]
    return next((tag for tag in tags if isinstance(tag, Feed)), None)


def fresh(metric: Any) -> Any:
    """A metric object of the same settings, since two models must not add to one state."""
    if not isinstance(metric, keras.metrics.Metric):
        return metric
    made, feed = type(metric).from_config(metric.get_config()), feed_of(metric)
    return made if feed is None else fed(made, feed)


@contextlib.contextmanager
def left_out(model: keras.Model) -> Iterator[list[str]]:
    """Has Keras save a model without its `HeadMetric`s, so that the file opens with Keras alone.

    Yields:
        Their names.
    """

    def without(own: Any) -> Any:
        def get_compile_config() -> Any:
            config = own()
            for kind in KINDS if config else ():
                if isinstance(config.get(kind), list):
                    config[kind] = [row for row in config[kind] if not _is_ours(row)]
            return config

        return get_compile_config

    names = [metric.name for metric in _all(model) if isinstance(metric, HeadMetric)]
    if not names:
        yield names
        return
    with patches.patch(model, "get_compile_config", without):
        yield names


KINDS = ("metrics", "weighted_metrics")


def _is_ours(row: Any) -> bool:
    return isinstance(row, dict) and row.get("registered_name") == _STOCK_NAME


def given(model: keras.Model, kind: str) -> list[Any]:
    """The metrics that a model of one output is compiled with."""
    return keras.tree.flatten(keras_internals.compile_arguments(model)[kind] or [])


def _all(model: keras.Model) -> list[Any]:
    return [metric for kind in KINDS for metric in given(model, kind)] if model.compiled else []


def feed_functions(model: keras.Model, feeds: dict[str, dict[int, Feed]]) -> None:
    """Feeds metrics that were given as functions, in place: Keras' file knows them as such.

    Args:
        model: A compiled model of one output.
        feeds: Kind of metrics -> place in the list -> what that one is fed.
    """
    if not any(feeds.values()):
        return
    output = model.outputs[0]
    keras_internals.build_metrics(model, keras.KerasTensor(output.shape, output.dtype), output)
    for kind, rows in feeds.items():
        made = keras_internals.metrics_made(model, kind)
        for place, feed in rows.items():
            fed(made[place], feed)


def function_feeds(model: keras.Model) -> dict[str, dict[int, Feed]]:
    """What the metrics that were given as functions are fed."""
    found: dict[str, dict[int, Feed]] = {}
    for kind in KINDS:
        # None are made before the first step, if none is a function that is fed.
        pairs = zip(given(model, kind), keras_internals.metrics_made(model, kind), strict=False)
        feeds = {n: feed_of(made) for n, (one, made) in enumerate(pairs) if one is not made}
        found[kind] = {n: feed for n, feed in feeds.items() if feed is not None}
    return found


def to_rows(model: keras.Model) -> dict[str, list[Any]]:
    """How the metrics are fed, and those that a file of Keras lacks; empty if it lacks nothing."""
    functions = function_feeds(model)
    rows = {
        kind: [_row(one, functions[kind].get(n)) for n, one in enumerate(given(model, kind))]
        for kind in KINDS
    }
    return rows if any(row for kind in KINDS for row in rows[kind]) else {}


def _row(metric: Any, feed: Feed | None) -> Any:
    if isinstance(metric, HeadMetric):
        return {"whole": keras.saving.serialize_keras_object(metric)}
    feed = feed or feed_of(metric)
    return None if feed is None else {"feed": dataclasses.asdict(feed)}


def from_rows(model: keras.Model, rows: dict[str, list[Any]]) -> None:
    """Feeds the metrics of a loaded model as before, in place, and puts back those it lacks."""
    made: dict[str, list[Any]] = {}
    functions: dict[str, dict[int, Feed]] = {kind: {} for kind in KINDS}
    for kind in KINDS:
        # A file that Keras itself has saved again has them all.
        there = iter([one for one in given(model, kind) if not isinstance(one, HeadMetric)])
        made[kind] = [_put_back(row, there) for row in rows.get(kind, [])]
        for place, (row, metric) in enumerate(zip(rows.get(kind, []), made[kind], strict=True)):
            if row is not None and not isinstance(metric, keras.metrics.Metric):
                functions[kind][place] = Feed(**row["feed"])
    if any(isinstance(metric, HeadMetric) for kind in KINDS for metric in made[kind]):
        changed = {**made, "optimizer": model.optimizer}
        model.compile(**keras_internals.compile_arguments(model) | changed)
    feed_functions(model, functions)


def _put_back(row: Any, there: Iterator[Any]) -> Any:
    if row is not None and "whole" in row:
        return keras.saving.deserialize_keras_object(row["whole"])
    metric = next(there, None)
    if metric is None:
        raise ValueError("it has fewer metrics than it was saved with")
    is_object = isinstance(metric, keras.metrics.Metric)
    return fed(metric, Feed(**row["feed"])) if row is not None and is_object else metric
