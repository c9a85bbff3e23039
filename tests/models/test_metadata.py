"""What is known about a model is kept beside it, added to, and handed on as it was."""

from __future__ import annotations

import copyreg
import dataclasses
from typing import Any

import keras
import pytest

from finetunekit.models import metadata
from finetunekit.models.metadata import Choices, InputContract, Metadata, Task

L = keras.layers


def dense(name: str) -> keras.Sequential:
    return keras.Sequential([L.Dense(1, name=f"{name}_dense")], name=name)


def test_nothing_is_known_of_a_new_model() -> None:
    model = dense("model")
    assert metadata.of(model) == Metadata()
    metadata.of(model).origin["path"] = "elsewhere"
    assert metadata.of(model) == Metadata(
        task=None,
        backbone=None,
        head=None,
        contract=None,
        origin={},
        preprocessing_layers=(),
        augmentation=(),
        choices=None,
        tokenizer=None,
        is_head=False,
    )


def test_what_is_not_said_of_an_input_is_not_known() -> None:
    assert InputContract() == InputContract(
        value_range=None,
        size=None,
        channel_order="rgb",
        preprocessing="inside",
        note="",
        dtype=None,
        mean=None,
        std=None,
        vocabulary_size=None,
        length=None,
        tokenizer=None,
    )
    assert Task(name="binary", num_classes=1) == Task(
        name="binary", num_classes=1, class_names=None, one_hot=None
    )


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (Task, {"name": "binary", "num_classes": 1}),
        (InputContract, {"size": (2, 3)}),
        (
            Choices,
            {
                "loss": None,
                "optimizer": None,
                "automatic_loss": True,
                "automatic_metrics": True,
                "rate_chosen_for": None,
            },
        ),
    ],
)
def test_records_are_made_by_name_and_stay_as_they_are(kind: Any, given: dict[str, Any]) -> None:
    record = kind(**given)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(record, next(iter(given)), None)
    with pytest.raises(TypeError, match="positional"):
        kind(*given.values())
    assert record == kind(**given)


def test_what_is_remembered_is_added_to_the_rest() -> None:
    model, other = dense("model"), dense("other")
    task = Task(name="regression", num_classes=1)
    metadata.remember(model, task=task)
    before = metadata.of(model)
    metadata.remember(model, origin={"name": "a"}, is_head=True)
    metadata.remember(model, is_head=False)
    assert metadata.of(model) == Metadata(task=task, origin={"name": "a"})
    assert before == Metadata(task=task)
    assert metadata.of(other) == Metadata()
    with pytest.raises(TypeError, match="weather"):
        metadata.remember(model, weather="fine")


def test_models_of_its_class_take_it_along_when_they_are_copied() -> None:
    class Remembered(keras.Sequential):
        pass

    class Carried(keras.Sequential):
        pass

    metadata.remember(Remembered([L.Dense(1)]))
    metadata.carry(dense("model"), Carried([L.Dense(1)]))
    assert {Remembered, Carried} <= set(copyreg.dispatch_table)


def test_all_is_carried_but_what_changes() -> None:
    old, new = dense("old"), dense("new")
    head = L.Dense(1)
    metadata.remember(old, head=head, origin={"name": "a"}, is_head=True)
    metadata.remember(new, tokenizer="of before")
    metadata.carry(old, new, is_head=False)
    assert metadata.of(new) == Metadata(head=head, origin={"name": "a"})
    assert metadata.of(old).is_head
    metadata.remember(old, head=None)
    assert metadata.of(new).head is head


def compiled() -> tuple[keras.Model, Choices]:
    model = dense("model")
    model.compile(keras.optimizers.SGD(), keras.losses.MeanSquaredError())
    chosen = Choices(
        loss=model.loss,
        optimizer=model.optimizer,
        automatic_loss=True,
        automatic_metrics=False,
        rate_chosen_for="head",
    )
    metadata.remember(model, choices=chosen)
    return model, chosen


def test_choices_hold_while_the_model_is_compiled_with_them() -> None:
    model, chosen = compiled()
    assert metadata.choices(model) is chosen
    assert chosen.label_smoothing == 0.0
    plain = dense("plain")
    plain.compile(model.optimizer, model.loss)
    assert metadata.choices(plain) is None


@pytest.mark.parametrize("part", ["loss", "optimizer"])
def test_choices_are_no_more_once_one_part_is_another(part: str) -> None:
    model, chosen = compiled()
    others: dict[str, Any] = {
        "loss": keras.losses.MeanSquaredError(),
        "optimizer": keras.optimizers.SGD(),
    }
    kept = {"loss": chosen.loss, "optimizer": chosen.optimizer}
    model.compile(**{**kept, part: others[part]})
    assert metadata.choices(model) is None
    model.compile(**kept)
    assert metadata.choices(model) is chosen


def test_a_model_that_is_not_compiled_has_no_choices() -> None:
    _, chosen = compiled()
    model = dense("uncompiled")
    metadata.remember(model, choices=chosen)
    assert metadata.choices(model) is None


def test_roles_are_those_of_a_model_with_a_backbone() -> None:
    model, backbone, head = dense("model"), dense("backbone"), L.Dense(1)
    assert metadata.roles(model) == {}
    metadata.remember(model, head=head)
    assert metadata.roles(model) == {}
    metadata.remember(model, backbone=backbone)
    assert metadata.roles(model) == {"backbone": backbone, "head": head}
    metadata.remember(model, head=None)
    assert metadata.roles(model) == {"backbone": backbone, "head": None}


def test_models_are_found_by_a_layer_at_any_depth() -> None:
    inner = dense("inner")
    outer = keras.Sequential([inner, L.Dense(1, name="last")])
    apart, unknown = dense("apart"), keras.Sequential([inner])
    for model in (inner, outer, apart):
        metadata.remember(model)

    def found(*layers: keras.layers.Layer) -> list[keras.Model]:
        mine = (inner, outer, apart, unknown)
        return [model for model in metadata.models_with(list(layers)) if model in mine]

    assert found(inner.layers[-1]) == [inner, outer]
    assert found(inner) == [inner, outer]
    assert found(outer) == [outer]
    assert found(outer.get_layer("last"), apart) == [outer, apart]
    assert found(L.Dense(1)) == found() == []


def test_frozen_variables_are_kept_by_name_until_there_are_none() -> None:
    layer, other = L.Dense(1), L.Dense(1)
    metadata.remember_frozen_variables(layer, frozenset())
    assert metadata.frozen_variables(layer) == frozenset()
    metadata.remember_frozen_variables(layer, frozenset({"kernel", "bias"}))
    metadata.remember_frozen_variables(layer, frozenset({"kernel"}))
    assert metadata.frozen_variables(layer) == {"kernel"}
    assert metadata.frozen_variables(other) == frozenset()
    metadata.remember_frozen_variables(layer, frozenset())
    assert metadata.frozen_variables(layer) == frozenset()
