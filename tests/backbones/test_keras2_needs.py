"""What a Keras 2 file needs of the caller: is it all named, and taken by every name?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from keras2_files import layer, write_chain

X = np.array([[1.0, -2.0, 3.0, 4.0]], dtype="float32")
KERNEL = np.arange(8, dtype="float32").reshape(4, 2)
DENSE = {"kernel": KERNEL, "bias": np.array([1.0, -1.0], dtype="float32")}
FIRST = layer("InputLayer", name="in", batch_input_shape=[None, 4], dtype="float32")
# `lambda x: x * 2`, as Python 3.6 has compiled it: no Python that runs this reads it.
OLD_CODE = (
    "4wEAAAAAAAAAAQAAAAIAAABDAAAAcwgAAAB8AGQBFABTACkCTukCAAAAqQApAdoBeHICAAAAcgIA"
    "AAD6Azx4PtoIPGxhbWJkYT4BAAAAcwAAAAA="
)


class Own(keras.layers.Layer):
    """A layer of a package."""

    def call(self, x: Any) -> Any:
        return x * 2.0


class Start(keras.initializers.Zeros):
    """An initializer of the package."""


def dense(**config: Any) -> dict[str, Any]:
    return layer("Dense", name="d", units=2, **config)


def chain(path: Path, *layers: Any) -> Path:
    return write_chain(path / "m.h5", [FIRST, *layers], {"d": DENSE})


NESTED = layer("Sequential", name="inner", layers=[FIRST, layer("my>Own", name="b")])
WRAPPED = layer("TimeDistributed", name="w", layer=layer("my>Third", name="c"))


def test_all_unknown_classes_are_named_at_once(tmp_path: Path) -> None:
    path = chain(tmp_path, layer("my>First", name="a"), NESTED, WRAPPED)
    wanted = r"custom_objects=\{'First': First, 'Own': Own, 'Third': Third\}"
    with pytest.raises(ValueError, match=f"'a' is of the class 'First'.*{wanted}"):
        ftk.load_backbone(path)
    with pytest.raises(ValueError, match=r"\{'First': First, 'Third': Third\} \(given: 'Own'"):
        ftk.load_backbone(path, custom_objects={"Own": Own})


@pytest.mark.parametrize("name", ["Own", "my>Own", "other>Own"])
def test_a_class_is_given_by_short_and_long_names(name: str, tmp_path: Path) -> None:
    loaded = ftk.load_backbone(chain(tmp_path, NESTED), custom_objects={name: Own})
    assert np.allclose(loaded(X), 2 * X)


@pytest.mark.parametrize("name", ["Start", "my>Start"])
def test_an_initializer_is_given_by_short_and_long_names(name: str, tmp_path: Path) -> None:
    stored = {"class_name": "my>Start", "config": {}}
    path = chain(tmp_path, dense(kernel_initializer=stored))
    loaded = ftk.load_backbone(path, custom_objects={name: Start})
    assert isinstance(loaded.layers[0].kernel_initializer, Start)


@pytest.mark.parametrize(
    "stored",
    ["theirs", {"class_name": "Theirs", "config": {}}, {"class_name": "a>B", "config": {}}],
)
def test_an_unknown_initializer_goes_as_the_file_has_the_weights(
    stored: Any, tmp_path: Path
) -> None:
    loaded = ftk.load_backbone(chain(tmp_path, dense(kernel_initializer=stored)))
    assert np.allclose(loaded(X), X @ KERNEL + DENSE["bias"])
    (converted,) = ftk.load_report(loaded).converted
    assert "d: its kernel_initializer" in converted


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"kernel_regularizer": {"class_name": "Theirs", "config": {}}}, "Theirs"),
        ({"kernel_constraint": "theirs"}, "theirs"),
        ({"activation": "theirs"}, "theirs"),
    ],
)
def test_what_else_is_unknown_is_named_with_its_cause(
    config: Any, named: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=f"'d'.*{named}.*custom_objects=.'{named}'"):
        ftk.load_backbone(chain(tmp_path, dense(**config)))


def test_an_argument_that_keras_refuses_is_told_by_its_cause(tmp_path: Path) -> None:
    long = {"name_of_a_layer": "x" * 400}
    stored = layer(
        "Dense", name="d", units=-2, bias_initializer={"class_name": "Zeros", "config": {}}
    )
    stored["config"] |= {"kernel_initializer": {"class_name": "Zeros", "config": {}}}
    with pytest.raises(
        ValueError, match="invalid value for `units`, expected a positive"
    ) as caught:
        ftk.load_backbone(chain(tmp_path, stored))
    assert len(str(caught.value)) < len(str(long))


FUNCTIONS: list[tuple[Callable[..., Any], str]] = [
    (lambda x, y: x + y, r"missing a required argument: 'y'"),
    (lambda x: x + undefined, "name 'undefined' is not defined"),  # noqa: F821
    (lambda x: keras.ops.matmul(x, np.ones((3, 2), "float32")), "[Ii]ncompatible|shape|dim"),
]


@pytest.mark.parametrize(("function", "words"), FUNCTIONS)
def test_a_lambda_that_cannot_be_called_shows_its_inputs(
    function: Any, words: str, tmp_path: Path
) -> None:
    path = chain(tmp_path, layer("Lambda", name="gate", function=["", None, None]))
    with pytest.raises(
        ValueError, match=rf"'gate', a Lambda.* on \(None, 4\) .*({words})"
    ) as caught:
        ftk.load_backbone(path, custom_objects={"gate": function})
    assert "custom_objects={'gate': ...}" in str(caught.value)


def test_lambdas_are_named_at_once_and_given_by_layer(tmp_path: Path) -> None:
    stored = [OLD_CODE, None, None]
    lambdas = [layer("Lambda", name=name, function=stored) for name in ("up", "down")]
    path = chain(tmp_path, *lambdas)
    with pytest.raises(ValueError, match=r"\{'up': lambda x: ..., 'down': lambda x: ...\}"):
        ftk.load_backbone(path)
    with pytest.raises(ValueError, match=r"'up'.*Python 3\.6 or 3\.7, and this is.*layer's name"):
        ftk.load_backbone(path, safe_mode=False)
    given = {"up": lambda x: x + 1.0, "down": lambda x: x * 3.0}
    assert np.allclose(ftk.load_backbone(path, custom_objects=given)(X), (X + 1) * 3)


def test_an_output_shape_of_bytecode_is_found_out(tmp_path: Path) -> None:
    stored = layer(
        "Lambda", name="cut", function=[OLD_CODE, None, None], output_shape=["", None, None]
    )
    loaded = ftk.load_backbone(chain(tmp_path, stored), custom_objects={"cut": lambda x: x[:, :3]})
    assert loaded.output_shape == (None, 3)


def test_fixed_dropout_is_dropout_with_a_noise_shape(tmp_path: Path) -> None:
    drop = layer("FixedDropout", name="drop", rate=0.5, noise_shape=[None, 1], seed=None)
    loaded = ftk.load_backbone(chain(tmp_path, drop))
    assert np.allclose(loaded(X), X)
    rows = np.asarray(loaded(np.repeat(X, 40, axis=0), training=True))
    assert all(np.allclose(row, 2 * X) or not row.any() for row in rows)
    assert 0 < sum(row.any() for row in rows) < 40


def test_an_input_shape_that_was_used_is_not_dropped(tmp_path: Path) -> None:
    first = layer("Dense", name="d", units=2, batch_input_shape=[None, 4], dtype="float32")
    path = write_chain(tmp_path / "m.h5", [first], {"d": DENSE})
    loaded = ftk.load_backbone(path)
    assert loaded.input_shape == (None, 4)
    assert ftk.load_report(loaded).dropped == ()


@pytest.mark.real
@pytest.mark.parametrize(
    ("file", "versions"), [("bc_3.12.1_tf", "3.12"), ("bc_3.6.15_listcomp", "3.6 or 3.7")]
)
def test_bytecode_of_other_pythons(file: str, versions: str, data_folder: Path) -> None:
    path = data_folder / "data" / "old_files" / f"{file}.h5"
    with pytest.raises(ValueError, match=f"'lam'.*written by Python {versions}.*'lam': lambda"):
        ftk.load_backbone(path, safe_mode=False)
    loaded = ftk.load_backbone(path, custom_objects={"lam": lambda x: x * 2.0})
    assert np.allclose(loaded(X), 2 * X)


@pytest.mark.real
def test_two_lambdas_save_and_open_again(data_folder: Path, tmp_path: Path) -> None:
    given = {"times": lambda x: x * 3.0, "plus": lambda x: x + 10.0}
    path = data_folder / "data" / "old_files" / "two_lam.h5"
    for options in ({"safe_mode": False}, {"custom_objects": given}):
        loaded = ftk.load_backbone(path, **options)
        assert np.allclose(loaded(X), X * 3 + 10)
        saved = ftk.save(ftk.add_head(loaded, "binary"), tmp_path / "tuned.keras")
        assert np.allclose(ftk.load_backbone(saved, custom_objects=given)(X), X * 3 + 10)
        assert np.allclose(ftk.load_backbone(saved, safe_mode=False)(X), X * 3 + 10)
