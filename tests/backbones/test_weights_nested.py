"""Do arrays of a nested Keras 2 model come to the layers that their names tell?"""

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


def chain(names: list[str], frozen: tuple[str, ...] = ()) -> keras.Model:
    """Dense layers of equal width inside a model called `inner`."""
    inputs = x = keras.Input((SIZE,))
    for name in names:
        x = L.Dense(SIZE, name=name)(x)
    inner = keras.Model(inputs, x, name="inner")
    for name in frozen:
        inner.get_layer(name).trainable = False
    outside = keras.Input((SIZE,))
    return keras.Model(outside, inner(outside))


def write(path: Path, owners: list[str]) -> Path:
    """A file of Keras 2, in which layer n of the list has the kernel n."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"inner"]
        group = file.create_group("inner")
        names = [f"{owner}/{weight}:0" for owner in owners for weight in ("kernel", "bias")]
        group.attrs["weight_names"] = [name.encode() for name in names]
        for number, owner in enumerate(owners):
            group[f"{owner}/kernel:0"] = np.full((SIZE, SIZE), float(number))
            group[f"{owner}/bias:0"] = np.full(SIZE, float(number))
    return path


def kernels(model: keras.Model) -> list[float]:
    inner = model.get_layer("inner").layers[1:]
    assert all(np.all(w == layer.get_weights()[0][0, 0]) for layer in inner for w in layer.weights)
    return [float(layer.get_weights()[0][0, 0]) for layer in inner]


@pytest.mark.parametrize(
    ("ours", "stored", "wanted"),
    [
        pytest.param(["c1", "c2"], ["c2_2", "c1_2"], [1, 0], id="first one frozen"),
        pytest.param(["c1", "c2", "c3"], ["c1_1", "c3_1", "c2"], [0, 2, 1], id="not all numbered"),
        pytest.param(["c1", "c1_2"], ["c1_2_1", "c1_2"], [1, 0], id="a name of both kinds"),
        pytest.param(
            ["a", "b", "c", "d"], ["d_1", "b_1", "c_1", "a_1"], [3, 1, 2, 0], id="another order"
        ),
        pytest.param(["a_b", "c"], ["c_1", "a/b_1"], [1, 0], id="slashes"),
        pytest.param(["c1", "c2"], ["outer_1/c2", "outer_1/c1"], [1, 0], id="a scope around"),
        pytest.param(["dense", "dense_1"], ["dense_1", "dense_2"], [0, 1], id="from elsewhere"),
        pytest.param(
            ["dense", "dense_1", "dense_2"],
            ["dense_2", "dense_3", "dense_1"],
            [2, 0, 1],
            id="from elsewhere, the first one frozen",
        ),
        pytest.param(
            ["dense", "dense_1"], ["dense_2", "dense_1_1"], [0, 1], id="numbers behind numbers"
        ),
        pytest.param(
            ["dense_5", "dense_6", "c"],
            ["c_1", "dense_1_1", "dense_2_1"],
            [1, 2, 0],
            id="by name and by number",
        ),
    ],
)
@pytest.mark.parametrize("frozen", [False, True])
def test_names_tell(
    ours: list[str], stored: list[str], wanted: list[int], frozen: bool, tmp_path: Path
) -> None:
    model = chain(ours, frozen=tuple(ours[:1]) if frozen else ())
    ftk.load_weights(model, write(tmp_path / "a.h5", stored))
    assert kernels(model) == wanted


@pytest.mark.parametrize(
    ("ours", "stored"),
    [
        pytest.param(["c1", "c2"], ["x", "y"], id="other names"),
        pytest.param(["c1", "c2"], ["c1_1", "c1_2"], id="two of one name"),
        pytest.param(["c1", "c2"], ["c2_1", "x"], id="one of them"),
        pytest.param(["dense_5", "dense_6"], ["dense_2", "dense_1_1"], id="no common numbering"),
        pytest.param(
            ["dense", "dense_1", "dense_2", "dense_3"],
            ["dense_4", "dense_2", "dense_3", "dense_1"],
            id="an order that no freezing makes",
        ),
    ],
)
def test_what_names_leave_open_is_refused(
    ours: list[str], stored: list[str], tmp_path: Path
) -> None:
    model = chain(ours)
    with pytest.raises(ValueError, match="their shapes leave more than one way"):
        ftk.load_weights(model, write(tmp_path / "a.h5", stored))


def test_layers_of_one_name_in_two_models(tmp_path: Path) -> None:
    def two(stems: tuple[str, str]) -> keras.Model:
        inputs = x = keras.Input((SIZE,))
        for stem in stems:
            i = keras.Input((SIZE,))
            x = keras.Model(i, L.Dense(SIZE, name="d")(i), name=stem)(x)
        outside = keras.Input((SIZE,))
        return keras.Model(outside, keras.Model(inputs, x, name="inner")(outside))

    def values(model: keras.Model) -> list[float]:
        return [float(x.weights[0].numpy()[0, 0]) for x in model.get_layer("inner").layers[1:]]

    model = two(("a", "b"))
    ftk.load_weights(model, write(tmp_path / "in_turn.h5", ["d", "d_1"]))
    assert values(model) == [0, 1]
    ftk.load_weights(model, write(tmp_path / "around.h5", ["b_1/d", "a_1/d"]))
    assert values(model) == [1, 0]
    with pytest.raises(ValueError, match="more than one way"):
        ftk.load_weights(model, write(tmp_path / "falling.h5", ["d_1", "d"]))


def test_models_inside_of_wrappers(tmp_path: Path) -> None:
    inputs = keras.Input((2, SIZE))
    inner = chain(["c1", "c2"]).get_layer("inner")
    model = keras.Model(inputs, L.TimeDistributed(inner, name="inner")(inputs))
    ftk.load_weights(model, write(tmp_path / "a.h5", ["c2_1", "c1_1"]))
    assert [float(layer.get_weights()[0][0, 0]) for layer in inner.layers[1:]] == [1, 0]


def convolutions(frozen: tuple[str, ...], normalized: bool) -> keras.Model:
    """The models in the files of Keras 2.2.4."""
    inputs = x = keras.Input((8, 8, 4))
    for number in (1, 2):
        x = L.Conv2D(4, 3, padding="same", name=f"c{number}")(x)
        x = L.BatchNormalization(name=f"b{number}")(x) if normalized else x
    inner = keras.Model(inputs, x, name="inner")
    for name in frozen:
        inner.get_layer(name).trainable = False
    outside = keras.Input((8, 8, 4))
    x = L.Flatten(name="f")(inner(outside))
    return keras.Model(outside, L.Dense(2, name="d")(x))


@pytest.mark.real
@pytest.mark.parametrize("frozen", [(), ("c1",), ("c2", "b1"), ("c1", "c2")])
@pytest.mark.parametrize("name", ["o17_c1", "o17v_none"])
def test_files_of_keras_2_2_4(name: str, frozen: Any, data_folder: Path) -> None:
    folder = data_folder / "data" / "old_files"
    normalized = name == "o17_c1"
    known = {"c1", "c2", "b1", "b2"} if normalized else {"c1", "c2"}
    model = convolutions(tuple(known & set(frozen)), normalized)
    report = ftk.load_weights(model, folder / f"{name}_w.h5")
    assert {row.matched for row in report.rows} == {"by name"}
    reference = np.load(folder / f"{name}.npz")
    found = model.predict(reference["x"], verbose=0)
    assert np.abs(found - reference["y"]).max() <= 1e-5 * np.abs(reference["y"]).max()
