"""Metrics as a user gives them, by name, object or function, fitted to the head of a model."""

import dataclasses
import inspect
from typing import Any

import keras

from finetunekit.foundation import keras_internals
from finetunekit.foundation.messages import say
from finetunekit.models import head_metrics
from finetunekit.models.head_metrics import KINDS, HeadMetric, feed_of, fresh
from finetunekit.models.metadata import Task
from finetunekit.tasks.families import family_of
from finetunekit.tasks.family import UNKNOWN
from finetunekit.tasks.inference import loss_name, output_activation, void_label
from finetunekit.tasks.metric_settings import Head, rebuilt


def fit_metrics(
    metrics: Any,
    model: keras.Model,
    task: Task,
    loss: Any,
    *,
    weighted: bool = False,
    verbose: bool = True,
) -> Any:
    """Metrics that mean on the head of a model what their names say; changes no setting of others.

    Args:
        metrics: What `compile` takes for a model of one output.
        model: The model.
        task: Its task, with the form of the labels.
        loss: What it is compiled with.
        weighted: Whether these are `weighted_metrics`.
        verbose: Whether to say what was changed.

    Returns:
        A list of metric objects; what was given, for a head of another kind than the task's.

    Raises:
        ValueError: If a metric means nothing on such a head.
    """
    family, head = family_of(task), head_of(model, task, loss)
    if metrics is None or not family.fits_metrics:
        return metrics
    if head is None:
        found = output_activation(model)
        what = "cannot be read" if found == UNKNOWN else f"is {found!r}"
        say(f"metrics of {model.name!r} stay as they are: its output activation {what}", verbose)
        return metrics
    head = dataclasses.replace(head, weighted=weighted)
    before = [_as_object(one, head) for one in keras.tree.flatten(metrics)]
    fitted = [family.fit_metric(one, head) if _is_object(one) else one for one in before]
    changes = [_change(*pair) for pair in zip(before, fitted, strict=True) if _is_object(pair[0])]
    if any(changes) and verbose:
        say(f"metrics of {model.name!r} fitted to its head: {'; '.join(filter(None, changes))}")
    return fitted


def feed_functions(model: keras.Model, task: Task) -> None:
    """Has metrics that are functions see the head's shape, in place; `compile` comes before.

    Args:
        model: A compiled model.
        task: Its task, with the form of the labels.
    """
    family, head = family_of(task), head_of(model, task, None)
    if head is None or not family.fits_metrics:
        return
    wrapped = family.fit_metric(keras.metrics.MeanMetricWrapper(abs, name="any"), head)
    feed = feed_of(wrapped)
    if feed is not None:
        functions = {
            kind: {
                n: feed
                for n, one in enumerate(head_metrics.given(model, kind))
                if not _is_object(one)
            }
            for kind in KINDS
        }
        head_metrics.feed_functions(model, functions)


def misfits(model: keras.Model, task: Task) -> list[str]:
    """What the metrics that a model is compiled with count amiss, in words; nothing is changed."""
    arguments = keras_internals.compile_arguments(model)
    family, loss = family_of(task), arguments["loss"]
    task = family.task_for_loss(task, loss_name(loss))
    head = head_of(model, task, loss)
    if head is None or not family.fits_metrics:
        return []
    found = []
    for one in keras.tree.flatten([arguments[kind] or [] for kind in KINDS]):
        try:
            taken = _as_keras_takes(one, head)
            if not _is_object(taken) or not type(taken).__module__.startswith("keras."):
                continue  # A class of the user's own is made for what it is fed.
            before = fresh(taken)
            change = _change(before, family.fit_metric(fresh(before), head), ignored=_SPELLINGS)
        except ValueError as error:
            found.append(str(error).removeprefix("`metrics` do not fit the head: "))
        else:
            if change:
                found.append(f"the metric {change} is what would fit")
    return found


_SPELLINGS = ("dtype", "num_labels", "multi_label", "average", "axis", "ignore_class")


def _as_keras_takes(given: Any, head: Head) -> keras.metrics.Metric:
    """What Keras makes of a metric; of the word accuracy by the shapes of labels and outputs."""
    if not isinstance(given, str) or given.lower() not in ("accuracy", "acc"):
        return _as_object(given, head)
    if head.width == 1:
        return keras.metrics.BinaryAccuracy(name=given)
    fitted = family_of(head.task).fit_metric(keras.metrics.Accuracy(), head)
    integers = isinstance(fitted, keras.metrics.SparseCategoricalAccuracy)
    kind = (
        keras.metrics.SparseCategoricalAccuracy if integers else keras.metrics.CategoricalAccuracy
    )
    return kind(name=given)


