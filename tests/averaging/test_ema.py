"""Does a fit with averaged weights validate them, keep them, and train as plain Keras does?"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import finetunekit as ftk
from models import images, labels, tiny_backbone, values


def averaged(seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    model = ftk.add_head(tiny_backbone(), "binary")
    return ftk.compile_for_task(model, learning_rate=1e-2, ema_momentum=0.9, metrics=["accuracy"])


@pytest.mark.parametrize(
    "frozen",
    [pytest.param(True, id="cached"), pytest.param(False, id="whole", marks=pytest.mark.slow)],
)
def test_trains_as_plain_keras_and_validates_the_averages(frozen: bool) -> None:
    """Reference: plain Keras, whose weights after training are the averages."""
    x, y, held_out = images(), labels(), (images(8, seed=1), labels(8))
    ours, plain = averaged(), averaged()
    if frozen:
        for model in (ours, plain):
            ftk.freeze_layers(model, "backbone")
    found = ftk.fit(
        ours,
        x,
        y,
        epochs=3,
        validation_data=held_out,
        shuffle=False,
        engine="keras",
        verbose=0,
        batch_size=8,
    )
    history = plain.fit(x, y, epochs=3, shuffle=False, verbose=0, batch_size=8).history
    np.testing.assert_allclose(found.history["loss"], history["loss"], rtol=1e-5)
    for one, other in zip(ours.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
    last = plain.evaluate(*held_out, verbose=0, return_dict=True)
    assert found.history["val_loss"][-1] == pytest.approx(last["loss"], rel=1e-5)


def test_what_is_kept_as_best_is_what_was_validated(tmp_path: Path) -> None:
    model, held_out = averaged(), (images(8, seed=1), labels(8))
    keep = ftk.callbacks.SaveBest(tmp_path / "best.keras", monitor="val_loss")
    stop = ftk.callbacks.EarlyStopping(monitor="val_loss", patience=1)
    found = ftk.fit(
        model,
        images(),
        labels(),
        epochs=6,
        validation_data=held_out,
        callbacks=[keep, stop],
        verbose=0,
        seed=0,
    )
    best = min(found.history["val_loss"])
    for kept in (model, ftk.load(tmp_path / "best.keras")):
        loss = kept.evaluate(*held_out, verbose=0, return_dict=True)["loss"]
        assert loss == pytest.approx(best, rel=1e-5)


def test_without_validation_the_end_is_keras_own() -> None:
    ours, plain = averaged(), averaged()
    ftk.fit(ours, images(), labels(), epochs=2, shuffle=False, verbose=0)
    plain.fit(images(), labels(), epochs=2, shuffle=False, verbose=0)
    for one, other in zip(values(ours).values(), values(plain).values(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


def test_keras_own_callback_is_left_to_its_work() -> None:
    model = averaged()
    given = [keras.callbacks.SwapEMAWeights()]
    ftk.fit(model, images(), labels(), validation_split=0.25, callbacks=given, verbose=0)
    assert np.isfinite(model.evaluate(images(), labels(), verbose=0)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ema_momentum": 1.5}, "`ema_momentum` must be a number in"),
        ({"ema_momentum": 0.9, "optimizer": keras.optimizers.SGD(0.1)}, "`use_ema=True"),
        ({"label_smoothing": 1}, "`label_smoothing` must be a number in"),
        ({"label_smoothing": 0.1, "loss": "mse"}, "Give it to your loss"),
    ],
)
def test_wrong_settings_are_told(options: dict, message: str) -> None:
    model = ftk.add_head(tiny_backbone(), "binary")
    with pytest.raises(ValueError, match=message):
        ftk.compile_for_task(model, **options)


def test_numbers_are_not_smoothed() -> None:
    model = ftk.add_head(tiny_backbone(), "regression")
    with pytest.raises(ValueError, match="is for classes"):
        ftk.compile_for_task(model, label_smoothing=0.1)
