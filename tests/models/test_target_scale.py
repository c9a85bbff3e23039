"""Is a loss in standard deviations that of standardized targets, and does a file keep it?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.models.target_scale import standardize
from models import small_backbone

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(48, 4)).astype("float32")
PLAIN = np.stack([X[:, 0] - X[:, 1], X[:, 2] * X[:, 3]], axis=1).astype("float32")
MEAN, STD = np.array([94_000.0, -3.0]), np.array([12_000.0, 0.01])
Y = PLAIN * STD + MEAN
TASK = ftk.Task(name="regression", num_classes=2, target_mean=tuple(MEAN), target_std=tuple(STD))


def chain() -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, "tanh")], name="chain")


def model_of(task: ftk.Task) -> keras.Model:
    model = ftk.add_head(chain(), task, hidden_units=[8])
    return ftk.compile_for_task(model, optimizer=keras.optimizers.SGD(0.05))


def test_it_is_the_loss_of_standardized_targets() -> None:
    found = standardize(keras.losses.MeanSquaredError(), STD)(Y, Y + 3 * STD)
    assert float(found) == pytest.approx(9.0, rel=1e-3)


def test_it_trains_as_on_standardized_targets_and_answers_in_their_unit() -> None:
    """SGD is not indifferent to the size of gradients, so a wrong scale would show."""
    plain = ftk.Task(name="regression", num_classes=2)
    reference, model = model_of(plain), model_of(TASK)
    options = {"epochs": 3, "batch_size": 16, "shuffle": False, "verbose": 0}
    expected = ftk.fit(reference, X, PLAIN, **options).history["loss"]
    found = ftk.fit(model, X, Y, **options).history
    assert found["loss"] == pytest.approx(expected, rel=2e-3)
    predicted = reference.predict(X, verbose=0) * STD + MEAN
    assert (np.abs(model.predict(X, verbose=0) - predicted) < 0.02 * STD).all()
    errors = np.abs(model.predict(X, verbose=0) - Y)
    assert model.evaluate(X, Y, verbose=0, return_dict=True)["mae"] == pytest.approx(
        float(errors.mean()), rel=1e-3
    )


def test_features_of_a_frozen_part_give_the_same() -> None:
    runs = []
    for cache in (False, True):
        model = model_of(TASK)
        ftk.freeze_layers(model, "backbone")
        history = ftk.fit(model, X, Y, epochs=2, shuffle=False, cache=cache, verbose=0)
        runs.append(history.history["loss"])
    assert runs[0] == pytest.approx(runs[1], rel=1e-6)


def test_a_file_keeps_it(tmp_path: Path) -> None:
    model = model_of(TASK)
    again = ftk.load(ftk.save(model, tmp_path / "model.keras"))
    assert again.evaluate(X, Y, verbose=0)[0] == pytest.approx(model.evaluate(X, Y, verbose=0)[0])


@pytest.mark.slow
def test_a_file_opens_with_keras_alone(tmp_path: Path) -> None:
    model = model_of(TASK)
    ftk.fit(model, X, Y, epochs=1, verbose=0)
    ftk.save(model, tmp_path / "model.keras")
    np.save(tmp_path / "x.npy", X)
    code = (
        "import keras, numpy as np, sys; m = keras.saving.load_model('model.keras');"
        "np.save('y.npy', m.predict(np.load('x.npy'), verbose=0));"
        "assert 'finetunekit' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    assert np.array_equal(np.load(tmp_path / "y.npy"), model.predict(X, verbose=0))


@pytest.mark.parametrize(
    ("task", "mean", "std"),
    [
        ("regression", (1.0,), None),
        ("regression", (1.0,), (0.0,)),
        ("regression", (1.0,), (float("nan"),)),
        ("regression", (1.0, 2.0), (1.0, 1.0)),
        ("binary", (1.0,), (1.0,)),
    ],
)
def test_a_wrong_scale_is_refused(task: str, mean: tuple, std: tuple | None) -> None:
    wrong = ftk.Task(name=task, num_classes=1, target_mean=mean, target_std=std)
    with pytest.raises(ValueError, match=r"`target_mean` and `target_std`.*Received: task=Task"):
        ftk.add_head(small_backbone(), wrong)


def test_an_activation_would_act_before_the_scale() -> None:
    with pytest.raises(ValueError, match="`activation` would act before"):
        ftk.add_head(chain(), TASK, activation="softplus")
