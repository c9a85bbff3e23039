"""Is label smoothing that of Keras' rows, for integer labels too, and does a file keep it?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import finetunekit as ftk
from models import images, labels, tiny_backbone


def smoothed(task: str = "multiclass", activation: str | None = "softmax") -> keras.Model:
    keras.utils.set_random_seed(0)
    classes = 3 if task == "multiclass" else 1
    head = keras.Sequential(
        [keras.Input((8,)), keras.layers.Dense(classes, activation=activation)], name="head"
    )
    backbone = tiny_backbone()
    model = keras.Model(backbone.input, head(backbone.output))
    return ftk.compile_for_task(
        model,
        ftk.Task(name=task, num_classes=classes),
        label_smoothing=0.1,
        optimizer=keras.optimizers.SGD(0.01),
    )


@pytest.mark.parametrize(
    "activation",
    [
        pytest.param("softmax", id="probabilities"),
        pytest.param(None, id="logits", marks=pytest.mark.slow),
    ],
)
def test_class_numbers_train_as_rows_do(activation: str | None) -> None:
    """Reference: Keras' CategoricalCrossentropy on one-hot rows."""
    ours, plain = smoothed(activation=activation), smoothed(activation=activation)
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=0.1, from_logits=activation is None)
    plain.compile(keras.optimizers.SGD(0.01), loss, metrics=[])
    y = labels(classes=3)
    found = ftk.fit(ours, images(), y, epochs=2, shuffle=False, verbose=0)
    history = plain.fit(images(), np.eye(3)[y], epochs=2, shuffle=False, verbose=0)
    np.testing.assert_allclose(found.history["loss"], history.history["loss"], rtol=1e-5)
    for one, other in zip(ours.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
    assert ours.evaluate(images(), y, verbose=0)[0] == pytest.approx(
        plain.evaluate(images(), np.eye(3)[y], verbose=0), rel=1e-5
    )


def test_labels_of_the_other_form_are_smoothed_too() -> None:
    rows, numbers = smoothed(), smoothed()
    y = labels(classes=3)
    found = [
        ftk.fit(model, images(), given, epochs=2, shuffle=False, verbose=0).history["loss"]
        for model, given in ((rows, np.eye(3)[y]), (numbers, y))
    ]
    np.testing.assert_allclose(*found, rtol=1e-5)


def test_yes_or_no_is_keras_own() -> None:
    model = ftk.compile_for_task(ftk.add_head(tiny_backbone(), "binary"), label_smoothing=0.2)
    assert model.loss.get_config()["label_smoothing"] == 0.2


def test_a_file_keeps_it_and_plain_keras_opens_it(tmp_path: Path) -> None:
    model, y = smoothed(), labels(classes=3)
    path = ftk.save(model, tmp_path / "model.keras")
    expected = model.evaluate(images(), y, verbose=0)[0]
    assert ftk.load(path).evaluate(images(), y, verbose=0)[0] == pytest.approx(expected, rel=1e-6)
    assert keras.saving.load_model(path).evaluate(images(), y, verbose=0)[0] != expected


@pytest.mark.slow
def test_a_fresh_process_without_the_library_opens_it(tmp_path: Path) -> None:
    path = ftk.save(smoothed(), tmp_path / "model.keras")
    program = (
        "import sys; sys.modules['finetunekit'] = None; import keras; "
        "print(type(keras.saving.load_model(sys.argv[1]).loss).__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[-1] == "SparseCategoricalCrossentropy"
