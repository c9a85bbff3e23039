"""Backbones ranked on one's own data: one pass of features each, scored."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from finetunekit.backbones.loading import load_backbone
from finetunekit.caching.features import cache_features
from finetunekit.choosing.scores import linear_probe, logme
from finetunekit.foundation import html
from finetunekit.foundation.messages import listed, obeys_verbose, plural, say
from finetunekit.models import classifier, data_formats, inputs, metadata
from finetunekit.tasks.attach import pick_output
from finetunekit.tasks.pooling import pool_features
from finetunekit.text import attach, lengths

_REGRESSION = ("regression",)
_TASKS = ("auto", "classification", *_REGRESSION)
_FEW = 10


@dataclass(frozen=True, kw_only=True)
class RankedBackbone:
    """One candidate.

    Args:
        name: Its name or source.
        score: What a linear probe reaches on held-out samples: accuracy, or R2.
        error: The standard error of the score.
        logme: The logarithm of the maximum evidence, per sample.
        parameters: The number of parameters.
        seconds: Seconds to compute the features of 1,000 samples.
        problem: Why it could not be evaluated; the scores are then NaN.
    """

    name: str
    score: float = float("nan")
    error: float = float("nan")
    logme: float = float("nan")
    parameters: int = 0
    seconds: float = float("nan")
    problem: str = ""


class Ranking(tuple[RankedBackbone, ...]):
    """Candidates, the best first; prints as a table."""

    __slots__ = ()

    def __str__(self) -> str:
        """A line for each."""
        head = f"{'backbone':<32}{'score':>16}{'LogME':>9}{'parameters':>14}{'s / 1,000':>11}"
        rows = [
            f"{row.name:<32}{row.problem}"
            if row.problem
            else f"{row.name:<32}{row.score:>8.3f} ± {row.error:.3f}{row.logme:>9.3f}"
            f"{row.parameters:>14,}{row.seconds:>11.2f}"
            for row in self
        ]
        return "\n".join([head, *rows])

    def __repr__(self) -> str:
        return f"<Ranking: {self._headline()}>"

    def _repr_html_(self) -> str:
        head = ("backbone", "score", "LogME", "parameters", "s / 1,000", "")
        rows = [
            (row.name, None, None, None, None, row.problem)
            if row.problem
            else (
                row.name,
                f"{row.score:.3f} ± {row.error:.3f}",
                f"{row.logme:.3f}",
                f"{row.parameters:,}",
                f"{row.seconds:.2f}",
                None,
            )
            for row in self
        ]
        return html.view(self._headline(), html.table(head, rows))

    def _headline(self) -> str:
        words = plural(len(self), "backbone")
        if not self or self[0].problem:
            return words
        return f"{words}, the best is {self[0].name!r} with {self[0].score:.3f}"


@obeys_verbose
def rank_backbones(
    candidates: Sequence[Any] | Mapping[str, Any],
    x: Any,
    y: Any,
    *,
    task: str = "auto",
    batch_size: int = 32,
    seed: int = 0,
    verbose: Any = "auto",
) -> Ranking:
    """Ranks backbones by how well a linear model of their features predicts the labels.

    The features are computed once with each frozen backbone, and nothing is trained by gradients;
    given models are not changed. LogME is a second score, which needs no held-out samples and may
    rank differently.

    Args:
        candidates: Names or files for `load_backbone`, or models; or name -> one of these.
        x: Inputs as for `fit`: pixels of 0 to 255 for names, texts for text models.
        y: Integer labels `(samples,)`, or targets for regression.
        task: `"classification"` or `"regression"`; `"auto"` takes whole numbers for classes.
        batch_size: Samples a step.
        seed: Seed of the folds of the probe.
        verbose: 0 for silence.

    Returns:
        A `Ranking` of `RankedBackbone`, the best first, those that failed last.

    Raises:
        ValueError: If the data do not suit, or no candidate could be evaluated.
        TypeError: If the candidates are not a list or dict.

    Example:
        ```python
        import finetunekit as ftk

        found = ftk.rank_backbones(
            {"trained": "pretrained_model.h5", "random": "pretrained_model.h5"}, x_train, y_train
        )
        print(found)
        ```
    """
    named = _named(candidates)
    labels, regression = _labels(y, task)
    rows = []
    for name, source in named.items():
        try:
            rows.append(_try(name, source, x, labels, regression, batch_size, seed, verbose))
        except (ValueError, TypeError, OSError, ImportError) as error:
            rows.append(RankedBackbone(name=name, problem=str(error).splitlines()[0][:200]))
    if all(row.problem for row in rows):
        raise ValueError(
            "None of the `candidates` could be evaluated: "
            f"{'; '.join(f'{row.name}: {row.problem}' for row in rows)} "
            f"Received: candidates={list(named)}"
        )
    return Ranking(sorted(rows, key=lambda r: (bool(r.problem), -r.score if not r.problem else 0)))


def _named(candidates: Any) -> dict[str, Any]:
    if isinstance(candidates, Mapping):
        found = dict(candidates)
    elif isinstance(candidates, (list, tuple)):
        names = [c.name if isinstance(c, keras.Model) else str(c) for c in candidates]
        found = dict(zip(names, candidates, strict=True))
        if len(found) != len(names):
            raise ValueError(
                "`candidates` must have distinct names; give a dict of name -> candidate. "
                f"Received: candidates with the names {listed(names)}"
            )
    else:
        raise TypeError(
            "`candidates` must be a list of names, files or models, or a dict of name -> one of "
            f"these. Received: candidates={candidates!r}"
        )
    if not found:
        raise ValueError(f"`candidates` is empty. Received: candidates={candidates!r}")
    return found


def _labels(y: Any, task: Any) -> tuple[np.ndarray, bool]:
    if task not in _TASKS:
        raise ValueError(f"`task` must be one of {_TASKS}. Received: task={task!r}")
    labels = inputs.to_numpy(y, "y")
    inputs.check_finite(labels, "y")
    whole = labels.dtype.kind in "biu" or bool((labels == np.round(labels)).all())
    regression = task in _REGRESSION or (task == "auto" and not whole)
    if not regression and labels.ndim > 1 and labels.shape[-1] > 1:
        labels = labels.argmax(axis=-1)
    if not regression:
        labels = labels.reshape(len(labels)).astype("int64")
    if len(labels) < _FEW or (not regression and len(np.unique(labels)) < 2):
        raise ValueError(
            f"`y` must hold at least {_FEW} samples, and at least two classes for classification. "
            f"Received: y of {len(labels)} samples"
        )
    return labels, regression


def _try(
    name: str,
    source: Any,
    x: Any,
    labels: np.ndarray,
    regression: bool,
    batch_size: int,
    seed: int,
    verbose: Any,
) -> RankedBackbone:
    model = source if isinstance(source, keras.Model) else _load(source, x)
    start = time.perf_counter()
    features = _features(model, x, batch_size)
    seconds = (time.perf_counter() - start) / len(labels) * 1000
    if len(features) != len(labels):
        raise ValueError(
            "`x` and `y` must hold the same number of samples. Received: x with "
            f"{len(features)}, y with {len(labels)} samples"
        )
    probe = linear_probe(features, labels, regression=regression, seed=seed)
    say(f"{name}: {probe.score:.3f} ± {probe.error:.3f}", verbose)
    return RankedBackbone(
        name=name,
        score=probe.score,
        error=probe.error,
        logme=logme(features, labels, regression=regression),
        parameters=model.count_params(),
        seconds=seconds,
    )


def _load(source: Any, x: Any) -> keras.Model:
    shape = np.shape(x)[1:] if attach.as_texts(x) is None and not isinstance(x, dict) else ()
    try:
        found = load_backbone(source, input_shape=shape if len(shape) == 3 else None)
    except ValueError as error:
        if "input_shape" not in str(error):
            raise
        found = load_backbone(source)  # It has a size of its own.
    return classifier.without_probabilities(found)


def _features(model: keras.Model, x: Any, batch_size: int) -> np.ndarray:
    """A vector for each sample."""
    given = inputs.tokenized(x, model)
    outputs = pick_output(model.output, None, model)
    layout = pick_output(data_formats.output_layouts(model), None, model)
    pooled = pool_features(outputs, "auto", model, model.input, layout)
    vectors = model if pooled is outputs and not isinstance(model.output, dict) else None
    if vectors is None:
        vectors = keras.Model(model.input, pooled)
    metadata.remember(vectors, tokenizer=metadata.of(model).tokenizer)
    order = _by_length(vectors, given)
    if order is not None:
        given = keras.tree.map_structure(lambda array: array[order], given)
    found = np.asarray(cache_features(vectors, given, batch_size=batch_size, verbose=0).features)
    if order is not None:
        found = found[np.argsort(order)]
    return found.reshape(len(found), -1)


def _by_length(model: keras.Model, x: Any) -> np.ndarray | None:
    """The order in which batches of texts need the least padding; None if there are no lengths."""
    found = lengths.of(model, x)
    return None if found is None else np.argsort(found, kind="stable")
