"""Does a saved model come back whole, with what we know of it, and without finetunekit too?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.models import metadata
from models import (
    L,
    images,
    labels,
    same,
    small_backbone,
    small_sequential,
    tiny_backbone,
    values,
)

PLAIN = """
import sys
sys.modules["finetunekit"] = None
import keras, numpy
for folder in sys.argv[1:]:
    model = keras.saving.load_model(folder + "/model.keras")
    x, y = numpy.load(folder + "/x.npy"), numpy.load(folder + "/y.npy")
    numpy.save(folder + "/out.npy", model.predict(x, verbose=0))
    model.fit(x, y, verbose=0)
"""


def tuned(task: str) -> tuple[keras.Model, np.ndarray, np.ndarray]:
    """A fitted model with everything in it that the verbs can put there, and its data."""
    count = None if task in ("binary", "regression") else 3
    backbone = small_sequential() if task == "multiclass" else small_backbone()
    options = {"hidden_units": [4], "dropout": 0.2, "l2": 1e-3, "augmentation": L.RandomFlip()}
    model = ftk.add_head(backbone, task, count, **options)
    ftk.inject_regularizer(model, l1=1e-5)
    model = ftk.inject_dropout(model, 0.1, after="conv1")
    ftk.compile_for_task(model)
    x, y = images(16), labels(16, count or 2)
    y = np.eye(3, dtype="float32")[y] if task == "multilabel" else y.astype("float32")
    ftk.fit(model, x, y, verbose=0)
    return model, x, y


@pytest.mark.slow
def test_predicts_the_same_where_finetunekit_cannot_be_imported(tmp_path: Path) -> None:
    expected = {}
    for task in ("binary", "multiclass", "multilabel", "regression"):
        model, x, y = tuned(task)
        folder = tmp_path / task
        folder.mkdir()
        ftk.save(model, folder / "model.keras")
        np.save(folder / "x.npy", x)
        np.save(folder / "y.npy", y)
        expected[folder] = model.predict(x, verbose=0)
    command = [sys.executable, "-W", "error::UserWarning", "-c", PLAIN, *map(str, expected)]
    subprocess.run(command, check=True)
    for folder, outputs in expected.items():
        assert np.array_equal(np.load(folder / "out.npy"), outputs)


def test_what_is_known_comes_back(tmp_path: Path) -> None:
    backbone = ftk.load_backbone("builtin:mobilenet_v2", weights=None, input_shape=(32, 32, 3))
    model = ftk.add_head(backbone, "multiclass", class_names=["a", "b", "c"])
    ftk.compile_for_task(model)
    ftk.freeze_layers(model, "backbone")
    loaded = ftk.load(ftk.save(model, tmp_path / "model.keras"))
    old, new = metadata.of(model), metadata.of(loaded)
    assert (new.task, new.contract, new.origin) == (old.task, old.contract, old.origin)
    assert metadata.choices(loaded).automatic_loss
    assert metadata.choices(loaded).rate_chosen_for == "all"
    assert list(ftk.find_layers(loaded, 2)) == list(ftk.find_layers(model, 2))
    assert list(ftk.find_layers(loaded, "head")) == list(ftk.find_layers(model, "head"))
    assert str(ftk.trainable_summary(loaded)) == str(ftk.trainable_summary(model))
    assert loaded.compiled


def test_training_goes_on_bit_for_bit(tmp_path: Path) -> None:
    model = ftk.add_head(small_sequential(), "binary")
    ftk.compile_for_task(model)
    ftk.fit(model, images(), labels(), verbose=0)
    loaded = ftk.load(ftk.save(model, tmp_path / "model.keras"))
    for each in (model, loaded):
        ftk.fit(each, images(), labels(), seed=1, verbose=0)
    pairs = zip(values(model).values(), values(loaded).values(), strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target = tmp_path / "real.keras"
    (tmp_path / "link.keras").symlink_to(target)
    ftk.save(small_backbone(), tmp_path / "link.keras")
    assert (tmp_path / "link.keras").is_symlink()
    assert keras.saving.load_model(target).name == "small"


def test_a_tuned_file_gives_its_backbone(tmp_path: Path) -> None:
    model = ftk.add_head(small_backbone(), "binary")
    backbone = ftk.load_backbone(ftk.save(model, tmp_path / "model.keras"))
    assert backbone.name == "small"
    assert same(values(backbone), values(model.get_layer("small")))


def test_a_file_of_plain_keras_is_loaded_with_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "plain.keras"
    small_backbone().save(path)
    assert ftk.load(path).name == "small"
    assert "was not saved by finetunekit" in caplog.text


def test_a_loss_that_is_not_known_leaves_the_model_uncompiled(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def own_loss(y_true: object, y_pred: object) -> object:
        return keras.ops.mean((y_true - y_pred) ** 2, axis=-1)

    model = ftk.add_head(small_backbone(), "regression")
    model.compile("adam", own_loss)
    path = ftk.save(model, tmp_path / "model.keras")
    assert not ftk.load(path).compiled
    assert "without its compile() settings" in caplog.text
    assert ftk.load(path, custom_objects={"own_loss": own_loss}).compiled


@pytest.mark.parametrize("moment", ["writing", "the member", "the exchange"])
def test_a_failed_save_leaves_the_old_file(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.keras"
    ftk.save(small_backbone(), path)
    before = path.read_bytes()

    def fail(*arguments: object, **options: object) -> None:
        raise OSError("no space left")

    target = {
        "writing": (keras.Model, "save"),
        "the member": (zipfile.ZipFile, "writestr"),
        "the exchange": (os, "replace"),
    }[moment]
    monkeypatch.setattr(*target, fail)
    with pytest.raises(OSError, match="no space left"):
        ftk.save(small_sequential(), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["model.keras"]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"version": 99}, id="newer version"),
        pytest.param({"version": "x"}, id="no version"),
        pytest.param({"task": {"name": "binary"}}, id="task cut short"),
        pytest.param({"frozen_variables": {"nowhere": ["kernel"]}}, id="unknown layer"),
        pytest.param({"contract": {"size": 3}}, id="damaged contract"),
        pytest.param("not json", id="no JSON"),
        pytest.param([], id="a list"),
    ],
)
def test_a_damaged_member_is_an_error_with_a_remedy(change: object, tmp_path: Path) -> None:
    model = ftk.add_head(tiny_backbone(), "binary")
    path = Path(ftk.save(model, tmp_path / "model.keras"))
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    record = json.loads(members["finetunekit.json"])
    new = json.dumps(record | change) if isinstance(change, dict) else change
    members["finetunekit.json"] = (new if isinstance(new, str) else json.dumps(new)).encode()
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    with pytest.raises(ValueError, match=r"again|Upgrade"):
        ftk.load(path)
    assert keras.saving.load_model(path).name == model.name
