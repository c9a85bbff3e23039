"""Do loss and metrics fit the task, from probabilities and from logits alike?"""

from __future__ import annotations

import keras
import numpy as np
import pytest

import finetunekit as ftk
from models import images, labels, tiny_backbone

PIXELS = images() / 255
TARGETS = {
    "binary": (labels(), ["accuracy", "auc"]),
    "multiclass": (labels(classes=3), ["accuracy"]),
    "multilabel": ((np.arange(96).reshape(32, 3) % 2), ["accuracy", "auc"]),
    "regression": (np.linspace(0, 1, 32), ["mae", "rmse"]),
}
COUNT = {"multiclass": 3, "multilabel": 3}


@pytest.mark.parametrize("task", TARGETS)
def test_probabilities_and_logits_are_judged_alike(task: str) -> None:
    y, names = TARGETS[task]
    backbone = tiny_backbone()
    models = [
        ftk.add_head(backbone, task, COUNT.get(task), activation=activation)
        for activation in ("auto", None)
    ]
    models[1].set_weights(models[0].get_weights())
    results = [
        ftk.compile_for_task(model).evaluate(PIXELS, y, verbose=0, return_dict=True)
        for model in models
    ]
    assert sorted(results[0]) == sorted(["loss", *names])
    # AUC sorts into 200 bins, of probabilities or of logits.
    assert results[0] == pytest.approx(results[1], abs=2e-2, rel=1e-5)
    assert results[0]["loss"] == pytest.approx(results[1]["loss"], rel=1e-4)


def test_losses_by_formula() -> None:
    x, y = PIXELS, labels(classes=3)
    model = ftk.compile_for_task(ftk.add_head(tiny_backbone(), "multiclass", 3))
    p = model.predict(x, verbose=0)
    expected = -np.log(p[np.arange(32), y]).mean()
    assert model.evaluate(x, y, verbose=0)[0] == pytest.approx(expected, rel=1e-5)


def test_everything_can_be_overridden() -> None:
    model = ftk.add_head(tiny_backbone(), "binary")
    ftk.compile_for_task(
        model, loss="mse", metrics=["mae"], optimizer="sgd", learning_rate=0.5, run_eagerly=True
    )
    assert model.loss == "mse"
    assert model.run_eagerly
    results = model.evaluate(images(), labels(), verbose=0, return_dict=True)
    assert sorted(results) == ["loss", "mae"]


def test_one_optimizer_object_serves_one_model() -> None:
    keras.config.set_dtype_policy("mixed_float16")
    optimizer = keras.optimizers.Adam(1e-3)
    model = ftk.add_head(tiny_backbone(), "binary")
    ftk.compile_for_task(model, optimizer=optimizer)
    ftk.fit(model, images(), labels(), verbose=0)
    ftk.compile_for_task(model, optimizer=optimizer, metrics=None)
    ftk.fit(model, images(), labels(), verbose=0)
    with pytest.raises(ValueError, match="belongs to another model"):
        ftk.compile_for_task(ftk.add_head(tiny_backbone(), "binary"), optimizer=optimizer)


def test_no_metrics_means_none_on_a_compiled_model_too() -> None:
    model = ftk.compile_for_task(ftk.add_head(tiny_backbone(), "binary"))
    ftk.compile_for_task(model, metrics=None)
    assert ftk.fit(model, images(), labels(), verbose=0).history.keys() == {"loss"}


def test_an_own_loss_serves_models_without_a_task() -> None:
    inputs = keras.Input((4,))
    outputs = [keras.layers.Dense(1)(inputs), keras.layers.Dense(2)(inputs)]
    model = keras.Model(inputs, outputs)
    ftk.compile_for_task(model, loss=["mse", "mse"], metrics=None)
    x = np.ones((8, 4), "float32")
    history = ftk.fit(model, x, [np.ones((8, 1)), np.ones((8, 2))], verbose=0)
    assert history.history["loss"]
