"""What is inside a saved model? Reads `.keras` and HDF5 files, and the member that `save` adds."""

import dataclasses
import json
import re
import zipfile
import zlib
from typing import Any

import keras

from finetunekit.foundation import archives, keras_internals
from finetunekit.foundation.messages import warn
from finetunekit.models import declared_sizes, graph, metadata, rate_multipliers
from finetunekit.models.label_smoothing import smooth_again
from finetunekit.models.metadata import Choices, InputContract, Task
from finetunekit.text import tokenizer as tokenizers

MEMBER = "finetunekit.json"
_TOKENIZER = "finetunekit_tokenizer/"
_LARGEST_MEMBER = 16 * 2**20
_LARGEST_TOKENIZER = 256 * 2**20
_VERSION = 1


def read_model(
    path: str,
    name: str,
    *,
    custom_objects: Any = None,
    safe_mode: bool = True,
    compile: bool = True,
) -> keras.Model:
    """Keras' `load_model` with faults in words; a model whose compile() fails comes uncompiled."""
    declared_sizes.check(path, name, custom_objects=custom_objects, safe_mode=safe_mode)
    try:
        return keras.saving.load_model(
            path, custom_objects=custom_objects, safe_mode=safe_mode, compile=compile
        )
    except Exception as error:  # Keras raises almost any type for a damaged or foreign file.
        if isinstance(error, PermissionError):
            raise
        if compile:
            model = read_model(
                path, name, custom_objects=custom_objects, safe_mode=safe_mode, compile=False
            )
            warn(f"{path}: loaded without its compile() settings ({_first_line(error)})")
            return model
        raise ValueError(_explain(path, name, error)) from error


def _explain(path: str, name: str, error: Exception) -> str:
    text = _first_line(error)
    if "Lambda" in str(error) or "safe_mode" in str(error):
        remedy = "It holds code; if you trust its maker, load it with safe_mode=False. "
    elif "custom_objects" in str(error) or "Could not locate" in str(error):
        found = re.search(r"locate \w+ '(\w+)'", str(error))
        missing = found[1] if found else "Name"
        remedy = f"Give the class it needs: custom_objects={{{missing!r}: {missing}}}. "
    else:
        remedy = (
            "It is damaged, cut short, or of another format: copy it again, or save it anew from "
            "the program that made it. "
        )
    return (
        f"`{name}` cannot be loaded as a Keras model. {remedy}Keras says: {text} "
        f"Received: {name}={path!r}"
    )


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].startswith("A total of"):  # Keras counts first, then tells.
        lines = lines[1:]
    return f"{type(error).__name__}: {lines[0][:600] if lines else ''}"


def read_member(path: str, name: str) -> dict[str, Any] | None:
    """What `save` put into the archive, or None if the file is not from `save`.

    Raises:
        ValueError: If the archive or the member is damaged.
    """
    archives.check(path, name)
    try:
        with zipfile.ZipFile(path) as file:
            if MEMBER not in file.namelist():
                return None
            if file.getinfo(MEMBER).file_size > _LARGEST_MEMBER:
                raise ValueError("its size is absurd")
            record = json.loads(file.read(MEMBER))
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError) as error:
        raise ValueError(
            f"`{name}` is no whole '.keras' archive: it is damaged, cut short, or of another kind "
            f"({_first_line(error)}). Copy or save it again. Received: {name}={path!r}"
        ) from error
    if not isinstance(record, dict) or not isinstance(record.get("version"), int):
        raise ValueError(
            f"`{name}` holds a damaged {MEMBER}. Save the model again, or load it with plain "
            f"Keras. Received: {name}={path!r}"
        )
    if record["version"] > _VERSION:
        raise ValueError(
            f"`{name}` was saved by a newer finetunekit. Upgrade: `pip install -U finetunekit`. "
            f"Received: {name}={path!r}"
        )
    return record


def written_by(path: str) -> str:
    """The version of Keras that wrote an archive; empty if it does not tell."""
    try:
        with zipfile.ZipFile(path) as file:
            return str(json.loads(file.read("metadata.json"))["keras_version"])
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, TypeError, EOFError, OSError):
        return ""  # Keras says what is wrong with it.


def write(model: keras.Model, file: zipfile.ZipFile) -> None:
    """Puts what is known about a model into its open archive."""
    file.writestr(MEMBER, json.dumps(describe(model), indent=1))
    tokenizer = metadata.of(model).tokenizer
    if tokenizer is not None:
        for name, content in tokenizer.files().items():
            file.writestr(_TOKENIZER + name, content, zipfile.ZIP_DEFLATED)


