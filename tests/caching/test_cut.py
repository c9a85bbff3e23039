"""Where does the frozen prefix end, and why?"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

import finetunekit as ftk
from finetunekit.caching.cut import split_frozen
from models import images, small_backbone, small_sequential
from saved_model_fixtures import reusable
from topologies import TOPOLOGIES, Made

L = keras.layers


def chain(*layers: keras.layers.Layer, shape: tuple[int, ...] = (8,)) -> keras.Sequential:
    return keras.Sequential([keras.Input(shape), *layers])


def frozen(width: int = 8, **options: Any) -> keras.layers.Layer:
    return L.Dense(width, trainable=False, **options)


@pytest.mark.parametrize("make", TOPOLOGIES, ids=lambda make: make.__name__)
def test_prefix_and_tail_make_the_model(make: Any) -> None:
    made: Made = make()
    model, x = made[0], made[1]
    split = split_frozen(model, like=x)
    assert split.pays
    parts = {t.name: p for t, p in zip(split.prefix.inputs, _flat(model, x), strict=True)}
    features = split.prefix(parts if len(parts) > 1 else next(iter(parts.values())))
    # As numbers: what Keras attaches to tensors goes over the boundary as a tensor of its own.
    features = keras.tree.map_structure(keras.ops.convert_to_numpy, features)
    again, wanted = split.tail(features), model(x)
    for one, other in zip(keras.tree.flatten(again), keras.tree.flatten(wanted), strict=True):
        assert np.abs(one - other).max() < 1e-6
    trained = {id(v) for v in split.tail.trainable_variables}
    assert trained == {id(v) for v in model.trainable_variables}


def _flat(model: keras.Model, x: Any) -> list[Any]:
    from finetunekit.caching.cut import flat_inputs

    found = flat_inputs(model, x)
    assert found is not None
    return found


def frozen_by_flag(layer: keras.layers.Layer) -> keras.layers.Layer:
    layer.build((None, 8))
    layer.trainable = False
    return layer


class Custom(keras.layers.Layer):
    """A layer whose `call` takes `training`."""

    def call(self, x: Any, training: Any = None) -> Any:
        return x * 2 if training else x


BLOCKED = {
    "random while training": lambda: chain(frozen(), L.Dropout(0.5), L.Dense(1)),
    "BatchNormalization that updates": lambda: chain(
        frozen(), L.BatchNormalization(center=False, scale=False), L.Dense(1)
    ),
    "activity regularizer": lambda: chain(frozen(activity_regularizer="l2"), L.Dense(1)),
    "random augmentation": lambda: chain(L.RandomFlip(), frozen(), L.Dense(1), shape=(4, 4, 3)),
    "remembers the batch before": lambda: keras.Sequential(
        [keras.Input(batch_shape=(2, 4, 3)), L.LSTM(3, stateful=True, trainable=False), L.Dense(1)]
    ),
    "takes `training`": lambda: chain(frozen(), Custom(), L.Dense(1)),
    "one row for each sample": lambda: chain(
        frozen(), L.Lambda(lambda x: ops.transpose(x)), L.Lambda(ops.transpose), L.Dense(1)
    ),
    "changes its weights": lambda: chain(
        frozen_by_flag(L.SpectralNormalization(L.Dense(8))), L.Dense(1)
    ),
}


@pytest.mark.parametrize("reason", BLOCKED)
def test_what_ends_the_prefix_is_named(reason: str) -> None:
    split = split_frozen(BLOCKED[reason]())
    assert any(reason in blocker.reason for blocker in split.blocked_by), split.blocked_by
    assert not any("dense_1" in call.path for call in split.prefix_calls)


def test_dropout_in_frozen_layers_is_off_or_ends_the_prefix() -> None:
    def model() -> keras.Model:
        inner = chain(L.Dense(8), L.Dropout(0.5, name="drop"), L.Dense(4))
        inner.trainable = False
        return chain(inner, L.Dropout(0.5, name="mine"), L.Dense(1))

    split = split_frozen(model())
    assert split.switched_off == ["drop"]
    assert [shape for _, shape, _ in split.boundary] == [(None, 4)]
    kept = split_frozen(model(), frozen_dropout=True)
    assert kept.switched_off == []
    assert [shape for _, shape, _ in kept.boundary] == [(None, 8)]
    assert "frozen_dropout" in kept.blocked_by[0].reason


def test_dropout_of_rate_zero_and_frozen_flags_by_leaf() -> None:
    inner = chain(L.Dense(8), L.Dropout(0.0), L.Dropout(0.3, name="drop"))
    inner.layers[0].trainable = False  # The Dropout's own flag says that it trains.
    split = split_frozen(chain(inner, L.Dense(1)))
    assert split.switched_off == ["drop"]


def test_a_layer_that_only_says_it_is_frozen_is_not() -> None:
    # Keras trains the Dense in it all the same.
    inputs = keras.Input((3, 8))
    x = L.TimeDistributed(L.Dense(4), trainable=False)(inputs)
    model = keras.Model(inputs, L.Dense(1)(x))
    assert not split_frozen(model).pays


def test_weights_outside_of_layers_are_not_constant() -> None:
    inputs = keras.Input((8,))
    scale = keras.Variable(np.ones(8, "float32"), name="scale")
    model = keras.Model(inputs, L.Dense(1)(frozen()(inputs) * scale))
    split = split_frozen(model)
    assert any("outside of a layer" in blocker.reason for blocker in split.blocked_by)
    assert [shape for _, shape, _ in split.boundary] == [(None, 8)]


class Silent(keras.Model):
    """Subclassed, in ways that cannot be followed."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.body = chain(frozen())
        self.head = L.Dense(1)

    def call(self, inputs: Any, training: Any = None) -> Any:
        x = self.body(inputs)
        if self.way == "values" and float(x[0, 0]) > 0:
            x = x + 1
        if self.way == "branch" and training:
            x = x * 2
        if self.way == "loss":
            self.add_loss(ops.mean(x))
        return self.head(x)


