"""Does a compiled model follow its layers, and a model made of it compile alike?"""

from __future__ import annotations

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.models import compiled, model_state
from models import images, labels, tiny_backbone


def fitted() -> keras.Model:
    model = ftk.add_head(tiny_backbone(), "binary")
    model.compile(
        keras.optimizers.Adam(1e-2),
        keras.losses.BinaryCrossentropy(),
        metrics=["accuracy", keras.metrics.AUC(name="auc")],
        weighted_metrics=[keras.metrics.MeanAbsoluteError(name="mae")],
        steps_per_execution=2,
    )
    model.fit(images(), labels(), verbose=0)
    return model


def test_nothing_changed_nothing_is_renewed() -> None:
    model = ftk.compile_for_task(ftk.add_head(tiny_backbone(), "binary"))
    ftk.fit(model, images(), labels(), verbose=0)
    function = model.train_function
    ftk.fit(model, images(), labels(), verbose=0)
    assert model.train_function is function


def test_renewing_drops_what_was_traced() -> None:
    model = fitted()
    before = model.train_function
    model.get_layer("tiny").get_layer("conv1").trainable = False
    assert compiled.renew_if_stale(model)
    assert model.train_function is not before
    assert len(model.optimizer.variables) == 2 + 2 * len(model.trainable_variables)
    assert not compiled.renew_if_stale(model)


@pytest.mark.slow
def test_a_carried_compilation_is_equal_and_separate() -> None:
    old = fitted()
    new = keras.Model(old.input, old.outputs[0])
    model_state.carry_compilation(old, new)
    assert new.loss is old.loss
    assert new.steps_per_execution == 2
    for mine, theirs in zip(new.optimizer.variables, old.optimizer.variables, strict=True):
        assert mine is not theirs
        assert np.array_equal(mine.numpy(), theirs.numpy())
    before = [np.array(v.numpy()) for v in old.optimizer.variables]
    results = new.evaluate(images(), labels(), verbose=0, return_dict=True)
    assert results.keys() == {"loss", "accuracy", "auc", "mae"}
    assert old.evaluate(images(), labels(), verbose=0, return_dict=True) == results
    new.fit(images(), labels(), verbose=0)
    after = [v.numpy() for v in old.optimizer.variables]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
