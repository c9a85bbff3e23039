"""Selectors: which layers of a model are meant, through nested models."""

import numbers
import re
from collections.abc import Callable
from typing import Any, TypeAlias

import keras

from finetunekit.foundation import arguments
from finetunekit.foundation.messages import closest, listed, warn
from finetunekit.models import graph, metadata

Selector: TypeAlias = (
    int
    | float
    | str
    | keras.layers.Layer
    | type
    | Callable[[str, keras.layers.Layer], bool]
    | list["Selector"]
    | tuple["Selector", ...]
)

_REGEX_CHARACTERS = re.compile(r"[.^$*+?{}\[\]\\|()]")
_KINDS = (
    "an int (the first n layers, or from layer n on if negative), a float in (0, 1] (a fraction "
    "of the layers with weights; negative: the last ones), a name or path, a regular expression, "
    "a layer, a layer type, a function of (path, layer), or a list of these"
)


def find_layers(
    model: keras.Model, layers: Selector = ".*", *, params: float | None = None
) -> dict[str, keras.layers.Layer]:
    """Finds the layers that a selector means; changes nothing.

    Args:
        model: A Keras model of any kind; nested and subclassed models are walked through.
        layers: An int `n` means `model.layers[:n]` as Keras lists them, and `model.layers[n:]`
            for a negative `n`. A float `f` in (0, 1] means that fraction of the layers with
            weights, from the input on; a negative one the fraction nearest to the output.
            On a model made by `add_head` both count on its backbone, and preprocessing that
            `load_backbone` put in front is not counted. A string without regex characters means
            whole parts of a layer path (`"conv1"` does not take `conv10`), `"backbone"` and
            `"head"` are the roles; with regex characters it must match a whole part or the
            whole path. Also a layer, a layer type, a function of `(path, layer)`, or a list.
        params: Instead of `layers`, a fraction in (0, 1] of the parameters: as many layers from
            the input on as hold no more than that (negative: from the output).

    Returns:
        Path -> layer, in the model's order. Of nested layers both the outer and the inner ones
        are there if both match.

    Raises:
        ValueError: If nothing matches; the message lists what would have.
        TypeError: If the selector is of no known kind (a bool, for example).

    Example:
        ```python
        import keras
        import finetunekit as ftk

        model = keras.Sequential(
            [keras.Input((8,)), keras.layers.Dense(4, name="a"), keras.layers.Dense(1, name="b")]
        )
        assert list(ftk.find_layers(model, 1)) == ["a"]
        assert list(ftk.find_layers(model, "b|c")) == ["b"]
        assert list(ftk.find_layers(model, keras.layers.Dense)) == ["a", "b"]
        ```
    """
    arguments.check_model(model, kind=keras.layers.Layer)
    places = list(graph.walk(model))
    if params is not None:
        if layers != ".*":
            raise ValueError(
                "`layers` and `params` both say which layers; give one of them. "
                f"Received: layers={layers!r}, params={params!r}"
            )
        chosen = _by_parameters(model, params)
    else:
        chosen = _choose(model, places, layers)
    ids = {id(layer) for layer in chosen}
    return {place.path: place.layer for place in places if id(place.layer) in ids}


def find_layers_for(
    argument: str, model: keras.Model, selector: Selector
) -> dict[str, keras.layers.Layer]:
    """`find_layers` for an argument that is not called `layers`, which errors shall name."""
    try:
        return find_layers(model, selector)
    except (ValueError, TypeError) as error:
        text = str(error).replace("`layers", f"`{argument}").replace("layers=", f"{argument}=")
        raise type(error)(text) from error


def _choose(
    model: keras.Model, places: list[graph.Place], selector: Any
) -> list[keras.layers.Layer]:
    if isinstance(selector, bool):
        raise TypeError(f"`layers` must be {_KINDS}, not a bool. Received: layers={selector!r}")
    if isinstance(selector, (list, tuple)):
        if not selector:
            raise ValueError(
                f"`layers` is an empty list, which selects nothing; expected {_KINDS}. "
                "Received: layers=[]"
            )
        for part in selector:
            if isinstance(part, numbers.Real):
                raise ValueError(
                    "`layers` is a list with a number in it, which might mean one layer or all up "
                    "to it. For single layers give them, `[model.layers[3], model.layers[5]]`; for "
                    f"the first n give `n` alone. Received: layers={selector!r}"
                )
        return [layer for part in selector for layer in _choose(model, places, part)]
    if isinstance(selector, numbers.Integral):
        return _by_number(model, int(selector))
    if isinstance(selector, numbers.Real):
        return _by_fraction(model, float(selector))
    test = _tester(model, selector)
    found = [place.layer for place in places if test(place)]
    if not found:
        raise ValueError(_nothing_found(model, places, selector))
    return found


def _tester(model: keras.Model, selector: Any) -> Callable[[graph.Place], bool]:
    if isinstance(selector, str):
        return _string_tester(model, selector)
    if isinstance(selector, keras.layers.Layer):
        return lambda place: place.layer is selector
    if isinstance(selector, type):
        return lambda place: isinstance(place.layer, selector)
    if callable(selector):
        return lambda place: _call(selector, place)
    raise TypeError(
        f"`layers` must be {_KINDS}. Received: layers={selector!r} (a {type(selector).__name__})"
    )


def _call(selector: Callable[[str, keras.layers.Layer], bool], place: graph.Place) -> bool:
    try:
        return bool(selector(place.path, place.layer))
    except TypeError as error:
        raise TypeError(
            "`layers`, if a function, must take two arguments, (path, layer), and return whether "
            f"the layer is meant ({error}). Received: layers={selector!r}"
        ) from error


