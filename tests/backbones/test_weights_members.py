"""Do arrays of a subclassed model come to the layers that names, attributes or shapes tell?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

import finetunekit as ftk
from models import L

SIZE = 3


def write(path: Path, groups: list[tuple[str, str | None]], sizes: dict[int, int]) -> Path:
    """A `.weights.h5` file, in which group n of the list has the kernel n; with names or without.

    Args:
        path: The file.
        groups: Their places and the names of their layers.
        sizes: Number of a group -> its units.
    """
    with h5py.File(path, "w") as file:
        file.create_group("vars")
        for number, (place, name) in enumerate(groups):
            values = file.create_group(f"{place}/vars")
            if name is not None:
                values.attrs["name"] = name
            units = sizes.get(number, SIZE)
            values["0"] = np.full((SIZE, units), float(number))
            values["1"] = np.full(units, float(number))
    return path


class Held(keras.Model):
    """Applies layers that are held by attributes, one after another, by the order of `names`."""

    def __init__(self, **held: Any) -> None:
        super().__init__()
        for attribute, value in held.items():
            setattr(self, attribute, value)

    def build(self, input_shape: Any) -> None:
        for layer in self.layers:
            layer.build((None, SIZE))

    def call(self, inputs: Any) -> Any:
        return inputs


def dense(name: str | None = None, units: int = SIZE) -> keras.layers.Layer:
    return L.Dense(units, name=name)


def loaded(path: Path, **held: Any) -> tuple[list[float], list[str]]:
    """The kernels in the order of creation, and how they were matched."""
    model = Held(**held)
    model.build((None, SIZE))
    report = ftk.load_weights(model, path)
    return [float(np.asarray(layer.kernel)[0, 0]) for layer in model.layers], [
        row.matched for row in report.rows
    ]


NAMED = [("ls/dense", "a"), ("ls/dense_1", "b")]
NAMELESS = [("ls/dense", None), ("ls/dense_1", None)]
ALL = [("layers/dense", None), ("layers/dense_1", None)]
HOW = {"n": "by name", "o": "by order", "s": "by shape"}


@pytest.mark.parametrize(
    ("groups", "held", "wanted", "how"),
    [
        pytest.param(NAMED, {"ls": ["b", "a"]}, [1, 0], "nn", id="a list in another order"),
        pytest.param(NAMED, {"a": "a", "z": "b"}, [0, 1], "nn", id="attributes from a list"),
        pytest.param(
            [("d/dense", "a"), ("d/dense_1", "b"), ("layers/dense_2", "out")],
            {"d": {"y": "b", "x": "a"}, "o": "out"},
            [1, 0, 2],
            "nnn",
            id="a dict",
        ),
        pytest.param(
            [("layers/dense", None), ("d/dense", None)], {"d": {"x": "a"}, "o": "b"}, [1, 0], "oo",
            id="a dict without names",
        ),
        pytest.param(
            [("d/dense", "dense_7"), ("d/dense_1", "dense_8")],
            {"d": {"x": None, "y": None}},
            [0, 1],
            "oo",
            id="a dict with numbered names",
        ),
        pytest.param(
            [("o", None), ("p", None)], {"p": "x", "o": "y"}, [1, 0], "nn", id="attributes"
        ),
        pytest.param([("ls/dense", "dense_3"), ("ls/dense_1", "dense_4")], {"ls": [None, None]},
            [0, 1], "oo", id="numbered names"),
        pytest.param(NAMELESS, {"ls": [None, None]}, [0, 1], "oo", id="a list of Keras' names"),
        pytest.param(NAMELESS, {"ls": ["block_0", "block_1"]}, [0, 1], "oo", id="a list counted"),
    ],
)  # fmt: skip
def test_what_is_told(
    groups: Any, held: dict[str, Any], wanted: list[float], how: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.weights.h5", groups, {})
    made = {
        attribute: [dense(name) for name in value]
        if isinstance(value, list)
        else {key: dense(name) for key, name in value.items()}
        if isinstance(value, dict)
        else dense(value)
        for attribute, value in held.items()
    }
    found, matched = loaded(path, **made)
    assert found == wanted
    assert matched == [HOW[letter] for letter in how]


@pytest.mark.parametrize(
    ("groups", "held"),
    [
        pytest.param(NAMELESS, {"ls": ["b", "a"]}, id="a list with names"),
        pytest.param(NAMELESS, {"ls": ["block_1", "block_0"]}, id="a list counted down"),
        pytest.param(ALL, {"a": ["x"], "b": ["y"]}, id="attributes in no list"),
    ],
)
def test_shapes_that_leave_two_ways_are_refused(
    groups: Any, held: dict[str, list[str]], tmp_path: Path
) -> None:
    path = write(tmp_path / "a.weights.h5", groups, {})
    made = {attribute: [dense(name) for name in names] for attribute, names in held.items()}
    with pytest.raises(ValueError, match=r"shapes leave more than one way for .* '\.h5' file"):
        loaded(path, **made)


def test_shapes_tell_layers_without_names(tmp_path: Path) -> None:
    path = write(tmp_path / "a.weights.h5", ALL, {1: 2})
    assert loaded(path, a=dense("x"), b=dense("y", 2)) == ([0, 1], ["by order"] * 2)
    assert loaded(path, b=dense("y", 2), a=dense("x")) == ([1, 0], ["by shape"] * 2)
    with pytest.raises(ValueError, match=r"kernel is \(3, 2\), stored \(3, 3\)"):
        loaded(path, a=dense("x", 2), b=dense("y", 2))


class Block(keras.layers.Layer):
    """A layer of two, made in the order of their names."""

    def __init__(self, names: str, **options: Any) -> None:
        super().__init__(**options)
        for name in names:
            setattr(self, name, L.Dense(SIZE))

    def build(self, input_shape: Any) -> None:
        for name in "ab":
            getattr(self, name).build(input_shape)

    def call(self, inputs: Any) -> Any:
        return self.b(self.a(inputs))


def test_layers_inside_of_layers(tmp_path: Path) -> None:
    def model(names: str) -> keras.Model:
        inputs = keras.Input((SIZE,))
        return keras.Model(inputs, Block(names, name="block")(inputs))

    named = [("layers/block/a", None), ("layers/block/b", None)]
    path = write(tmp_path / "named.weights.h5", named, {})
    with h5py.File(path, "r+") as file:
        file.create_group("layers/block/vars")
    found = model("ba")
    ftk.load_weights(found, path)
    assert [float(np.asarray(found.layers[1].a.kernel)[0, 0])] == [0]
    listed = [(f"layers/block/layers/{key}", None) for key in ("dense", "dense_1")]
    path = write(tmp_path / "listed.weights.h5", listed, {})
    with h5py.File(path, "r+") as file:
        file.create_group("layers/block/vars")
    with pytest.raises(ValueError, match="more than one way"):
        ftk.load_weights(found, path)


def test_a_graph_does_not_take_the_order_of_a_class(tmp_path: Path) -> None:
    path = write(tmp_path / "a.weights.h5", [*ALL, ("o", None)], {2: 2})
    layers = [dense("x"), dense("y"), dense("o", 2)]
    model = keras.Sequential([keras.Input((SIZE,)), *layers])
    with pytest.raises(ValueError, match="more than one way"):
        ftk.load_weights(model, path)
    assert ftk.load_weights(model, path, allow_partial=True).of("loaded") == ["o"]


@pytest.mark.real
def test_files_of_tf_keras(data_folder: Path) -> None:
    folder = data_folder / "data" / "old_files"

    class Dict(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.out = L.Dense(2, name="out")
            self.d = {"b": L.Dense(4, name="b"), "a": L.Dense(4, name="a")}

        def call(self, x: Any) -> Any:
            return self.out(self.d["b"](self.d["a"](x)))

    model = Dict()
    model(np.zeros((1, 4)))
    report = ftk.load_weights(model, folder / "sub_dict.weights.h5")
    assert {row.matched for row in report.rows} == {"by name"}
    with h5py.File(folder / "sub_dict.weights.h5") as file:
        for name, place in (("a", "d/dense"), ("b", "d/dense_1")):
            assert np.array_equal(model.d[name].kernel, file[f"{place}/vars/0"])

    class Attributes(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.b, self.a = L.Dense(4), L.Dense(4)
            self.o = L.Dense(2)

        def call(self, x: Any) -> Any:
            return self.o(self.b(self.a(x)))

    swapped = Attributes()
    swapped(np.zeros((1, 4)))
    with pytest.raises(ValueError, match="more than one way"):
        ftk.load_weights(swapped, folder / "sub_k2.weights.h5")
