"""A fit on Keras' loop trains as `model.fit` does, but traces its step once, not twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import finetunekit as ftk
from finetunekit.execution.first_step import VariablesFirst
from frozen_dense import same_training
from parameters import often

L = keras.layers
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(12, 4)).astype("float32")
Y = RANDOM.integers(0, 3, 12)
OPTIONS: dict[str, Any] = {"batch_size": 4, "verbose": 0, "shuffle": False}


class Counted(L.Dense):
    """Counts how often it is traced in training."""

    traces = 0

    def call(self, inputs: Any, training: Any = None) -> Any:
        if training:
            self.traces += 1
        return super().call(inputs)


class Subclassed(keras.Model):
    def __init__(self, layers: list[L.Layer]) -> None:
        super().__init__()
        self.chain = layers

    def call(self, inputs: Any, training: Any = None) -> Any:
        for layer in self.chain:
            inputs = (
                layer(inputs, training=training) if isinstance(layer, Counted) else layer(inputs)
            )
        return inputs


class OwnStep(keras.Sequential):
    """A step that need not make what Keras' step makes."""

    def train_step(self, data: Any) -> dict[str, Any]:
        return {"loss": self.compute_loss(*data, self(data[0]))}


def layers() -> list[L.Layer]:
    keras.utils.set_random_seed(3)
    return [Counted(5, activation="relu", name="counted"), L.Dense(3, activation="softmax")]


def sequential() -> keras.Model:
    return keras.Sequential([keras.Input((4,)), *layers()])


def subclassed() -> keras.Model:
    model = Subclassed(layers())
    model(X)
    return model


def compiled(model: keras.Model, **options: Any) -> keras.Model:
    settings = {"metrics": ["accuracy"], **options}
    model.compile("adam", "sparse_categorical_crossentropy", **settings)
    return model


def counted(model: keras.Model) -> Counted:
    return next(layer for layer in model._flatten_layers() if isinstance(layer, Counted))


def arrays() -> tuple[Any, ...]:
    return X, Y


def dataset() -> tuple[Any, ...]:
    return (tf.data.Dataset.from_tensor_slices((X, Y)).batch(4),)


class Batches(keras.utils.PyDataset):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        return X[4 * number : 4 * number + 4], Y[4 * number : 4 * number + 4]


def py_dataset() -> tuple[Any, ...]:
    return (Batches(),)


def options_for(data: tuple[Any, ...]) -> dict[str, Any]:
    return OPTIONS if len(data) == 2 else {"verbose": 0, "shuffle": False}


@pytest.mark.parametrize(
    ("make", "data"),
    often(
        [
            (sequential, arrays),
            (sequential, dataset),
            (sequential, py_dataset),
            (subclassed, arrays),
        ],
        ((sequential, dataset), (subclassed, arrays)),
    ),
)
def test_the_step_is_traced_once(
    make: Callable[[], keras.Model], data: Callable[[], tuple[Any, ...]]
) -> None:
    plain, ours = compiled(make()), compiled(make())
    plain_history = plain.fit(*data(), epochs=2, **options_for(data()))
    history = ftk.fit(ours, *data(), epochs=2, **options_for(data()))
    assert (counted(plain).traces, counted(ours).traces) == (2, 1)
    assert history.history == plain_history.history
    assert same_training(plain, ours)


def test_a_layer_that_a_callback_unfreezes_is_trained() -> None:
    """The variables are made after every other callback, when it is clear what trains."""

    class Unfreeze(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            self.model.layers[0].trainable = True

    trained = []
    for fit, more in ((keras.Model.fit, {}), (ftk.fit, {"cache": False})):
        model = sequential()
        model.layers[0].trainable = False
        compiled(model)
        fit(model, X, Y, callbacks=[Unfreeze()], **OPTIONS, **more)
        trained.append(model)
    assert len(trained[0].optimizer.variables) == 2 + 2 * 4
    assert same_training(*trained)


def test_a_step_of_the_users_own_makes_its_variables_itself() -> None:
    model = compiled(OwnStep([keras.Input((4,)), *layers()]), metrics=None)
    ftk.fit(model, X, Y, **OPTIONS)
    assert not model.optimizer.built


def test_metrics_that_do_not_fit_fail_as_in_keras() -> None:
    messages = []
    for fit in (keras.Model.fit, ftk.fit):
        with pytest.raises(ValueError, match="nonsense") as error:
            fit(compiled(sequential(), metrics=["nonsense"]), X, Y, **OPTIONS)
        messages.append(str(error.value))
    assert messages[0] == messages[1]


def test_it_acts_once_in_its_life() -> None:
    class Data:
        reads = 0

        @property
        def spec(self) -> tuple[Any, Any]:
            self.reads += 1
            return X, Y

    data, model = Data(), compiled(sequential())
    callback = VariablesFirst(data)  # type: ignore[arg-type]
    callback.set_model(model)
    for number in range(3):
        callback.on_train_batch_begin(number)
    assert data.reads == 1
    assert model.optimizer.built
    assert len(model.metrics_variables) == 4
