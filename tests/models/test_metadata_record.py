"""Metadata finds the layers of a model made of another, and comes back from JSON as it was."""

from __future__ import annotations

import json
from typing import Any

import keras
import pytest

from finetunekit.models import metadata, metadata_record
from finetunekit.models.metadata import Choices, InputContract, Metadata, Task

L = keras.layers
CONTRACT = InputContract(
    value_range=(0.0, 255.0),
    size=(32, 16),
    channel_order="bgr",
    preprocessing="outside",
    note="Turn the channels.",
    dtype="float32",
    mean=(1.0, 2.0, 3.0),
    std=(4.0, 5.0, 6.0),
    vocabulary_size=7,
    length=8,
    tokenizer="ours",
    tuned_size=(24, 20),
    fitting="center_crop",
    image_bits=12,
)
CONTRACT_AS_JSON: dict[str, Any] = {
    "value_range": [0.0, 255.0],
    "size": [32, 16],
    "channel_order": "bgr",
    "preprocessing": "outside",
    "note": "Turn the channels.",
    "dtype": "float32",
    "mean": [1.0, 2.0, 3.0],
    "std": [4.0, 5.0, 6.0],
    "vocabulary_size": 7,
    "length": 8,
    "tokenizer": "ours",
    "tuned_size": [24, 20],
    "fitting": "center_crop",
    "image_bits": 12,
}
EMPTY: dict[str, Any] = {
    "task": None,
    "backbone": None,
    "head": None,
    "contract": None,
    "origin": {},
    "tokenizer": False,
    "preprocessing_layers": {},
    "augmentation": [],
}


def made(*layers: keras.layers.Layer) -> keras.Sequential:
    """Layers given, else a flip, a nested model of a scale and a layer, and a last layer."""
    if not layers:
        backbone = keras.Sequential(
            [L.Rescaling(0.5, name="scale"), L.Dense(3, name="low")], name="base"
        )
        layers = (L.Dropout(0.1, name="drop"), backbone, L.Dense(1, name="top"))
    return keras.Sequential(list(layers), name="model")


def facts(model: keras.Sequential, tokenizer: str) -> dict[str, Any]:
    """Everything that can be known of such a model."""
    drop, base, top = model.layers
    return {
        "task": Task(name="multiclass", num_classes=2, class_names=("a", "b"), one_hot=True),
        "backbone": base,
        "head": top,
        "contract": CONTRACT,
        "origin": {"name": "somewhere"},
        "tokenizer": tokenizer,
        "preprocessing_layers": ("drop",),
        "augmentation": (drop,),
    }


def known() -> keras.Sequential:
    """Such a model of which everything is known."""
    model = made()
    metadata.remember(model.layers[1], preprocessing_layers=("scale",))
    metadata.remember(model, **facts(model, "a tokenizer"))
    return model


RECORD: dict[str, Any] = {
    "task": {
        "name": "multiclass",
        "num_classes": 2,
        "class_names": ["a", "b"],
        "one_hot": True,
        "target_mean": None,
        "target_std": None,
    },
    "backbone": "base",
    "head": "top",
    "contract": CONTRACT_AS_JSON,
    "origin": {"name": "somewhere"},
    "tokenizer": True,
    "preprocessing_layers": {"": ["drop"], "base": ["scale"]},
    "augmentation": ["drop"],
}


def test_all_that_is_known_as_json() -> None:
    record = metadata_record.to_record(known())
    assert json.loads(json.dumps(record)) == RECORD
    assert metadata_record.to_record(made()) == EMPTY


def test_it_comes_back_on_a_model_of_the_same_layers() -> None:
    model = made()
    _, base, top = model.layers
    metadata_record.from_record(model, RECORD | {"tokenizer": "another"})
    assert metadata.of(model) == Metadata(**facts(model, "another"))
    assert metadata.of(base) == Metadata(
        contract=CONTRACT,
        origin={"name": "somewhere"},
        tokenizer="another",
        preprocessing_layers=("scale",),
    )
    assert metadata.of(top) == Metadata()