def _string_tester(model: keras.Model, text: str) -> Callable[[graph.Place], bool]:
    roles = {id(layer): role for role, layer in metadata.roles(model).items() if layer is not None}
    if _REGEX_CHARACTERS.search(text):
        try:
            pattern = re.compile(text)
        except re.error as error:
            raise ValueError(
                f"`layers` has regex characters but is not a valid regular expression ({error})."
                f"{_shell_hint(text)} Received: layers={text!r}"
            ) from error

        def matches(path: str) -> bool:
            return bool(pattern.fullmatch(path)) or any(map(pattern.fullmatch, path.split("/")))
    else:
        wanted = text.strip("/").split("/")

        def matches(path: str) -> bool:
            parts = path.split("/")
            starts = range(len(parts) - len(wanted) + 1)
            return any(parts[start : start + len(wanted)] == wanted for start in starts)

    def test(place: graph.Place) -> bool:
        paths = [place.path, "/".join(place.names), *_role_paths(place, roles)]
        return any(map(matches, paths))

    return test


def _shell_hint(text: str) -> str:
    """What a shell pattern, such as `conv*`, would be as a regular expression."""
    if "*" not in text or ".*" in text:
        return ""
    return f" As a regular expression, a shell pattern like this reads {text.replace('*', '.*')!r}."


def _role_paths(place: graph.Place, roles: dict[int, str]) -> list[str]:
    """The path once more from a role on: `backbone/conv1` for `resnet50/conv1`."""
    chain = [*place.ancestors[1:], place.layer]
    return [
        "/".join([roles[id(layer)], *(inner.name for inner in chain[depth + 1 :])])
        for depth, layer in enumerate(chain)
        if id(layer) in roles
    ]


def _counted_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """`model.layers`, or the backbone's, without preprocessing that `load_backbone` added."""
    backbone = metadata.roles(model).get("backbone") or model
    ours = set(metadata.of(backbone).preprocessing_layers)
    own = getattr(backbone, "layers", None)
    layers = own if own is not None else [place.layer for place in graph.walk(backbone)]
    return [layer for layer in layers if layer.name not in ours]


def _by_number(model: keras.Model, number: int) -> list[keras.layers.Layer]:
    layers = _counted_layers(model)
    if number == 0:
        raise ValueError(f"`layers=0` selects nothing; {_KINDS} is expected. Received: layers=0")
    if abs(number) > len(layers):
        if any(isinstance(layer, keras.Model) for layer in layers):
            raise ValueError(
                f"`layers` counts {abs(number)} layers, but the model lists {len(layers)}, some of "
                "them whole models. Count inside the nested model (pass it as `model`), or give a "
                f"fraction, a path or a name: {listed(layer.name for layer in layers)}. "
                f"Received: layers={number}"
            )
        warn(f"layers={number}: the model has only {len(layers)} layers, all of them are meant")
    return layers[:number] if number > 0 else layers[number:]


def _leaves(model: keras.Model) -> list[keras.layers.Layer]:
    backbone = metadata.roles(model).get("backbone") or model
    found = [place.layer for place in graph.leaves(backbone)]
    if not found:
        raise ValueError(
            f"Model {model.name!r} has no layers with weights yet. Build it first, by calling it "
            f"on a batch. Received: model={model!r}"
        )
    return found


def _fraction(value: Any, name: str) -> float:
    if not arguments.is_number(value):
        raise TypeError(f"`{name}` must be a number. Received: {name}={value!r}")
    if not 0 < abs(float(value)) <= 1:
        raise ValueError(
            f"As a fraction, `{name}` must lie in (0, 1], or in [-1, 0) for the end nearest to the "
            f"output. Received: {name}={value!r}"
        )
    return float(value)


def _by_fraction(model: keras.Model, value: float) -> list[keras.layers.Layer]:
    fraction = _fraction(value, "layers")
    found = _leaves(model)
    count = max(1, round(abs(fraction) * len(found)))
    return found[:count] if fraction > 0 else found[-count:]


def _by_parameters(model: keras.Model, value: float) -> list[keras.layers.Layer]:
    fraction = _fraction(value, "params")
    found = _leaves(model)
    ordered = found if fraction > 0 else found[::-1]
    counts = [graph.parameter_count(layer) for layer in ordered]
    allowed = abs(fraction) * sum(counts) * (1 + 1e-9)
    chosen: list[keras.layers.Layer] = []
    for layer, count in zip(ordered, counts, strict=True):
        if count > allowed:
            break
        allowed -= count
        chosen.append(layer)
    if not chosen:
        share = counts[0] / sum(counts)
        raise ValueError(
            f"The first layer, {ordered[0].name!r}, alone holds {share:.1%} of the parameters. "
            f"Give at least that. Received: params={value!r}"
        )
    return chosen


def _nothing_found(model: keras.Model, places: list[graph.Place], selector: Any) -> str:
    names = [place.path for place in places]
    hint = ""
    if isinstance(selector, str):
        candidates = [*names, *(place.layer.name for place in places), *metadata.roles(model)]
        hint = closest(selector, candidates) + _shell_hint(selector).lstrip()
        if any(part.startswith(selector) for place in places for part in place.names) and selector:
            hint += f"Names that begin so are matched by {selector + '.*'!r}. "
        hint += " " if hint and not hint.endswith(" ") else ""
        if selector in ("backbone", "head"):
            hint = (
                f"{model.name!r} has no {selector!r} role: only models made by `add_head` do. "
                + hint
            )
    types = sorted({type(place.layer).__name__ for place in places})
    return (
        f"`layers` matches no layer of {model.name!r}. {hint}Its layers are {listed(names)}; "
        f"their types {listed(types)}. Received: layers={selector!r}"
    )
