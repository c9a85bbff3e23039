"""Labels and sample weights under the names of outputs."""

from __future__ import annotations

import keras
import numpy as np

import finetunekit as ftk


def test_weights_of_one_output_by_its_name() -> None:
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    y, weights = x[:, 0], np.linspace(0, 1, 8)
    losses = []
    for fit in (ftk.fit, keras.Model.fit):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((3,))
        model = keras.Model(inputs, {"out": keras.layers.Dense(1, name="out")(inputs)})
        model.compile("sgd", {"out": "mse"})
        history = fit(
            model, x, {"out": y}, sample_weight={"out": weights}, shuffle=False, verbose=0
        ).history
        losses.append(history["loss"])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)