def test_the_record_is_not_shared() -> None:
    model, origin = made(), {"name": "somewhere"}
    metadata_record.from_record(model, RECORD | {"origin": origin})
    origin["name"] = "elsewhere"
    metadata.of(model).origin["more"] = 1
    assert metadata.of(model).origin == {"name": "somewhere", "more": 1}
    assert metadata.of(model.layers[1]).origin == {"name": "somewhere"}


def test_a_record_of_nothing_makes_nothing_known() -> None:
    model = made()
    metadata_record.from_record(model, EMPTY)
    assert metadata.of(model) == Metadata()
    assert all(metadata.of(layer) == Metadata() for layer in model.layers)


def test_no_class_names_stay_none() -> None:
    model = made()
    row = {"name": "binary", "num_classes": 1, "class_names": None, "one_hot": None}
    metadata_record.from_record(model, EMPTY | {"task": row})
    assert metadata.of(model).task == Task(name="binary", num_classes=1)


def test_what_an_older_version_did_not_write_is_not_known() -> None:
    model = made()
    old = {"value_range": None, "size": [8, 9], "note": "n"}
    metadata_record.from_record(model, EMPTY | {"contract": old})
    assert metadata.of(model).contract == InputContract(size=(8, 9), note="n")
    old = {"value_range": [-1, 1], "size": None}
    metadata_record.from_record(model, EMPTY | {"contract": old})
    assert metadata.of(model).contract == InputContract(value_range=(-1, 1))


@pytest.mark.parametrize("name", ["value_range", "size", "tuned_size"])
@pytest.mark.parametrize("value", [[], [1], [1, 2, 3]])
def test_pairs_of_another_length_are_an_error(name: str, value: list[int]) -> None:
    contract = CONTRACT_AS_JSON | {name: value}
    with pytest.raises(TypeError, match=f"^{name} must hold 2 numbers$"):
        metadata_record.from_record(made(), EMPTY | {"contract": contract})


@pytest.mark.parametrize(
    "change", [{"augmentation": ["gone"]}, {"preprocessing_layers": {"gone": ["a"]}}]
)
def test_a_layer_that_is_not_there_is_an_error(change: dict[str, Any]) -> None:
    with pytest.raises(KeyError, match="gone"):
        metadata_record.from_record(made(), RECORD | change)


def test_rebuilt_layers_are_new_ones_of_equal_path_and_type() -> None:
    shared = L.Dense(4, name="shared")
    old = made(shared, L.Dense(4, name="new"), L.Dense(4, name="turned"), L.Dense(4, name="gone"))
    new = made(shared, L.Dense(4, name="new"), L.ReLU(name="turned"), L.Dense(4, name="come"))
    assert list(metadata_record.rebuilt(old, new)) == [(old.get_layer("new"), new.get_layer("new"))]
    assert list(metadata_record.rebuilt(old, old)) == []


def test_what_is_known_points_at_the_layers_made_anew() -> None:
    old, new = known(), made()
    old_base = old.layers[1]
    choices = Choices(
        loss=None,
        optimizer=None,
        automatic_loss=True,
        automatic_metrics=True,
        rate_chosen_for=None,
    )
    metadata.remember(old, choices=choices)
    metadata_record.carry(old, new)
    drop, base, top = new.layers
    assert metadata.of(new) == Metadata(
        task=metadata.of(old).task,
        backbone=base,
        head=top,
        contract=CONTRACT,
        origin={"name": "somewhere"},
        tokenizer="a tokenizer",
        preprocessing_layers=("drop",),
        augmentation=(drop,),
    )
    assert metadata.of(base) == Metadata(preprocessing_layers=("scale",))
    assert metadata.of(old).backbone is old_base
    assert metadata.of(old).choices is choices


def test_layers_that_both_models_share_stay() -> None:
    old = known()
    drop, base, top = old.layers
    new = made(drop, base, L.Dense(3, name="more"), top)
    metadata_record.carry(old, new)
    found = metadata.of(new)
    assert (found.backbone, found.head, found.augmentation) == (base, top, (drop,))
    assert metadata.of(base) == Metadata(preprocessing_layers=("scale",))
