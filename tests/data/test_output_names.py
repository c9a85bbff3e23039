"""Inputs, labels, losses and their weights in dicts are matched by name, or refused."""

from __future__ import annotations

import logging
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import finetunekit as ftk
from finetunekit.data import output_names
from finetunekit.data.output_names import OutputNames
from frozen_dense import samples
from parameters import often

L = keras.layers
X, _ = samples(24)
Z, A = X[:, :1] + 3, X[:, 1:2] - 5


def two_outputs(*, keyed: bool, loss: Any = "mse", **options: Any) -> keras.Model:
    """Outputs `z` and `a`, in this order, which is not that of the alphabet."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    outputs = {name: L.Dense(1, name=name)(inputs) for name in ("z", "a")}
    model = keras.Model(inputs, outputs if keyed else list(outputs.values()))
    model.compile(keras.optimizers.SGD(0.0), loss, **options)
    return model


class Rows(keras.utils.PyDataset):
    """Three batches of dicts or arrays."""

    def __init__(self, *parts: Any) -> None:
        super().__init__()
        self.parts = parts

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Any:
        rows = slice(8 * index, 8 * index + 8)
        return keras.tree.map_structure(lambda a: a[rows], self.parts)


def dataset(*parts: Any) -> Any:
    return (tf.data.Dataset.from_tensor_slices(parts).batch(8),)


KINDS: dict[str, Any] = {
    "arrays": lambda *parts: parts,
    "tf.data": dataset,
    "PyDataset": lambda *parts: (Rows(*parts),),
}


def losses(model: keras.Model, *data: Any, **options: Any) -> dict[str, float]:
    size = {"batch_size": 8} if len(data) > 1 else {}
    history = ftk.fit(model, *data, shuffle=False, verbose=0, **size, **options).history
    return {name: values[0] for name, values in history.items()}


def errors(model: keras.Model) -> dict[str, float]:
    found = model.predict(X, verbose=0)
    z, a = (found["z"], found["a"]) if isinstance(found, dict) else found
    return {"z_loss": float(np.mean((z - Z) ** 2)), "a_loss": float(np.mean((a - A) ** 2))}


@pytest.mark.parametrize(
    ("kind", "keyed"),
    often(
        [(kind, keyed) for kind in KINDS for keyed in (True, False)],
        (("arrays", True), ("tf.data", False)),
    ),
)
def test_labels_go_to_the_output_of_their_name(kind: str, keyed: bool) -> None:
    for labels in ({"z": Z, "a": A}, {"a": A, "z": Z}):
        model = two_outputs(keyed=keyed)
        wanted = errors(model)
        found = losses(model, *KINDS[kind](X, labels))
        assert {name: found[name] for name in wanted} == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("kind", often(KINDS, ("PyDataset",)))
def test_labels_for_one_of_two_outputs_in_a_list(kind: str) -> None:
    model = two_outputs(keyed=False, loss=["mse", None])
    model.get_layer("a").trainable = False
    found = losses(model, *KINDS[kind](X, {"z": Z}))
    assert found["loss"] == pytest.approx(errors(model)["z_loss"], rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keyed", [True, False])
def test_a_name_that_no_output_has(kind: str, keyed: bool) -> None:
    labels = {"z": Z, "b": A}
    words = r"`y` names 'b', which is no output of the model: its outputs are 'z', 'a'"
    with pytest.raises(ValueError, match=words):
        ftk.plan_fit(two_outputs(keyed=keyed), *KINDS[kind](X, labels))
    validation = KINDS[kind](X, labels)
    with pytest.raises(ValueError, match=words):
        ftk.plan_fit(
            two_outputs(keyed=keyed), X, {"z": Z, "a": A},
            validation_data=validation if kind == "arrays" else validation[0],
        )  # fmt: skip


def test_a_list_is_refused_where_keras_would_sort_it() -> None:
    with pytest.raises(ValueError, match=r"`y` must be a dict with the outputs' names, 'z', 'a'"):
        ftk.plan_fit(two_outputs(keyed=True), X, [Z, A])
    ftk.plan_fit(two_outputs(keyed=False), X, [Z, A])


@pytest.mark.parametrize(
    ("keyed", "loss", "weights", "words"),
    [
        (True, {"z": "mse", "a": "mse"}, {"z": 1.0, "aa": 2.0}, r"`loss_weights` names 'aa'"),
        (False, {"z": "mse", "a": "mse"}, {"z": 1.0, "aa": 2.0}, r"`loss_weights` names 'aa'"),
        (True, {"z": "mse", "aa": "mse"}, None, r"`loss` names 'aa'.*Did you mean 'a'"),
        (False, ["mse", "mae"], {"z": 1.0, "a": 2.0}, r"need the losses by name"),
        (True, ["mse", "mae"], None, r"`loss` must be a dict with the outputs' names"),
        (True, {"z": "mse", "a": "mse"}, [1.0, 2.0], r"`loss_weights` must be a dict"),
        (True, {"z": "mse", "a": "mse"}, {"z": 1.0}, r"a weight for each output with a loss"),
    ],
)
def test_losses_and_weights_that_keras_would_match_by_order(
    keyed: bool, loss: Any, weights: Any, words: str
) -> None:
    model = two_outputs(keyed=keyed, loss=loss, loss_weights=weights)
    with pytest.raises(ValueError, match=words):
        ftk.plan_fit(model, X, {"z": Z, "a": A})


def test_a_typo_for_the_only_output() -> None:
    """Keras would weight the loss by it."""
    model = keras.Sequential([keras.Input((6,)), L.Dense(1, name="score")])
    model.compile("sgd", "mse", loss_weights={"scroe": 2.0})
    with pytest.raises(ValueError, match=r"outputs are 'score'. Did you mean 'score'"):
        ftk.plan_fit(model, X, Z)
    model.compile(keras.optimizers.SGD(0.0), "mse", loss_weights={"score": 2.0})
    wanted = 2 * np.mean((model.predict(X, verbose=0) - Z) ** 2)
    assert losses(model, X, Z)["loss"] == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("keyed", [True, False])
def test_weights_by_name_are_the_outputs_own(keyed: bool) -> None:
    loss, weights = {"z": "mse", "a": "mse"}, {"a": 10.0, "z": 1.0}
    model = two_outputs(keyed=keyed, loss=loss, loss_weights=weights)
    wanted = errors(model)
    found = losses(model, X, {"z": Z, "a": A})
    assert found["loss"] == pytest.approx(wanted["z_loss"] + 10 * wanted["a_loss"], rel=1e-4)
    ones = {"z": np.ones(24, "float32"), "a": np.zeros(24, "float32")}
    model = two_outputs(keyed=keyed, loss=loss)
    found = losses(model, X, {"z": Z, "a": A}, sample_weight=ones)
    assert found["loss"] == pytest.approx(wanted["z_loss"], rel=1e-4)


def dict_inputs(*, frozen: bool = False) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = {name: keras.Input((3,), name=name) for name in ("left", "right")}
    hidden = L.Dense(4, name="hidden")(L.Concatenate()([inputs["left"], inputs["right"]]))
    model = keras.Model(inputs, L.Dense(1, name="out")(hidden))
    model.get_layer("hidden").trainable = not frozen
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


@pytest.mark.parametrize(
    ("kind", "frozen"),
    often(
        [(kind, frozen) for kind in KINDS for frozen in (False, True)],
        (("arrays", False), ("tf.data", True), ("PyDataset", False)),
    ),
)
def test_a_spare_part_is_not_taken_for_an_input(
    kind: str, frozen: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Even if it comes first in the alphabet, in whatever order the parts are."""
    caplog.set_level(logging.DEBUG, logger="finetunekit")  # Where a quiet fit says it.
    parts = {"left": X[:, :3], "right": X[:, 3:]}
    spare = {"right": parts["right"], "extra": Z * X[:, :3], "left": parts["left"]}
    plain, ours = dict_inputs(frozen=frozen), dict_inputs(frozen=frozen)
    plain.fit(parts, Z, batch_size=8, shuffle=False, verbose=0)
    losses(ours, *KINDS[kind](spare, Z))
    assert np.allclose(plain.predict(parts, verbose=0), ours.predict(parts, verbose=0), atol=1e-5)
    assert "no inputs of the model and are left out: 'extra'" in caplog.text
    with pytest.raises(ValueError, match="lacks inputs of the model: 'left'"):
        ftk.plan_fit(ours, *KINDS[kind]({"right": parts["right"], "extra": Z}, Z))


