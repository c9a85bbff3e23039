"""Metadata handed on to another model, and written to a file."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import keras

from finetunekit.models import graph, metadata
from finetunekit.models.metadata import InputContract, Task


def rebuilt(old: keras.Model, new: keras.Model) -> Iterator[tuple[Any, Any]]:
    """The layers that a model made of another has as new objects, each with the old one."""
    layers = {place.path: place.layer for place in graph.walk(new)}
    for place in graph.walk(old):
        other = layers.get(place.path, place.layer)
        if other is not place.layer and type(other) is type(place.layer):
            yield place.layer, other


def carry(old: keras.Model, new: keras.Model) -> None:
    """Hands on what is known; nested models with a change inside are new objects."""
    renewed = {}
    for one, other in rebuilt(old, new):
        renewed[id(one)] = other
        metadata.carry(one, other)
    known = metadata.of(old)
    metadata.carry(
        old,
        new,
        backbone=renewed.get(id(known.backbone), known.backbone),
        head=renewed.get(id(known.head), known.head),
        augmentation=tuple(renewed.get(id(layer), layer) for layer in known.augmentation),
        choices=None,
    )


def to_record(model: keras.Model) -> dict[str, Any]:
    """What is known about the model, as JSON; of the tokenizer, only whether there is one."""
    known = metadata.of(model)
    paths = {id(place.layer): place.path for place in graph.walk(model)}
    places = [("", model), *((place.path, place.layer) for place in graph.walk(model))]
    inside = {path: list(metadata.of(layer).preprocessing_layers) for path, layer in places}
    return {
        "task": dataclasses.asdict(known.task) if known.task else None,
        "backbone": paths.get(id(known.backbone)),
        "head": paths.get(id(known.head)),
        "contract": dataclasses.asdict(known.contract) if known.contract else None,
        "origin": known.origin,
        "tokenizer": known.tokenizer is not None,
        "preprocessing_layers": {path: names for path, names in inside.items() if names},
        "augmentation": [paths[id(layer)] for layer in known.augmentation],
    }


def from_record(model: keras.Model, record: dict[str, Any]) -> None:
    """Puts back what `to_record` wrote; `tokenizer` is the tokenizer itself or None."""
    places = {place.path: place.layer for place in graph.walk(model)}
    contract = _contract(record["contract"])
    common = {"contract": contract, "tokenizer": record["tokenizer"] or None}
    for place, names in record["preprocessing_layers"].items():
        metadata.remember(places[place] if place else model, preprocessing_layers=tuple(names))
    backbone, head = places.get(record["backbone"]), places.get(record["head"])
    task = _task(record["task"])
    if backbone is not None:
        metadata.remember(backbone, origin=dict(record["origin"]), **common)
    metadata.remember(
        model,
        task=task,
        backbone=backbone,
        head=head,
        origin=dict(record["origin"]),
        augmentation=tuple(places[place] for place in record["augmentation"]),
        **common,
    )


def _task(record: dict[str, Any] | None) -> Task | None:
    if record is None:
        return None
    # JSON has no tuples. A file of an older version lacks what was not known then.
    rows = {key: tuple(value) for key, value in record.items() if isinstance(value, list)}
    return Task(**{**record, **rows, "class_names": rows.get("class_names") or None})


def _contract(record: dict[str, Any] | None) -> InputContract | None:
    if record is None:
        return None
    # JSON has no tuples. A file of an older version lacks what was not known then.
    rows = {key: tuple(value) for key, value in record.items() if isinstance(value, list)}
    known = {"tuned_size": None, **record}
    for name, count in (("value_range", 2), ("size", 2), ("tuned_size", 2)):
        if known[name] is not None and len(rows[name]) != count:
            raise TypeError(f"{name} must hold {count} numbers")
    return InputContract(**{**record, **rows})
