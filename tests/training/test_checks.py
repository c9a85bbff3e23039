"""Are callbacks, what they watch, and arguments of pipelines checked before the first step?"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from finetunekit.training import checks

C = keras.callbacks


def test_callbacks_of_any_form() -> None:
    stop = C.EarlyStopping()
    assert checks.check_callbacks(None) == []
    assert checks.check_callbacks(stop) == [stop]
    assert checks.check_callbacks((stop,)) == [stop]
    assert checks.check_callbacks(C.CallbackList([stop])) == [stop]
    with pytest.raises(TypeError, match=r"not classes: write `EarlyStopping\(\.\.\.\)`"):
        checks.check_callbacks([C.EarlyStopping])
    with pytest.raises(TypeError, match=r"Keras callback objects.*with 'stop'"):
        checks.check_callbacks(["stop"])


def compiled(metrics: Any = (), weighted: Any = None, outputs: int = 1) -> keras.Model:
    inputs = keras.Input((2,))
    heads = [keras.layers.Dense(1)(inputs) for _ in range(outputs)]
    model = keras.Model(inputs, heads if outputs > 1 else heads[0])
    metrics = [list(metrics)] * outputs if outputs > 1 else list(metrics)
    model.compile("sgd", "mse", metrics=metrics, weighted_metrics=weighted)
    return model


@pytest.mark.parametrize(
    ("monitor", "validated", "fits"),
    [
        ("loss", False, True),
        ("mae", False, True),
        ("val_mae", True, True),
        ("val_loss", False, False),
        ("val_mse", True, False),
        ("accuracy", True, False),
        ("weighted_mae", False, True),
        ("val_weighted_mae", True, True),
        ("r2_score", False, True),
    ],
)
def test_what_is_watched_is_logged(monitor: str, validated: bool, fits: bool) -> None:
    model = compiled(["mae", keras.metrics.R2Score()], ["mae"])
    watching = [C.EarlyStopping(monitor, mode="min")]
    if fits:
        checks.check_monitors(model, watching, validated=validated)
    else:
        with pytest.raises(ValueError, match=rf"values that are logged: 'loss'.*{monitor}'$"):
            checks.check_monitors(model, watching, validated=validated)


def test_the_names_are_those_that_keras_logs() -> None:
    model = compiled(["mae", "mae", keras.metrics.R2Score()], ["mae", "mse"])
    logged = model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0).history
    for name in logged:
        checks.check_monitors(model, [C.EarlyStopping(name, mode="min")], validated=False)


def test_who_may_watch_what_nobody_knows() -> None:
    own = type("Own", (C.Callback,), {})()
    guess = C.EarlyStopping("my_own", mode="min")
    checks.check_monitors(compiled(), [guess, own], validated=False)  # It may log that.
    checks.check_monitors(compiled(outputs=2), [guess], validated=False)
    checks.check_monitors(compiled(["mae", lambda y, p: p]), [guess], validated=False)
    checks.check_monitors(compiled(), [C.ModelCheckpoint("a.keras")], validated=False)
    with pytest.raises(ValueError, match="need `validation_data`"):
        checks.check_monitors(compiled(), [C.EarlyStopping("val_my_own"), own], validated=False)
