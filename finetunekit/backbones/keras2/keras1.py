"""Configs of Keras 1 as those of Keras 2, which the rest of this folder reads."""

from collections.abc import Iterator, Sequence
from typing import Any

from finetunekit.backbones.keras2 import keras1_arguments, keras1_merge
from finetunekit.backbones.keras2.context import CHANGED, Context

_Config = dict[str, Any]

# Old names of classes that did not stay until Keras 2.
_CLASSES = {
    "AtrousConvolution1D": "Conv1D",
    "AtrousConvolution2D": "Conv2D",
    "Container": "Model",
    "Deconvolution2D": "Conv2DTranspose",
    "TimeDistributedDense": "Dense",
}
_GONE = {
    "Graph": "Build it as a Model in Keras 1 and save that.",
    "Highway": "",
    "LocallyConnected1D": "",
    "LocallyConnected2D": "",
    "MaxoutDense": "",
    "ParametricSoftplus": "",
    "SReLU": "",
}

# They followed the global setting, and their configs do not name it.
_FOLLOW = (
    "Cropping2D",
    "Cropping3D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "UpSampling2D",
    "UpSampling3D",
    "ZeroPadding2D",
    "ZeroPadding3D",
)


def is_keras1(version: str, config: Any) -> bool:
    """Whether a model's config is one of Keras 1; files of its first versions do not say so."""
    if version:
        return version.startswith("1.")
    return any(
        {"W_regularizer", "border_mode", "dim_ordering"} & set(layer["config"])
        for layer in _layers(config)
    )


def _layers(value: Any) -> Iterator[_Config]:
    """The configs of all layers, at any depth."""
    if isinstance(value, dict):
        if isinstance(value.get("class_name"), str) and isinstance(value.get("config"), dict):
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _layers(part)


def modern(config: _Config, context: Context) -> _Config:
    """The config of a model as Keras 2 would have written it.

    Raises:
        ValueError: If it has a layer that Keras 2 and 3 have nothing for.
    """
    orders = {layer["config"].get("dim_ordering") for layer in _layers(config)}
    found = sorted(orders & set(keras1_arguments.FORMATS))
    return _Reader(context, keras1_arguments.FORMATS[found[0]] if len(found) == 1 else None).layer(
        config
    )


def name_chains(config: _Config, names: Sequence[str]) -> None:
    """Names the chains directly inside a chain, in place, as they come.

    Before Keras 2.2.3 the config of a chain was a list, and its name stood with the weights only.

    Args:
        config: The config of the model.
        names: The names of the layers that the file holds weights of.
    """
    if config["class_name"] != "Sequential":
        return
    top = list(_flattened(config["config"]))
    given = {entry["config"].get("name") for entry in top if isinstance(entry["config"], dict)}
    unnamed = [entry for entry in top if isinstance(entry["config"], list)]
    left = [name for name in names if name not in given]
    for entry, name in zip(unnamed, left, strict=False):
        entry["name"] = name


def _flattened(stored: Any) -> Iterator[_Config]:
    """The layers of a chain, those of the branches of a Merge before it."""
    first, *rest = stored["layers"] if isinstance(stored, dict) else stored
    if first.get("class_name") == "Merge":
        for branch in first["config"].get("layers", []):
            if branch["class_name"] == "Sequential":
                yield from _flattened(branch["config"])
            elif branch["class_name"] in ("Model", "Container"):
                yield from branch["config"]["layers"]
            else:
                yield branch
    yield first
    yield from rest


class _Reader:
    """Reads the layers of one file, whose data format is that of most of its layers."""

    def __init__(self, context: Context, data_format: str | None) -> None:
        self.context, self.data_format = context, data_format

    def layer(self, entry: _Config) -> _Config:
        """A layer's entry, with all that stands inside it."""
        if not isinstance(entry, dict) or not isinstance(entry.get("class_name"), str):
            raise self.context.error(
                "its configuration is not that of a Keras model",
                CHANGED,
            )
        name, stored = entry["class_name"], entry["config"]
        if name == "Sequential":
            return self._chain(entry)
        if name in ("Model", "Container"):
            inner = {**stored, "layers": [self.layer(layer) for layer in stored["layers"]]}
            return {**entry, "class_name": "Model", "config": inner}
        if name == "Merge":
            merged = keras1_merge.layer(stored, self.context)
            return {**entry, **merged}
        return {
            **entry,
            "class_name": _CLASSES.get(name, name),
            "config": self._config(name, stored),
        }

    def _chain(self, entry: _Config) -> _Config:
        stored = entry["config"]
        named = isinstance(stored, dict)
        entries = stored["layers"] if named else stored
        name = entry.get("name") or (stored.get("name") if named else None) or "sequential"
        if isinstance(entries, list) and entries and entries[0].get("class_name") == "Merge":
            graph = keras1_merge.graph(name, entries, self.context)
            return self.layer({**entry, "class_name": "Model", "config": graph})
        inner = {"name": name, "layers": [self.layer(layer) for layer in entries]}
        return {**entry, "config": inner}

    def _config(self, class_name: str, stored: _Config) -> _Config:
        name = str(stored.get("name"))
        if class_name in _GONE and self.context.find(class_name) is None:
            raise self.context.error(
                f"layer {name!r} is a {class_name}, which Keras 3 has nothing for",
                _GONE[class_name]
                or f"Give a Keras 3 class of that name: custom_objects={{{class_name!r}: ...}}.",
            )
        if self.context.find(class_name) is not None:
            return dict(stored)
        if class_name in _CLASSES and class_name != "Container":
            self.context.convert(f"{name}: {class_name} became {_CLASSES[class_name]}")
        config, dropped = keras1_arguments.renamed(class_name, stored)
        for key, value in dropped.items():
            self.context.drop(name, key, value)
        self._of_class(class_name, config, name)
        return config

    def _of_class(self, class_name: str, config: _Config, name: str) -> None:
        """What only some classes have, or lacked."""
        if isinstance(config.get("layer"), dict):
            config["layer"] = self.layer(config["layer"])
        if class_name in _FOLLOW:
            if self.data_format is None:
                raise self.context.error(
                    f"layer {name!r}, a {class_name}, follows Keras 1's global `dim_ordering`, "
                    "which no other layer of the file shows",
                    "Build the model in Keras 3 and load the weights: "
                    "`ftk.load_weights(model, path)`.",
                )
            config["data_format"] = self.data_format
        if class_name == "InputLayer":
            config["dtype"] = config.pop("input_dtype", None)
        if class_name == "BatchNormalization" and config.pop("mode", 0) != 0:
            raise self.context.error(
                f"layer {name!r} is a BatchNormalization of another mode than 0, which Keras 3 has "
                "nothing for",
                "Give a class that does it: custom_objects={'BatchNormalization': ...}.",
            )
        if class_name.startswith("ZeroPadding"):
            config["padding"] = keras1_arguments.both_sides(config["padding"])
        if class_name == "Lambda" and config.pop("output_shape_type", "raw") != "raw":
            config["output_shape"] = None
        if class_name == "Lambda":
            config.pop("function_type", None)
        if class_name == "Embedding" and config.pop("dropout", 0.0):
            self.context.drop(name, "dropout", "of whole words, in training")
        if class_name == "Deconvolution2D":
            self.context.output_shapes[name] = tuple(config.pop("output_shape"))