def test_a_loss_of_ones_own_takes_what_it_likes() -> None:
    class Own(keras.Model):
        def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, *_: Any) -> Any:
            return keras.ops.mean((y_pred[0] - y["mine"]) ** 2)

    inputs = keras.Input((6,))
    outputs = [L.Dense(1, name=name, trainable=name == "z")(inputs) for name in ("z", "a")]
    model = Own(inputs, outputs)
    model.compile("sgd")
    assert output_names.of(model) == OutputNames((), False)
    losses(model, X, {"mine": Z, "other": A})


def test_what_is_known_of_the_outputs() -> None:
    assert output_names.of(two_outputs(keyed=True)) == OutputNames(("z", "a"), True)
    assert output_names.of(two_outputs(keyed=False)) == OutputNames(("z", "a"), False)
    alone = keras.Sequential([keras.Input((6,)), L.Dense(1, name="score")])
    assert output_names.of(alone) == OutputNames(("score",), False)
    assert output_names.of(alone).arranged({"any": 3}, "y") == 3
    assert output_names.of(keras.Sequential([L.Dense(1)])) == OutputNames((), False)


def test_two_labels_for_one_output_are_refused_by_all_that_need_one() -> None:
    """`predict` needs none."""
    chain = keras.Sequential([keras.Input((3,)), L.Dense(2)])
    model = ftk.compile_for_task(ftk.add_head(chain, "binary"))
    x, y = np.zeros((8, 3), "float32"), np.arange(8) % 2
    both = {"label": y, "id": y}
    data = tf.data.Dataset.from_tensor_slices((x, both)).batch(4)
    for verb in (
        lambda: ftk.fit(model, data, verbose=0),
        lambda: ftk.fit(model, x, both, verbose=0),
        lambda: ftk.evaluate(model, data),
        lambda: ftk.evaluate(model, x, both),
        lambda: ftk.fine_tune(chain, data, verbose=0),
    ):
        with pytest.raises(ValueError, match=r"`y` has the keys 'label', 'id', and the model one"):
            verb()
    assert len(ftk.predict(model, data)) == 8