def head_of(model: keras.Model, task: Task, loss: Any) -> Head | None:
    """The head of a model as its metrics meet it; None if it ends in what the task cannot mean."""
    if len(getattr(model, "outputs", None) or ()) != 1:
        return None
    wanted, found = family_of(task).activation, output_activation(model)
    if wanted is not None and found not in (wanted, None):
        return None
    logits = wanted is not None and found is None
    return Head(task=task, logits=logits, rank=len(model.output_shape), void=void_label(loss))


def _as_object(given: Any, head: Head) -> Any:
    while isinstance(given, HeadMetric):  # As it was fitted to another form of labels.
        given = given.metric
    if isinstance(given, str):
        return _by_name(given, head)
    if isinstance(given, type) and issubclass(given, keras.metrics.Metric):
        return given()
    if isinstance(given, dict):
        return keras.metrics.deserialize(given)
    if isinstance(given, keras.metrics.Metric) or not callable(given):
        return given
    return _of_function(given)


def _by_name(name: str, head: Head) -> keras.metrics.Metric:
    if name.lower() in ("accuracy", "acc"):
        return keras.metrics.Accuracy(name=name)
    try:
        metric = keras.metrics.get(name)
    except TypeError as error:  # Its class needs arguments.
        kind = next(
            kind
            for word, kind in vars(keras.metrics).items()
            if word.lower() == name.replace("_", "").lower()
        )
        lacking = _required(kind)
        if lacking != ["num_classes"]:
            raise ValueError(
                f"`metrics` by name leave no room for arguments, and {kind.__name__} needs "
                f"{' and '.join(lacking)}. Give the object: keras.metrics.{kind.__name__}"
                f"({', '.join(f'{word}=...' for word in lacking)}). Received: metrics with {name!r}"
            ) from error
        metric = kind(num_classes=max(head.width, 2))
    if isinstance(metric, keras.metrics.FBetaScore):
        metric = rebuilt(metric, average="macro")  # One number, which a callback can watch.
    metric.name = name
    return metric


def _required(kind: type) -> list[str]:
    parameters = list(inspect.signature(kind).parameters.values())
    return [one.name for one in parameters if one.default is one.empty]


def _is_object(metric: Any) -> bool:
    return isinstance(metric, keras.metrics.Metric)


def _of_function(function: Any) -> Any:
    """The metric of Keras that a function or loss object stands for; a user's own as it is."""
    name = getattr(function, "name", None) or getattr(function, "__name__", None)
    if isinstance(function, keras.losses.Loss):
        kind = getattr(keras.metrics, type(function).__name__, None)
        if kind is not None and type(function).__module__.startswith("keras."):
            known = inspect.signature(kind).parameters
            config = {k: v for k, v in function.get_config().items() if k in known}
            return kind(**config)
    if getattr(function, "__module__", "").startswith("keras.") and name:
        try:
            metric = keras.metrics.get(name)
        except (TypeError, ValueError):
            return function  # A function of Keras that no metric is made of stays one.
        metric.name = name
        return metric
    return function


def _change(
    given: keras.metrics.Metric, fitted: keras.metrics.Metric, ignored: tuple[str, ...] = ("dtype",)
) -> str:
    """What fitting has changed of a metric, in words; empty if nothing, or what is ignored."""
    words = []
    if isinstance(fitted, HeadMetric):
        feed, fitted = fitted.feed, fitted.metric
        words += [f"{feed.outputs} of logits"] if feed.outputs else []
        words += ["one-hot labels"] if feed.labels in ("rows", "one class") else []
        words += [f"without label {feed.void}"] if feed.void is not None else []
        words += ["all places as samples"] if feed.flat else []
    if type(given) not in (type(fitted), keras.metrics.Accuracy):
        words.append(type(fitted).__name__)
    if fitted is not given:  # Or a copy of it.
        before, after = given.get_config(), fitted.get_config()
        differ = [key for key in after if key in before and str(before[key]) != str(after[key])]
        words += [f"{key}={after[key]}" for key in differ if key not in ignored]
    return f"{given.name}: {', '.join(words)}" if words else ""
