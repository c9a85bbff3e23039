"""Do files of Keras 1 come back as models that compute the same?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import finetunekit as ftk
from keras1_checks import check, convolved, difference, normal
from keras1_writer import chain, layer, write


@pytest.mark.parametrize("by_theano", [True, False], ids=["Theano", "TensorFlow"])
@pytest.mark.parametrize("order", ["tf", "th"])
def test_convolutions(order: str, by_theano: bool, tmp_path: Path) -> None:
    """Three channels into three filters of 3 x 3: shapes alone leave open how the axes stand."""
    kernel, b = normal(3, 3, 3, 3), normal(3)
    stored = kernel[::-1, ::-1] if by_theano else kernel
    stored = stored.transpose(3, 2, 0, 1) if order == "th" else stored
    shape = [None, 3, 6, 5] if order == "th" else [None, 6, 5, 3]
    options = {"dim_ordering": order, "border_mode": "valid"}
    config = chain(
        layer("ZeroPadding2D", "zero", padding=[1, 0, 0, 1], batch_input_shape=shape),
        layer("Convolution2D", "c", nb_filter=3, nb_row=3, nb_col=3, subsample=[1, 1], **options),
        layer("GlobalAveragePooling2D", "pool", dim_ordering=order),
    )
    x = normal(2, 6, 5, 3)
    wanted = convolved(np.pad(x, ((0, 0), (1, 0), (0, 1), (0, 0))), kernel).mean((1, 2)) + b
    given = x.transpose(0, 3, 1, 2) if order == "th" else x
    arrays = {"zero": {}, "c": {"c_W": stored, "c_b": b}, "pool": {}}
    check(tmp_path, config, arrays, given, wanted, by_theano=by_theano)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (layer("Highway", "h", batch_input_shape=[None, 4]), "is a Highway"),
        (layer("MaxoutDense", "h", batch_input_shape=[None, 4]), "is a MaxoutDense"),
        (layer("BatchNormalization", "h", mode=2, batch_input_shape=[None, 4]), "another mode"),
        (layer("ZeroPadding2D", "h", padding=[1, 1], batch_input_shape=[None, 4, 4, 1]), "dim_ord"),
        (layer("Merge", "h", mode="cos", mode_type="raw", layers=[]), "the mode 'cos'"),
    ],
)
def test_what_has_no_counterpart_is_refused(entry: Any, words: str, tmp_path: Path) -> None:
    path = write(tmp_path / "model.h5", {"h": {}}, chain(entry))
    with pytest.raises(ValueError, match=rf"a Keras 1 file.*'h'.*{words}.*Received: source="):
        ftk.load_backbone(path)


def test_classes_that_are_missing_are_named_and_no_others(tmp_path: Path) -> None:
    entries = chain(
        layer("TimeDistributedDense", "a", output_dim=2, batch_input_shape=[None, 3, 4]),
        layer("Own", "b"),
        layer("Other", "c"),
    )
    path = write(tmp_path / "model.h5", {"a": {}, "b": {}, "c": {}}, entries)
    with pytest.raises(ValueError, match=r"'b'.*Own.*Other") as caught:
        ftk.load_backbone(path)
    assert "TimeDistributedDense" not in str(caught.value)
    assert "'Own': " in str(caught.value)


@pytest.mark.real
@pytest.mark.parametrize("name", ["k1_2d", "k1_dense", "k1_lstm", "k1_srnn", "k1_td"])
def test_stored_files(name: str, data_folder: Path) -> None:
    folder = data_folder / "data" / "old_files"
    known = np.load(folder / f"{name}.npz")
    largest = float(np.abs(known["y"]).max())
    loaded = ftk.load_backbone(folder / f"{name}.h5")
    assert difference(loaded, known["x"], known["y"]) <= 1e-5 * largest
    loaded.set_weights([value * 0 for value in loaded.get_weights()])
    ftk.load_weights(loaded, folder / f"{name}_w.h5")
    assert difference(loaded, known["x"], known["y"]) <= 1e-5 * largest
