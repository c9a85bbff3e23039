"""`backbone_features`: a model of a backbone's intermediate features, by name or level."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import keras

from finetunekit.backbones import feature_levels as strides
from finetunekit.foundation import arguments
from finetunekit.foundation.messages import listed, plural, say
from finetunekit.models import graph, metadata
from finetunekit.models.selection import Selector, find_layers

_Tap = tuple[str, Any, int | None]  # Its path, the operation, and which of its calls, or all.


def backbone_features(
    backbone: keras.Model,
    layers: Selector | Sequence[Selector] | None = None,
    *,
    levels: int | None = None,
) -> keras.Model:
    """Returns a new model, sharing the layers, of named features from inside the backbone.

    It works through nested models to any depth, and leaves out layers that no feature needs. The
    result is a stock Keras model of stock layers, and is not compiled.

    Args:
        backbone: A Functional or built Sequential model, nested ones included.
        layers: One selector per feature, each of which matches one layer, as in `find_layers`: a
            name, a path such as `"mobilenet_v2/block_6_expand_relu"`, a layer, ...
        levels: Instead of `layers`, how many feature maps of different strides: the last map of
            each of the `levels` largest strides, as necks of segmentation and detection need
            them (4 of 32 are those of strides 4, 8, 16, 32).

    Returns:
        A `keras.Model` whose output is a dict of tensors: in the order of `layers`, or the
        deepest last. A key is the name of the layer; its path if two names are equal; with `:1`,
        `:2` for the calls of a layer called several times, and `/0`, `/1` for several outputs.

    Raises:
        ValueError: If a selector matches nothing or several layers, a layer is inside
            something that is no graph, or the backbone has fewer levels.
        TypeError: If an argument is of the wrong type.

    Example:
        ```python
        import finetunekit as ftk

        backbone = ftk.load_backbone("pretrained_model.h5")
        features = ftk.backbone_features(backbone, ["relu1", "relu2"])
        assert features.output["relu2"].shape == (None, 8, 8, 8)
        neck = ftk.backbone_features(backbone, levels=3)
        assert [tensor.shape[1] for tensor in neck.output.values()] == [16, 8, 4]
        ```
    """
    _check_arguments(backbone, layers, levels)
    if levels is None:
        taps = _chosen(backbone, layers)
    else:
        maps = strides.find(backbone, levels)
        taps = [(found.path, found.operation, found.call) for found in maps]
    inputs, caught = graph.catch_outputs(backbone, {id(operation) for _, operation, _ in taps})
    outputs = _named(backbone, taps, caught)
    model = keras.Model(
        inputs, outputs, name=f"{backbone.name}_features", trainable=backbone.trainable
    )
    metadata.carry(
        backbone, model, task=None, backbone=None, head=None, augmentation=(), choices=None
    )
    shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in outputs.items())
    say(f"{plural(len(outputs), 'feature')} of {backbone.name!r}: {shapes}")
    return model


def _check_arguments(backbone: Any, layers: Any, levels: Any) -> None:
    arguments.check_model(backbone, "backbone")
    if not graph.is_graph(backbone):
        remedy = (
            "Build it first, by calling it on a batch"
            if isinstance(backbone, keras.Sequential)
            else "Use a Functional model inside it, or return the features from its own call()"
        )
        raise ValueError(
            "`backbone` must be a Functional or a built Sequential model, whose wiring can be "
            f"read, not a {type(backbone).__name__}. {remedy}. Received: backbone={backbone!r}"
        )
    if (layers is None) == (levels is None):
        raise ValueError(
            "Pass either `layers`, to name features, or `levels`, the number of strides. "
            f"Received: layers={layers!r}, levels={levels!r}"
        )
    if levels is not None:
        arguments.check_int(levels, "levels", 1)


def _chosen(backbone: keras.Model, layers: Any) -> list[_Tap]:
    selectors = layers if isinstance(layers, (list, tuple)) and layers else [layers]
    places = {id(place.layer): place for place in graph.walk(backbone)}
    taps: dict[int, _Tap] = {}
    for selector in selectors:
        place = places[id(_one_layer(backbone, selector, places))]
        outside = [layer for layer in place.ancestors if not graph.is_graph(layer)]
        if outside:
            raise ValueError(
                f"`layers` must be layers of graphs; {place.path!r} is inside "
                f"{outside[0].name!r}, a {type(outside[0]).__name__}, whose wiring cannot be read. "
                f"Tap {outside[0].name!r} as a whole. Received: layers={selector!r}"
            )
        taps.setdefault(id(place.layer), (place.path, place.layer, None))
    return list(taps.values())


def _one_layer(
    backbone: keras.Model, selector: Any, places: dict[int, graph.Place]
) -> keras.layers.Layer:
    found = find_layers(backbone, selector)
    matched = {id(layer) for layer in found.values()}
    # The name of a model or a block matches what is inside it too; the outermost is meant.
    outer = {
        path: layer
        for path, layer in found.items()
        if not any(id(ancestor) in matched for ancestor in places[id(layer)].ancestors)
    }
    if len(outer) > 1:
        raise ValueError(
            f"Each selector in `layers` must match one layer; this one matches {len(outer)}: "
            f"{listed(outer)}. Name each that you want by its path. Received: layers={selector!r}"
        )
    return next(iter(outer.values()))


def _named(
    backbone: keras.Model, taps: list[_Tap], caught: dict[int, list[list[Any]]]
) -> dict[str, Any]:
    """The tensors by name: the layer's, or its path where two have the same."""
    names = Counter({id(operation): operation.name for _, operation, _ in taps}.values())
    outputs = {}
    for path, operation, only in taps:
        calls = caught.get(id(operation), [])
        if not calls:
            raise ValueError(
                f"`layers` must be layers on the way from input to output; {path!r} is held by "
                f"{backbone.name!r}, but is not called there. Received: layers={path!r}"
            )
        name = operation.name if names[operation.name] == 1 else path
        for number, tensors in enumerate(calls, start=1):
            if only is not None and number != only + 1:
                continue
            call = f":{number}" if len(calls) > 1 else ""
            for index, tensor in enumerate(tensors):
                part = f"/{index}" if len(tensors) > 1 and only is None else ""
                if index == 0 or only is None:
                    outputs[f"{name}{call}{part}"] = tensor
    return outputs
