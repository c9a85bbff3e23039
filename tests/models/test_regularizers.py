"""The regularizers of a layer are noted once, put back as they were, and go through JSON."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import keras
import pytest

from finetunekit.foundation import patches
from finetunekit.models import regularizers
from finetunekit.models.regularizers import Regularizers

L = keras.layers
L1, L2 = keras.regularizers.L1, keras.regularizers.L2


def dense(regularizer: Any = None) -> keras.layers.Dense:
    layer = L.Dense(1, kernel_regularizer=regularizer, name="top")
    layer.build((None, 2))
    return layer


def separable(first: Any, second: Any) -> keras.layers.SeparableConv1D:
    layer = L.SeparableConv1D(
        1, 1, depthwise_regularizer=first, pointwise_regularizer=second, name="apart"
    )
    layer.build((None, 4, 2))
    return layer


def penalise(layer: keras.layers.Dense, regularizer: Any) -> None:
    layer.kernel_regularizer = layer.kernel.regularizer = regularizer


def test_those_of_kernels_and_of_the_config_are_found() -> None:
    first, second = L1(0.5), L2(0.25)
    layer = separable(first, second)
    assert regularizers.of(layer) == Regularizers(
        variables=((layer.depthwise_kernel, first), (layer.pointwise_kernel, second)),
        attributes=(("depthwise_regularizer", first), ("pointwise_regularizer", second)),
    )
    none = regularizers.of(L.ReLU())
    assert none == Regularizers((), ())
    with pytest.raises(dataclasses.FrozenInstanceError):
        none.variables = ()  # type: ignore[misc]


def test_what_a_callback_has_put_in_for_a_time_is_not_the_layers_own() -> None:
    own = L1(0.5)
    layer = dense(own)
    with patches.exchange(layer.kernel, "regularizer", L2(0.25)):
        assert regularizers.of(layer).variables == ((layer.kernel, own),)


def test_they_are_put_back_on_variables_and_attributes() -> None:
    first, second = L1(0.5), L2(0.25)
    layer = separable(first, None)
    before = regularizers.of(layer)
    for each in (layer.depthwise_kernel, layer.pointwise_kernel):
        each.regularizer = second
    layer.depthwise_regularizer = layer.pointwise_regularizer = second
    regularizers.put_back(layer, before)
    assert layer.depthwise_kernel.regularizer is layer.depthwise_regularizer is first
    assert layer.pointwise_kernel.regularizer is layer.pointwise_regularizer is None


def test_only_the_first_note_counts_until_it_is_forgotten() -> None:
    own, injected = L1(0.5), L2(0.25)
    layer = dense(own)
    assert not regularizers.is_noted(layer)
    before = regularizers.note(layer)
    assert before == Regularizers(((layer.kernel, own),), (("kernel_regularizer", own),))
    penalise(layer, injected)
    assert regularizers.note(layer) is before
    assert regularizers.is_noted(layer)
    assert not regularizers.is_noted(dense())
    assert regularizers.forget(layer) is before
    assert not regularizers.is_noted(layer)
    assert regularizers.note(layer).variables == ((layer.kernel, injected),)


def test_what_was_not_noted_cannot_be_forgotten() -> None:
    with pytest.raises(KeyError):
        regularizers.forget(dense())


def test_there_is_no_record_if_the_file_has_the_same_anyway() -> None:
    layer = dense(L1(0.5))
    assert regularizers.to_record(layer) is None
    regularizers.note(layer)
    assert regularizers.to_record(layer) is None
    layer.kernel_regularizer = L1(0.5)
    assert regularizers.to_record(layer) is not None


def test_a_record_has_all_if_one_has_changed() -> None:
    layer = separable(L1(0.5), None)
    regularizers.note(layer)
    layer.pointwise_regularizer = L2(0.25)
    record = json.loads(json.dumps(regularizers.to_record(layer)))
    assert list(record) == ["attributes", "variables"]
    assert list(record["attributes"]) == ["depthwise_regularizer", "pointwise_regularizer"]
    assert list(record["variables"]) == ["depthwise_kernel", "pointwise_kernel"]
    for first, second in (part.values() for part in record.values()):
        assert (first["class_name"], first["config"]) == ("L1", {"l1": 0.5})
        assert second is None


def test_what_was_noted_comes_back_on_a_layer_made_anew() -> None:
    layer = separable(L1(0.5), None)
    regularizers.note(layer)
    layer.depthwise_regularizer = L2(0.25)
    record = json.loads(json.dumps(regularizers.to_record(layer)))
    new = separable(L2(0.25), None)
    regularizers.from_record(new, record)
    noted = regularizers.forget(new)
    (first, one), (second, none) = noted.variables
    assert (first, second) == (new.depthwise_kernel, new.pointwise_kernel)
    assert (type(one), one.get_config(), none) == (L1, {"l1": 0.5}, None)
    (first_name, of_config), (second_name, none) = noted.attributes
    assert (first_name, second_name) == ("depthwise_regularizer", "pointwise_regularizer")
    assert (type(of_config), of_config.get_config(), none) == (L1, {"l1": 0.5}, None)


def test_a_record_of_fewer_attributes_is_taken() -> None:
    layer = separable(None, None)
    regularizers.from_record(
        layer, {"attributes": {"pointwise_regularizer": None}, "variables": {}}
    )
    assert regularizers.forget(layer) == Regularizers((), (("pointwise_regularizer", None),))


@pytest.mark.parametrize("attributes", [{"own": None}, {"kernel_regularizer": None, "own": None}])
def test_attributes_that_the_layer_lacks_are_an_error(attributes: dict[str, None]) -> None:
    layer = dense()
    with pytest.raises(KeyError, match="has other regularizers than") as error:
        regularizers.from_record(layer, {"attributes": attributes, "variables": {}})
    assert error.value.args == (f"'top' has other regularizers than {list(attributes)}",)
    assert not regularizers.is_noted(layer)


def test_variables_that_the_layer_lacks_are_an_error() -> None:
    for name in ("bias", "own"):
        with pytest.raises(KeyError, match=name):
            regularizers.from_record(dense(), {"attributes": {}, "variables": {name: None}})


def test_an_unknown_class_is_told_and_taken_for_none(caplog: pytest.LogCaptureFixture) -> None:
    layer = dense()
    config = {
        "module": None,
        "class_name": "Mine",
        "config": {},
        "registered_name": "mine>Mine",
    }
    record = {"attributes": {"kernel_regularizer": config}, "variables": {"kernel": None}}
    regularizers.from_record(layer, record)
    assert regularizers.forget(layer) == Regularizers(
        ((layer.kernel, None),), (("kernel_regularizer", None),)
    )
    assert caplog.messages == [
        "`remove_regularizer` cannot bring 'Mine' back, which is not known here: give its class in "
        "`custom_objects`"
    ]


@pytest.mark.parametrize("part", ["attributes", "variables"])
def test_anything_but_a_regularizer_is_an_error(part: str) -> None:
    config = keras.saving.serialize_keras_object(keras.initializers.Zeros())
    record: dict[str, dict[str, Any]] = {"attributes": {}, "variables": {}}
    record[part] = {"attributes": "kernel_regularizer", "variables": "kernel"}
    record[part] = {record[part][part]: config}
    layer = dense()
    with pytest.raises(TypeError, match=r"'Zeros'.* is not a regularizer$"):
        regularizers.from_record(layer, record)
    assert not regularizers.is_noted(layer)
