"""Averages of weights: between start and end of a run, or over several runs."""

from collections.abc import Sequence
from typing import Any

import keras

from finetunekit.averaging.weight_evaluation import (
    AverageReport,
    AverageRow,
    Candidate,
    between,
    mean,
    positions_of,
    trained_norms,
    values_of,
)
from finetunekit.foundation import arguments
from finetunekit.foundation.messages import listed, obeys_verbose
from finetunekit.models import weight_pairs

_ALPHAS = tuple(number / 10 for number in range(11))


@obeys_verbose
def interpolate(
    start: keras.Model,
    tuned: keras.Model,
    alpha: float | str = "validation",
    *,
    validation_data: Any = None,
    x: Any = None,
    batch_size: int = 32,
    verbose: Any = "auto",
) -> tuple[keras.Model, AverageReport]:
    """Returns a new model with weights between those before and after fine-tuning.

    `(1 - alpha) * start + alpha * tuned`: often better than both, on other data than those of the
    training above all. Neither model is changed.

    Args:
        start: The model before fine-tuning, such as a copy after its head was trained; or its
            backbone alone: the head is the tuned one then.
        tuned: The model after.
        alpha: A number from 0 (start) to 1 (tuned), or `"validation"`: the best of 0, 0.1, ... 1.
        validation_data: `(x, y)` or a dataset to choose on, by the metric of the task; of equal
            ones the one with the least loss.
        x: Training inputs, or a dataset; needed only if BatchNormalization has trained, whose
            statistics are estimated anew on them.
        batch_size: Samples a step, for arrays.
        verbose: 0 to say nothing.

    Returns:
        The new model, compiled like the tuned one, and an `AverageReport`.

    Raises:
        ValueError: If the models are not of the same layers, `alpha` is out of range, or data are
            missing.
        TypeError: If an argument is of the wrong type.

    Example:
        ```python
        import finetunekit as ftk

        model = ftk.add_head(ftk.load_backbone("pretrained_model.h5"), "binary")
        ftk.freeze_layers(model, "bn.*")
        ftk.fit(ftk.compile_for_task(model), x_train, y_train, epochs=2, verbose=0)
        start = ftk.load_backbone("pretrained_model.h5")
        between, report = ftk.interpolate(start, model, validation_data=(x_test, y_test))
        print(report)
        ```

    Source: Wortsman et al., "Robust fine-tuning of zero-shot models", arXiv:2109.01903 (WiSE-FT).
    """
    alphas = _alphas(alpha)
    _check_model(tuned, "tuned")
    pairs = weight_pairs.weights(tuned, start, "start")
    ends = values_of([v for _, v in pairs]), values_of([v for v, _ in pairs])
    positions = positions_of(tuned, [v for v, _ in pairs])
    candidate = Candidate(tuned, validation_data, x, batch_size, needs_data=len(alphas) > 1)
    candidate.norms = trained_norms(tuned, pairs, positions)
    candidate.check_norms()
    tried = []
    for number in alphas:
        candidate.assign(positions, between(ends, number), estimate=0 < number < 1)
        tried.append((f"alpha {number:g}", *candidate.evaluate()))
    best = max(range(len(tried)), key=lambda i: candidate.worth(tried[i][1:]))
    if len(alphas) > 1:
        number = alphas[best]
        candidate.assign(positions, between(ends, number), estimate=0 < number < 1)
    rows = _rows(tried, {best}) if candidate.measures else ()
    return candidate.result(f"alpha {alphas[best]:g} between start and tuned", rows)


