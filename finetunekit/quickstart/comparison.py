"""The comparison of four methods on one test set, with and without a pretrained model."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np

import finetunekit as ftk
from finetunekit.data import image_files
from finetunekit.foundation.messages import plural
from finetunekit.quickstart import baselines
from finetunekit.quickstart.examples import Examples
from finetunekit.quickstart.progress import Progress
from finetunekit.quickstart.reopen import BATCH_SIZE as PREDICTED_AT_ONCE
from finetunekit.quickstart.table import Row

EPOCHS = 12
"""Epochs of each phase, fixed beforehand: 20 images per class are too few to hold some out."""

UNFROZEN = r"block_1[3-6]_.*|Conv_1.*"
"""The layers from block_13 up; their BatchNormalization stays frozen."""

_DROPOUT, _BATCH_SIZE = 0.3, 16


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The results of four methods, and the model of the last one.

    Args:
        model: The fine-tuned model.
        rows: One for each method.
        curves: For each of the two phases, logged value -> one number an epoch.
        probabilities: Of the fine-tuned model for the test images, `(n, classes)`.

    Example:
        ```python
        from finetunekit.quickstart.comparison import compare
        from finetunekit.quickstart.surfaces import load_surfaces

        comparison = compare(load_surfaces(train=2, test=2), epochs=1)
        assert comparison.probabilities.shape == (20, 10)
        ```
    """

    model: keras.Model
    rows: tuple[Row, ...]
    curves: tuple[dict[str, list[float]], ...]
    probabilities: np.ndarray


def compare(
    examples: Examples,
    *,
    seed: int = 0,
    epochs: int = EPOCHS,
    tell: Callable[[str], None] = print,
) -> Comparison:
    """Trains all four methods on the same images and tests them on the same others.

    Args:
        examples: What to learn from and to test on.
        seed: Seed of the new head, the order of the images, Dropout and augmentation.
        epochs: Epochs of each of the two phases.
        tell: Called with each line of progress.

    Returns:
        The rows and the fine-tuned model.

    Example:
        ```python
        from finetunekit.quickstart.comparison import compare
        from finetunekit.quickstart.surfaces import load_surfaces

        comparison = compare(load_surfaces(train=2, test=2), epochs=1)
        print(comparison.rows[-1].accuracy)
        ```
    """
    keras.utils.set_random_seed(seed)
    rows = _baselines(examples, tell)

    tell("\nA new head on the frozen backbone:")
    backbone = ftk.load_backbone("builtin:mobilenet_v2", input_shape=examples.image_shape)
    ftk.freeze_layers(backbone)
    model = ftk.add_head(
        backbone,
        "multiclass",
        class_names=examples.class_names,
        dropout=_DROPOUT,
        augmentation=keras.layers.RandomFlip(examples.flip, seed=seed),
    )
    if examples.of_files:
        image_files.remember(model, examples.image_bits)
    head_row, head_curve, _ = _phase("frozen backbone + head", model, examples, epochs, tell)

    tell("\nThe upper blocks of the backbone too:")
    ftk.unfreeze_layers(model, UNFROZEN)
    tuned_row, tuned_curve, predictions = _phase(
        "fine-tuned from block_13 up", model, examples, epochs, tell
    )
    return Comparison(
        model=model,
        rows=(*rows, head_row, tuned_row),
        curves=(head_curve, tuned_curve),
        probabilities=_table(predictions, examples.class_names),
    )


def _baselines(examples: Examples, tell: Callable[[str], None]) -> tuple[Row, Row]:
    tell("\nWithout a pretrained model: the majority class, and the raw pixels ...")
    start = time.perf_counter()
    predicted, parameters = baselines.raw_pixels(examples)
    seconds = time.perf_counter() - start
    majority = (baselines.majority_class(examples) == examples.y_test).mean()
    pixels = (predicted == examples.y_test).mean()
    return (
        Row(name="majority class", accuracy=float(majority), seconds=0.0, trainable=0),
        Row(
            name="logistic regression on raw pixels",
            accuracy=float(pixels),
            seconds=seconds,
            trainable=parameters,
        ),
    )


def _phase(
    name: str, model: keras.Model, examples: Examples, epochs: int, tell: Callable[[str], None]
) -> tuple[Row, dict[str, list[float]], list[ftk.Prediction]]:
    """Compiles for what trains now, trains, and tests."""
    ftk.compile_for_task(model)
    guard = ftk.callbacks.FrozenGuard()
    start = time.perf_counter()
    history = ftk.fit(
        model,
        examples.x_train,
        examples.y_train,
        batch_size=_BATCH_SIZE,
        epochs=epochs,
        callbacks=[Progress(tell), guard],
        verbose=0,
    )
    seconds = time.perf_counter() - start
    tell(f"  {plural(guard.guarded, 'frozen variable')} are bit-equal after training")
    predictions = ftk.predict(model, examples.x_test, batch_size=PREDICTED_AT_ONCE)
    truth = [examples.class_names[number] for number in examples.y_test]
    hits = [prediction.label == name for prediction, name in zip(predictions, truth, strict=True)]
    row = Row(
        name=name,
        accuracy=float(np.mean(hits)),
        seconds=seconds,
        trainable=ftk.trainable_summary(model).trainable,
    )
    return row, history.history, predictions


def _table(predictions: Sequence[ftk.Prediction], names: tuple[str, ...]) -> np.ndarray:
    """Predictions as one row of probabilities each, in the order of the classes."""
    return np.array([[p.probabilities[name] for name in names] for p in predictions])
