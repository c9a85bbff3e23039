"""Does fit give what model.fit gives, with stale functions renewed and labels understood?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

import finetunekit as ftk
from models import (
    L,
    Subclassed,
    images,
    labels,
    same,
    small_backbone,
    tiny_backbone,
    values,
)
from parameters import often


def seeded(
    task: str = "binary",
    *arguments: object,
    backbone: Callable[[], keras.Model] = tiny_backbone,
    **options: object,
) -> keras.Model:
    keras.utils.set_random_seed(1)
    model = ftk.add_head(backbone(), task, *arguments, **options)
    return ftk.compile_for_task(model, optimizer=keras.optimizers.SGD(1e-4, momentum=0.9))


def test_unshuffled_it_is_model_fit_to_the_bit() -> None:
    x, y = images(40), labels(40)
    one, other = seeded(backbone=small_backbone), seeded(backbone=small_backbone)
    options = {
        "epochs": 2,
        "batch_size": 8,
        "shuffle": False,
        "validation_split": 0.2,
        "verbose": 0,
    }
    plain = one.fit(x, y, **options).history
    ours = ftk.fit(other, x, y, **options).history
    assert plain == ours
    assert all(
        np.array_equal(a, b)
        for a, b in zip(values(one).values(), values(other).values(), strict=True)
    )


def test_shuffled_it_is_model_fit_on_the_same_order() -> None:
    from finetunekit.data.order import epoch_order

    x, y = images(20), labels(20)
    one, other = seeded(), seeded()
    ftk.fit(other, x, y, epochs=2, batch_size=8, seed=3, verbose=0)
    for epoch in range(2):
        rows = epoch_order(20, 3, epoch)
        one.fit(x[rows], y[rows], batch_size=8, shuffle=False, verbose=0)
    assert all(
        np.array_equal(a, b)
        for a, b in zip(values(one).values(), values(other).values(), strict=True)
    )


FORMS = ["list", "tensor", "uint8", "list of arrays", "column"]


@pytest.mark.parametrize("form", often(FORMS, ("list", "column")))
def test_arrays_come_in_many_forms(form: str) -> None:
    x, y = images(8), labels(8)
    forms = {
        "list": (list(x), y.tolist()),
        "tensor": (keras.ops.convert_to_tensor(x), keras.ops.convert_to_tensor(y)),
        "uint8": (x.astype("uint8"), y.astype("uint8")),
        "list of arrays": ([x], y),
        "column": (x.astype("float64"), y[:, None]),
    }
    history = ftk.fit(seeded(), *forms[form], verbose=0)
    assert np.isfinite(history.history["loss"][0])


@pytest.mark.parametrize("kind", often(["dataset", "PyDataset"], ("dataset",)))
def test_pipelines_keep_their_own_order(kind: str) -> None:
    import tensorflow as tf

    x, y = images(20), labels(20)

    class Batches(keras.utils.PyDataset):
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            rows = slice(8 * index, 8 * index + 8)
            return x[rows], y[rows]

    pipeline = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
    one, other = seeded(), seeded()
    one.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    data = Batches() if kind == "PyDataset" else pipeline
    ftk.fit(other, data, shuffle=kind == "dataset", verbose=0)
    assert all(
        np.array_equal(a, b)
        for a, b in zip(values(one).values(), values(other).values(), strict=True)
    )


@pytest.mark.parametrize("pipeline", often([False, True], (True,)))
def test_one_hot_labels_and_class_numbers_are_both_right(pipeline: bool) -> None:
    import tensorflow as tf

    x, numbers = images(24), labels(24, 3)
    histories = []
    for y in (numbers, np.eye(3, dtype="float32")[numbers]):
        model = seeded("multiclass", 3)
        data = (tf.data.Dataset.from_tensor_slices((x, y)).batch(8),) if pipeline else (x, y)
        histories.append(
            ftk.fit(model, *data, shuffle=False, batch_size=8, verbose=0).history
            if not pipeline
            else ftk.fit(model, *data, verbose=0).history
        )
    assert histories[0].keys() == histories[1].keys() == {"loss", "accuracy"}
    for name in histories[0]:
        assert histories[0][name] == pytest.approx(histories[1][name], rel=1e-5)


def test_the_optimizer_survives_a_change_of_label_form() -> None:
    model = seeded("multiclass", 3)
    x, y = images(24), labels(24, 3)
    ftk.fit(model, x, y, verbose=0)
    optimizer = model.optimizer
    ftk.fit(model, x, np.eye(3)[y], verbose=0)
    assert model.optimizer is optimizer
    assert int(optimizer.iterations) == 2


def test_what_the_user_gave_survives_a_change_of_label_form() -> None:
    model = ftk.add_head(tiny_backbone(), "multiclass", 3)
    metrics = [keras.metrics.MeanAbsoluteError(name="mine")]
    ftk.compile_for_task(model, metrics=metrics, loss_weights=[5.0])
    rows = np.eye(3, dtype="float32")[labels(24, 3)]
    history = ftk.fit(model, images(24), rows, shuffle=False, batch_size=24, verbose=0).history
    assert history.keys() == {"loss", "mine"}
    ftk.compile_for_task(model, loss_weights=[1.0])
    single = model.evaluate(images(24), rows, verbose=0)[0]
    assert history["loss"][0] > 3 * single


def test_a_model_compiled_by_hand_since_keeps_its_loss_and_rate(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = ftk.compile_for_task(ftk.add_head(tiny_backbone(), "multiclass", 3))
    loss = keras.losses.CategoricalFocalCrossentropy()
    model.compile(keras.optimizers.SGD(0.1), loss, metrics=["accuracy"])
    ftk.freeze_layers(model, "backbone")
    ftk.fit(model, images(24), np.eye(3, dtype="float32")[labels(24, 3)], verbose=0)
    assert model.loss is loss
    assert "was picked when" not in caplog.text


def test_a_checkpoint_of_every_epoch_needs_no_validation(tmp_path: Path) -> None:
    path = tmp_path / "epoch.keras"
    ftk.fit(
        seeded(), images(), labels(), verbose=0, callbacks=[keras.callbacks.ModelCheckpoint(path)]
    )
    assert path.exists()
    best = keras.callbacks.ModelCheckpoint(path, save_best_only=True)
    with pytest.raises(ValueError, match="Validation values need"):
        ftk.fit(seeded(), images(), labels(), verbose=0, callbacks=[best])


def test_a_rate_for_another_part_is_said(caplog: pytest.LogCaptureFixture) -> None:
    model = ftk.compile_for_task(ftk.add_head(ftk.freeze_layers(tiny_backbone()), "binary"))
    ftk.fit(model, images(), labels(), verbose=0)
    assert "was picked when" not in caplog.text
    ftk.unfreeze_layers(model)
    ftk.fit(model, images(), labels(), verbose=0)
    assert "was picked when the head alone trained, but everything trains now" in caplog.text


def test_the_task_of_a_model_made_elsewhere_is_told_from_its_loss() -> None:
    model = keras.Sequential([keras.Input((4,)), L.Dense(1)])
    model.compile("sgd", keras.losses.BinaryCrossentropy(from_logits=True))
    x, y = np.ones((8, 4), "float32"), labels(8)
    ftk.fit(model, x, y, class_weight="balanced", verbose=0)
    with pytest.raises(ValueError, match="between 0"):
        ftk.fit(model, x, 3 * y, verbose=0)


def test_a_flag_set_by_hand_after_compile_takes_effect() -> None:
    model = seeded()
    ftk.fit(model, images(), labels(), verbose=0)
    model.get_layer("tiny").get_layer("conv1").trainable = False
    before = values(model.get_layer("tiny").get_layer("conv1"))
    ftk.fit(model, images(), labels(), verbose=0)
    assert same(before, values(model.get_layer("tiny").get_layer("conv1")))
    model.get_layer("tiny").get_layer("conv1").trainable = True
    ftk.fit(model, images(), labels(), verbose=0)
    assert not same(before, values(model.get_layer("tiny").get_layer("conv1")))


def test_a_dropout_rate_set_by_hand_takes_effect() -> None:
    inputs = keras.Input((50,))
    outputs = L.Dense(1, use_bias=False, kernel_initializer="ones")(L.Dropout(0.1)(inputs))
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    x, y = np.ones((256, 50), "float32"), np.full((256, 1), 50, "float32")
    low = ftk.fit(model, x, y, verbose=0).history["loss"][0]
    model.layers[1].rate = 0.8
    assert ftk.fit(model, x, y, verbose=0).history["loss"][0] > 5 * low


def test_models_without_a_task_are_fitted_too() -> None:
    model = Subclassed()
    model(images(2))
    model.compile("adam", "mse")
    assert ftk.fit(model, images(), labels(), verbose=0).history["loss"]


def test_a_generator_trains_no_step_too_many() -> None:
    def batches() -> object:
        while True:
            yield images(8), labels(8)

    model = seeded()
    ftk.fit(model, batches(), steps_per_epoch=5, epochs=2, verbose=0)
    assert int(model.optimizer.iterations) == 10


def test_a_split_with_rare_classes_warns(caplog: pytest.LogCaptureFixture) -> None:
    x, y = images(20), labels(20)
    y[-5:] = 0
    y[:15] = np.arange(15) % 2
    y[10:15] = 0
    y[3:10] = 0
    ftk.fit(seeded(), x, y, validation_split=0.25, verbose=0)
    assert "so few samples of" in caplog.text
