"""Are a found rate and one call good on real photographs?"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import finetunekit as ftk

pytestmark = pytest.mark.real


def read(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    data = keras.utils.image_dataset_from_directory(
        folder, image_size=(160, 160), batch_size=32, shuffle=False, verbose=False
    )
    parts = [[keras.ops.convert_to_numpy(part) for part in batch] for batch in data]
    x, y = (np.concatenate(rows) for rows in zip(*parts, strict=True))
    return x, y


def head_alone() -> keras.Model:
    keras.utils.set_random_seed(0)
    backbone = ftk.load_backbone("builtin:mobilenet_v2", input_shape=(160, 160, 3))
    model = ftk.add_head(ftk.freeze_layers(backbone), "multiclass", 10)
    return ftk.compile_for_task(model)


def test_the_rate_found_is_near_the_best_of_a_grid(groceries: Path) -> None:
    train, held_out = read(groceries / "train"), read(groceries / "test")
    losses = {}
    for rate in 10 ** np.arange(-4, -0.9, 0.5):
        model = head_alone()
        model.optimizer.learning_rate = float(rate)
        ftk.fit(model, *train, epochs=5, seed=0, verbose=0)
        losses[float(rate)] = model.evaluate(*held_out, verbose=0, return_dict=True)["loss"]
    best = min(losses, key=lambda rate: losses[rate])
    found = ftk.find_learning_rate(head_alone(), *train, verbose=0).suggestion
    assert best / 3 <= found <= best * 3


def test_one_call_on_a_folder_of_photographs(groceries: Path) -> None:
    model, report = ftk.fine_tune(
        "builtin:mobilenet_v2",
        groceries / "train",
        groceries / "val",
        test_data=groceries / "test",
        image_size=160,
        verbose=0,
    )
    assert report.task.num_classes == 10
    assert len(set(report.task.class_names or ())) == 10
    assert report.test is not None
    assert report.test.metrics["accuracy"] > 0.75
    assert report.probe is not None
    assert report.tuned is not None
    found = ftk.predict(model, groceries / "test")
    assert len(found) == 150
    hits = np.mean([row.label == Path(str(row.source)).parent.name for row in found])
    assert hits == pytest.approx(report.test.metrics["accuracy"])