@obeys_verbose
def greedy_soup(
    models: Sequence[keras.Model],
    *,
    validation_data: Any,
    x: Any = None,
    batch_size: int = 32,
    verbose: Any = "auto",
) -> tuple[keras.Model, AverageReport]:
    """Returns a new model with the mean weights of several runs, as far as the mean gains by them.

    The best model first, then each that does not make the mean worse on the validation data, in
    the order of their worth. It predicts at the cost of one model. None of the models is changed.

    Args:
        models: At least two compiled models of the same layers, tuned from one start, head
            included: heads drawn apart have no mean.
        validation_data: `(x, y)` or a dataset to choose on, by the metric of the task.
        x: As for `interpolate`.
        batch_size: Samples a step, for arrays.
        verbose: 0 to say nothing.

    Returns:
        The new model, compiled like the best one, and an `AverageReport`.

    Raises:
        ValueError: If the models are not of the same layers, or data are missing.
        TypeError: If an argument is of the wrong type.

    Example:
        ```python
        import keras
        import finetunekit as ftk

        runs = []
        for rate in (1e-3, 3e-3):
            keras.utils.set_random_seed(0)  # So that the heads start from the same numbers.
            model = ftk.add_head(ftk.load_backbone("pretrained_model.h5"), "binary")
            ftk.freeze_layers(model, "bn.*")
            ftk.compile_for_task(model, learning_rate=rate)
            ftk.fit(model, x_train, y_train, verbose=0)
            runs.append(model)
        soup, report = ftk.greedy_soup(runs, validation_data=(x_test, y_test))
        print(report)
        ```

    Source: Wortsman et al., "Model soups", arXiv:2203.05482 (greedy soup).
    """
    models = _read_models(models)
    first = models[0]
    pairs = [weight_pairs.weights(first, other, "models") for other in models]
    positions = positions_of(first, [v for v, _ in pairs[0]])
    ingredients = [values_of([v for _, v in rows]) for rows in pairs]
    candidate = Candidate(first, validation_data, x, batch_size, needs_data=True)
    # What one run has trained differs between the runs; so any two tell.
    found = [trained_norms(first, rows, positions) for rows in pairs[1:]]
    candidate.norms = sorted({number for numbers_ in found for number in numbers_})
    candidate.check_norms()
    alone = []
    for number, values in enumerate(ingredients):
        candidate.assign(positions, values, estimate=False)
        alone.append((f"model {number}", *candidate.evaluate()))
    order = sorted(range(len(models)), key=lambda i: candidate.worth(alone[i][1:]), reverse=True)
    kept = [order[0]]
    best = alone[order[0]][1:]
    for number in order[1:]:
        candidate.assign(positions, mean([ingredients[i] for i in (*kept, number)]))
        found_now = candidate.evaluate()
        if candidate.worth(found_now)[0] >= candidate.worth(best)[0]:
            kept, best = [*kept, number], found_now
    candidate.assign(positions, mean([ingredients[i] for i in kept]), estimate=len(kept) > 1)
    rows = (*_rows(alone, set(kept)), AverageRow("mean", *best, kept=True))
    names = listed([f"model {number}" for number in sorted(kept)])
    return candidate.result(f"mean of {names}", rows)


def _rows(tried: list[Any], kept: set[int]) -> tuple[AverageRow, ...]:
    return tuple(
        AverageRow(name, score, loss, kept=number in kept)
        for number, (name, score, loss) in enumerate(tried)
    )


def _alphas(alpha: Any) -> tuple[float, ...]:
    if isinstance(alpha, str) and alpha == "validation":
        return _ALPHAS
    what = "0 for the start, 1 for the tuned weights; or 'validation'"
    return (arguments.check_number(alpha, "alpha", arguments.ANY_SHARE, what),)


def _check_model(model: Any, name: str) -> None:
    if not isinstance(model, keras.Model) or not model.built:
        raise TypeError(f"`{name}` must be a built Keras model. Received: {name}={model!r}")


def _read_models(models: Any) -> list[keras.Model]:
    found = list(models) if isinstance(models, (list, tuple)) else []
    if len(found) < 2 or not all(isinstance(model, keras.Model) for model in found):
        raise TypeError(
            f"`models` must be a list of at least two Keras models. Received: models={models!r}"
        )
    for model in found:
        _check_model(model, "models")
    return found
