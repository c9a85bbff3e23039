"""Do functions of Lambda layers come back, by the layers' names or from bytecode?"""

from __future__ import annotations

import base64
import logging
import marshal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.foundation import bytecode
from finetunekit.models import lambdas, saving

FACTOR = 3.0
X = np.array([[1.0, -2.0]], dtype="float32")


def triple(x: Any) -> Any:
    """A named function that no file holds."""
    return x * FACTOR


GIVEN: dict[str, Callable[[Any], Any]] = {
    "first": lambda x: x * FACTOR,
    "second": lambda x: x + 1.0,
    "third": triple,
}


def model() -> keras.Model:
    """Three Lambdas, one of them nested, one with a name."""
    inputs = keras.Input((2,))
    inner = keras.Sequential(
        [keras.Input((2,)), keras.layers.Lambda(GIVEN["second"], name="second")]
    )
    x = keras.layers.Lambda(GIVEN["first"], name="first")(inputs)
    x = keras.layers.Lambda(GIVEN["third"], name="third")(inner(x))
    return keras.Model(inputs, keras.layers.Lambda(keras.ops.relu, name="stock")(x))


WANTED = [[12.0, 0.0]]  # ((x * 3) + 1) * 3, and relu.


@pytest.mark.parametrize("ending", [".keras", ".h5"])
@pytest.mark.parametrize("safe_mode", [True, False])
def test_a_function_is_given_by_its_layer(ending: str, safe_mode: bool, tmp_path: Path) -> None:
    path = tmp_path / f"m{ending}"
    model().save(path)
    loaded = ftk.load_backbone(path, custom_objects=GIVEN, safe_mode=safe_mode)
    assert loaded(X).numpy().tolist() == WANTED
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name]


@pytest.mark.parametrize("open_again", [ftk.load, ftk.load_backbone])
def test_a_tuned_model_opens_again(
    open_again: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = ftk.add_head(model(), "binary")
    path = ftk.save(made, tmp_path / "tuned.keras")
    warning = next(r for r in caplog.records if r.levelno == logging.WARNING).getMessage()
    assert "'first', 'second', 'third'" in warning
    assert "custom_objects={'first': function, 'second': function, 'third': function}" in warning
    with pytest.raises(ValueError, match=r"Lambda layers 'first', 'second'\. Give each") as caught:
        open_again(path)
    assert "Keras says" not in str(caught.value)
    again = open_again(path, custom_objects=GIVEN)
    wanted = made(X) if open_again is ftk.load else WANTED
    assert np.allclose(again(X), wanted)


def test_a_model_whose_functions_keras_knows_saves_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(keras.ops.relu)])
    ftk.load(ftk.save(made, tmp_path / "m.keras"))
    assert "Lambda" not in caplog.text


def test_a_copy_keeps_functions_that_no_file_holds() -> None:
    made = model()
    assert saving.copy_model(made)(X).numpy().tolist() == WANTED


def test_one_function_is_not_given_to_two_layers_without_a_name(tmp_path: Path) -> None:
    functions = [lambda x: x * 3.0, lambda x: x + 1.0]
    for function in functions:
        function.__name__ = "lambda_"
    layers = [keras.layers.Lambda(f, name=n) for f, n in zip(functions, "ab", strict=True)]
    path = tmp_path / "m.keras"
    keras.Sequential([keras.Input((2,)), *layers]).save(path)
    with pytest.raises(ValueError, match=r"2 Lambda layers .* 'lambda_'.*of 'a', 'b'"):
        ftk.load_backbone(path, custom_objects={"lambda_": functions[0]})
    given = {"a": functions[0], "lambda_": functions[1]}
    assert ftk.load_backbone(path, custom_objects=given)(X).numpy().tolist() == [[4.0, -5.0]]


def test_foreign_bytecode_is_refused_in_words_before_it_is_run(tmp_path: Path) -> None:
    foreign = base64.b64encode(marshal.dumps(GIVEN["first"].__code__)[:-9]).decode()

    class Foreign(keras.layers.Lambda):
        def get_config(self) -> dict[str, Any]:
            config = super().get_config()
            config["function"]["config"]["code"] = foreign
            return config

    Foreign.__name__ = "Lambda"
    path = tmp_path / "m.h5"
    keras.Sequential([keras.Input((2,)), Foreign(GIVEN["first"], name="first")]).save(path)
    with pytest.raises(ValueError, match=r"'first', a Lambda, which cannot be run.*custom_objects"):
        ftk.load_backbone(path, safe_mode=False)
    assert ftk.load_backbone(path, custom_objects=GIVEN)(X).numpy().tolist() == [[3.0, -6.0]]


def test_bytecode_with_defaults_and_closure() -> None:
    offset = 5.0

    def made(x: Any, factor: float = 2.0) -> Any:
        return np.abs(x) * factor + offset

    code = base64.b64encode(marshal.dumps(made.__code__)).decode()
    stored = [code, [2.0], [offset]]
    assert lambdas.function_from(stored, {})(-1.0) == 7.0
    keys = ("code", "defaults", "closure")
    assert lambdas.function_from(dict(zip(keys, stored, strict=True)), {})(-1.0, 3.0) == 8.0
    for wrong in ([code, [2.0], None], ["%%", None, None], None, [None], {"code": 1}):
        with pytest.raises(bytecode.Foreign):
            lambdas.function_from(wrong, {})