@pytest.mark.parametrize(
    ("way", "words"),
    [
        ("values", "cannot be followed"),
        ("branch", "other things while"),
        ("loss", "cannot be followed"),
    ],
)
def test_subclassed_models_that_cannot_be_followed_say_so(way: str, words: str) -> None:
    x = np.ones((2, 8), "float32")
    model = Silent(way)
    model(x)
    split = split_frozen(model, like=x)
    assert not split.pays
    assert words in split.blocked_by[0].reason
    assert "no batch" in split_frozen(model).blocked_by[0].reason


def test_subclassed_models_inside_a_graph_are_followed() -> None:
    inner = Silent("none")
    inputs = keras.Input((8,))
    model = keras.Model(inputs, L.Dense(1)(inner(inputs)))
    split = split_frozen(model)
    assert [layer.name for layer in split.layers] == [inner.body.layers[0].name]


def test_a_saved_model_is_one_block(tmp_path: Any) -> None:
    reusable(tmp_path / "saved")
    backbone = ftk.load_backbone(tmp_path / "saved")
    ftk.freeze_layers(backbone)
    model = ftk.add_head(backbone, "binary")
    split = split_frozen(model)
    assert split.pays
    assert {b.path.split("/")[0] for b in split.blocked_by} == {"head"}


def test_augmentation_in_front_leaves_nothing() -> None:
    backbone = ftk.freeze_layers(small_backbone())
    model = ftk.add_head(backbone, "binary", augmentation=L.RandomFlip())
    split = split_frozen(model)
    assert not split.pays
    assert "random augmentation" in split.blocked_by[0].reason


def test_preprocessing_alone_does_not_pay() -> None:
    model = chain(L.Rescaling(1 / 255), L.Flatten(), L.Dense(1), shape=(4, 4, 3))
    assert not split_frozen(model).pays


def test_the_model_is_not_changed() -> None:
    model = small_sequential()
    model.trainable = False
    whole = chain(model, L.Dense(1), shape=(16, 16, 3))
    before, x = whole.to_json(), images(2)
    wanted = whole.predict(x, verbose=0)
    split = split_frozen(whole)
    assert split.tail(split.prefix(x)).shape == (2, 1)
    assert whole.to_json() == before
    assert np.array_equal(whole.predict(x, verbose=0), wanted)


def test_something_else_than_a_model() -> None:
    with pytest.raises(TypeError, match=r"must be a keras\.Model"):
        split_frozen("model.h5")  # type: ignore[arg-type]