def _read_tokenizer(path: str, name: str) -> Any:
    """The tokenizer inside an archive; None if there is none, or it needs what is missing."""
    try:
        with zipfile.ZipFile(path) as file:
            members = [m for m in file.infolist() if m.filename.startswith(_TOKENIZER)]
            if sum(member.file_size for member in members) > _LARGEST_TOKENIZER:
                raise ValueError("the size of its tokenizer is absurd")
            files = {m.filename.removeprefix(_TOKENIZER): file.read(m) for m in members}
        return tokenizers.from_files(files) if files else None
    except ImportError as error:
        warn(f"{path} holds a tokenizer that cannot be made here: {error}")
        return None
    except (ValueError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(
            f"`{name}` holds a tokenizer that cannot be read ({_first_line(error)}). Save the "
            f"model again, or load it with plain Keras. Received: {name}={path!r}"
        ) from error


def describe(model: keras.Model) -> dict[str, Any]:
    """What is known about the model, as JSON."""
    known = metadata.of(model)
    paths = {id(place.layer): place.path for place in graph.walk(model)}
    frozen = {
        place.path: sorted(
            metadata.frozen_variables(place.layer)
            | {
                variable.name
                for variable in keras_internals.own_trainable_variables(place.layer)
                if place.layer.trainable and not variable.trainable
            }
        )
        for place in graph.leaves(model)
    }
    return {
        "version": _VERSION,
        "task": dataclasses.asdict(known.task) if known.task else None,
        "backbone": paths.get(id(known.backbone)),
        "head": paths.get(id(known.head)),
        "contract": dataclasses.asdict(known.contract) if known.contract else None,
        "origin": known.origin,
        "tokenizer": known.tokenizer is not None,
        "preprocessing_layers": {
            path: list(metadata.of(place.layer).preprocessing_layers)
            for place in graph.walk(model)
            if metadata.of(place.layer).preprocessing_layers
            for path in [place.path]
        }
        | ({"": list(known.preprocessing_layers)} if known.preprocessing_layers else {}),
        "augmentation": [paths[id(layer)] for layer in known.augmentation],
        "choices": _picked(model),
        "frozen_variables": {path: names for path, names in frozen.items() if names},
        "step_factors": _step_factors(model),
    }


def apply(model: keras.Model, record: dict[str, Any], path: str, name: str) -> None:
    """Puts what `describe` wrote back onto a loaded model."""
    places = {place.path: place.layer for place in graph.walk(model)}
    tokenizer = _read_tokenizer(path, name) if record.get("tokenizer") else None
    try:
        contract = _contract(record["contract"])
        for place, names in record["preprocessing_layers"].items():
            metadata.remember(places[place] if place else model, preprocessing_layers=tuple(names))
        backbone = places.get(record["backbone"])
        if backbone is not None:
            metadata.remember(
                backbone, contract=contract, origin=dict(record["origin"]), tokenizer=tokenizer
            )
        metadata.remember(
            model,
            task=_task(record["task"]),
            backbone=backbone,
            head=places.get(record["head"]),
            contract=contract,
            origin=dict(record["origin"]),
            tokenizer=tokenizer,
            augmentation=tuple(places[place] for place in record["augmentation"]),
            choices=_choices(record["choices"], model, _task(record["task"])),
        )
        for place, names in record["frozen_variables"].items():
            _freeze_variables(places[place], frozenset(names))
        _give_factors(model, places, record.get("step_factors") or {})
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"`{name}` holds a {MEMBER} that does not fit its model ({_first_line(error)}). Save "
            f"the model again, or load it with plain Keras. Received: {name}={path!r}"
        ) from error


_PICKED = ("automatic_loss", "automatic_metrics", "rate_chosen_for", "label_smoothing")


def _picked(model: keras.Model) -> dict[str, Any] | None:
    picked = metadata.choices(model)
    return None if picked is None else {name: getattr(picked, name) for name in _PICKED}


def _choices(
    record: dict[str, Any] | None, model: keras.Model, task: Task | None
) -> Choices | None:
    if record is None or not model.compiled:
        return None
    picked = {"label_smoothing": 0.0} | {name: record[name] for name in _PICKED if name in record}
    if task is not None:
        smooth_again(model.loss, task.num_classes, picked["label_smoothing"])
    return Choices(loss=model.loss, optimizer=model.optimizer, **picked)


def _step_factors(model: keras.Model) -> dict[str, Any]:
    """Path of a layer -> name of a variable -> factor of its rate, and whether it decays."""
    optimizer = model.optimizer if model.compiled else None
    found = {
        place.path: rate_multipliers.described(
            optimizer, {v.name: v for v in keras_internals.own_trainable_variables(place.layer)}
        )
        for place in graph.leaves(model)
    }
    return {path: rows for path, rows in found.items() if rows}


def _give_factors(model: keras.Model, places: dict[str, Any], record: dict[str, Any]) -> None:
    if not record or not model.compiled or model.optimizer is None:
        return
    factors, undecayed = [], []
    for path, rows in record.items():
        variables = {v.name: v for v in keras_internals.own_trainable_variables(places[path])}
        for name, (factor, decays) in rows.items():
            factors.append((variables[name], float(factor)))
            undecayed += [] if decays else [variables[name]]
    rate_multipliers.set_factors(model.optimizer, factors, undecayed)


def _freeze_variables(layer: keras.layers.Layer, names: frozenset[str]) -> None:
    metadata.remember_frozen_variables(layer, names)
    for variable in keras_internals.own_trainable_variables(layer):
        if variable.name in names:
            variable.trainable = False


def _task(record: dict[str, Any] | None) -> Task | None:
    if record is None:
        return None
    names = record["class_names"]
    return Task(**{**record, "class_names": tuple(names) if names else None})


def _contract(record: dict[str, Any] | None) -> InputContract | None:
    if record is None:
        return None
    # JSON has no tuples. A file of an older version lacks what was not known then.
    rows = {key: tuple(value) for key, value in record.items() if isinstance(value, list)}
    for name, count in (("value_range", 2), ("size", 2)):
        if record[name] is not None and len(rows[name]) != count:
            raise TypeError(f"{name} must hold {count} numbers")
    return InputContract(**{**record, **rows})
