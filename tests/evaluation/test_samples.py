"""Are samples run as they are, from files, texts, arrays and whatever comes in batches?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from answering import answering, brightness
from snippets import write_photos
from sources import Batches
from text_models import letters, with_tokenizer


def test_paths_and_folders_of_images(tmp_path: Path) -> None:
    write_photos(tmp_path, each=2)
    (tmp_path / "red" / "notes.txt").write_text("no image")
    model = brightness()
    file = tmp_path / "red" / "00.png"
    for given in (file, str(file), [file], iter([file])):
        (found,) = ftk.predict(model, given)
        assert (found.label, found.source) == ("red", str(file))
        assert str(found).startswith(f"{file}: red ")
    found = ftk.predict(model, tmp_path)
    assert [row.source for row in found] == sorted(map(str, tmp_path.rglob("*.png")))
    assert [row.label for row in found] == ["blue"] * 2 + ["green"] * 2 + ["red"] * 2


def test_an_image_that_is_not_there_or_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    for name, error in (("absent.png", FileNotFoundError), ("text.png", ValueError)):
        with pytest.raises(error, match=name):
            ftk.predict(brightness(), tmp_path / name)


def test_texts_one_alone_many_and_pairs() -> None:
    model = ftk.add_head(with_tokenizer(), "multiclass", 3)
    texts, _ = letters(5)
    found = ftk.predict(model, texts)
    table = model.predict(ftk.tokenize(model, texts), verbose=0)
    for row, wanted in zip(found, table, strict=True):
        assert [row.probabilities[name] for name in "012"] == pytest.approx(wanted, abs=1e-6)
    (alone,) = ftk.predict(model, texts[0])
    assert alone.probability == pytest.approx(found[0].probability, abs=1e-6)
    pairs = list(zip(texts, texts[::-1], strict=True))
    assert len(ftk.predict(model, pairs)) == 5


def test_pipelines_and_a_pydataset_give_what_arrays_give(tmp_path: Path) -> None:
    write_photos(tmp_path, each=2)
    model = brightness()
    options = {"image_size": (8, 8), "batch_size": 4, "verbose": False}
    data = keras.utils.image_dataset_from_directory(tmp_path, shuffle=False, **options)
    x = np.concatenate([batch for batch, _ in data])
    wanted = ftk.predict(model, x)
    assert [row.label for row in wanted] == ["blue"] * 2 + ["green"] * 2 + ["red"] * 2
    alone = data.map(lambda images, _: images)

    class Batches(keras.utils.PyDataset):
        def __len__(self) -> int:
            return 2

        def __getitem__(self, number: int) -> tuple[np.ndarray, ...]:
            return x[4 * number : 4 * number + 4], np.zeros(4), np.ones(4)

    for given in (data, alone, Batches()):
        found = ftk.predict(model, given)
        assert [row.label for row in found] == [row.label for row in wanted]
        assert found[0].probability == pytest.approx(wanted[0].probability)


def test_texts_of_a_pipeline_are_tokenized() -> None:
    import tensorflow as tf

    model = ftk.add_head(with_tokenizer(), "binary")
    texts, y = letters(7)
    wanted = [row.probability for row in ftk.predict(model, texts)]
    data = tf.data.Dataset.from_tensor_slices((texts, y)).batch(3)
    assert [row.probability for row in ftk.predict(model, data)] == pytest.approx(wanted, abs=1e-6)
    pairs = tf.data.Dataset.from_tensor_slices(((texts, texts), y)).batch(3)
    wanted = ftk.predict(model, list(zip(texts, texts, strict=True)))
    found = ftk.predict(model, pairs)
    assert found[0].probability == pytest.approx(wanted[0].probability, abs=1e-6)


def test_nan_is_an_error_and_not_a_class() -> None:
    model = answering("multiclass", 2, num_classes=2)
    model.get_layer("head").set_weights([np.eye(2), np.array([np.nan, 0])])
    with pytest.raises(ValueError, match="NaN or infinity for 3 of 3 samples"):
        ftk.predict(model, np.zeros((3, 2)))


def test_raw_pixels_are_not_fed_to_a_model_of_scaled_ones(tmp_path: Path) -> None:
    write_photos(tmp_path, each=1)
    backbone = ftk.load_backbone(
        "builtin:mobilenet_v2", input_shape=(32, 32, 3), preprocessing="outside"
    )
    model = ftk.add_head(backbone, "multiclass", 3)
    with pytest.raises(ValueError, match=r"read as pixels of 0 to 255.*preprocessing='inside'"):
        ftk.predict(model, tmp_path)


def test_a_smaller_last_batch_is_not_traced_anew(tmp_path: Path) -> None:
    traced = []

    class Traced(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            traced.append(x.shape)
            return 2 * x

    inputs = keras.Input((2,))
    model = keras.Model(inputs, Traced()(inputs))
    model = ftk.add_head(model, "regression", num_classes=2)
    model.get_layer("head").set_weights([np.eye(2), np.zeros(2)])
    x = np.arange(20, dtype="float32").reshape(10, 2)
    traced.clear()
    found = ftk.predict(model, (x[at : at + 4] for at in range(0, 10, 4)))
    assert [row.values["1"] for row in found] == (2 * x[:, 1]).tolist()
    assert len(traced) == 1


def test_pixels_of_unknown_scale_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_photos(tmp_path, each=1)
    inputs = keras.Input((8, 8, 3))
    unknown = ftk.add_head(keras.Model(inputs, keras.layers.Flatten()(inputs)), "binary")
    for model, told in ((brightness(), False), (unknown, True)):
        caplog.clear()
        ftk.predict(model, tmp_path / "red")
        assert ("it is not known whether" in caplog.text) is told


@pytest.mark.parametrize("verbose", [0, 1])
def test_batches_show_their_progress_if_wanted(
    verbose: int, capsys: pytest.CaptureFixture[str]
) -> None:
    x = np.zeros((10, 1), "float32")
    ftk.predict(answering("regression", 1), Batches(x), verbose=verbose)
    assert ("3/3" in capsys.readouterr().out) is bool(verbose)
