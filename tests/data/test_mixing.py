"""Are images and labels mixed by Keras' layers, the same ones, and is all as before after?"""

from __future__ import annotations

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.data.array_batches import Cutting, MixedArrayBatches
from finetunekit.data.arrays import Arrays
from models import L, images, labels, tiny_backbone


def classifier(task: str = "multiclass", classes: int | None = 3) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = ftk.add_head(tiny_backbone(), task, classes)
    ftk.freeze_layers(model, "backbone")
    return ftk.compile_for_task(model)


def test_pictures_and_labels_are_mixed_in_the_same_shares() -> None:
    """Picture i is the constant i, so its mean tells what it was mixed of."""
    numbers = np.arange(8, dtype="float32")
    x = np.broadcast_to(numbers[:, None, None, None], (8, 4, 4, 3))
    y = np.eye(8, dtype="float32")
    layer = L.MixUp(alpha=1.0, seed=3)
    found = MixedArrayBatches(Arrays(x, y), [layer], Cutting(size=8)).for_keras(0).x[0]
    mixed, shares = (np.array(part) for part in found)
    np.testing.assert_allclose(mixed.mean(axis=(1, 2, 3)), shares @ numbers, rtol=1e-5)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, rtol=1e-5)
    assert (shares.max(axis=1) < 0.999).any()


def test_batches_differ_from_epoch_to_epoch() -> None:
    x, y = images(8), np.eye(2, dtype="float32")[labels(8)]
    batches = MixedArrayBatches(Arrays(x, y), [L.CutMix(seed=1)], Cutting(size=8)).for_keras(0).x
    one, other = np.array(batches[0][0]), np.array(batches[0][0])
    assert (one != other).any()


@pytest.mark.parametrize("mix", [[L.MixUp(0.2, seed=1), L.CutMix(seed=2)]])
def test_class_numbers_go_in_and_evaluate_takes_them_after(mix: object) -> None:
    model, y = classifier(), labels(classes=3)
    found = ftk.fit(model, images(), y, epochs=2, mix=mix, validation_split=0.25, seed=0, verbose=0)
    assert len(found.history["val_accuracy"]) == 2
    assert np.isfinite(model.evaluate(images(), y, verbose=0)).all()
    assert isinstance(model.loss, keras.losses.SparseCategoricalCrossentropy)


def test_without_mixing_shares_it_is_the_plain_training() -> None:
    """Beta(a, a) for tiny a gives 0 or 1: each image keeps a whole label, its own."""
    model = classifier()
    losses = []
    for mix in (L.MixUp(1e-6, seed=1), None):
        keras.utils.set_random_seed(0)
        model = classifier()
        found = ftk.fit(
            model,
            images(),
            np.eye(3)[labels(classes=3)],
            epochs=1,
            mix=mix,
            batch_size=32,
            verbose=0,
            cache=False,
        )
        losses.append(found.history["loss"][0])
    assert losses[0] == pytest.approx(losses[1], rel=0.3)


@pytest.mark.parametrize(("task", "classes"), [("binary", None), ("multilabel", 3)])
def test_other_tasks(task: str, classes: int | None) -> None:
    model = classifier(task, classes)
    y = labels() if classes is None else np.eye(3)[labels(classes=3)]
    found = ftk.fit(model, images(), y, epochs=1, mix=L.MixUp(seed=1), verbose=0)
    assert np.isfinite(found.history["loss"]).all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"mix": L.RandomFlip()}, TypeError, "`mix` must be keras.layers.MixUp"),
        ({"mix": L.MixUp(), "class_weight": "balanced"}, ValueError, "do not go together"),
        ({"mix": L.MixUp(), "cache": True}, ValueError, "`cache` is not possible: mixed samples"),
    ],
)
def test_what_cannot_be_mixed_is_told(options: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        ftk.fit(classifier(), images(), labels(classes=3), verbose=0, **options)


def test_a_validation_pipeline_of_integer_labels_is_told() -> None:
    import tensorflow as tf

    y = labels(classes=3)
    data = tf.data.Dataset.from_tensor_slices((images(), y)).batch(8)
    options = {"mix": L.MixUp(), "validation_data": data, "verbose": 0}
    with pytest.raises(ValueError, match=r"`mix` .* one-hot.*tf.one_hot\(y, 3\)"):
        ftk.fit(classifier(), images(), y, **options)


def test_a_pipeline_or_a_loss_of_class_numbers_is_told() -> None:
    import tensorflow as tf

    model, y = classifier(), labels(classes=3)
    data = tf.data.Dataset.from_tensor_slices((images(), y)).batch(8)
    with pytest.raises(ValueError, match="`mix` needs arrays"):
        ftk.fit(model, data, mix=L.MixUp(), verbose=0)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(), metrics=[])
    with pytest.raises(ValueError, match="takes integer labels"):
        ftk.fit(model, images(), y, mix=L.MixUp(), verbose=0)
