"""Do injected penalties act at once, by the right amount, survive a file, and come out again?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import finetunekit as ftk
from models import L, images, labels, same, small_backbone, tiny_backbone, values


def zoo() -> keras.Model:
    """Every kind of kernel in one model."""
    image = keras.Input((8, 8, 3), name="image")
    x = L.Conv2D(4, 3, name="conv")(image)
    x = L.DepthwiseConv2D(3, name="depthwise")(x)
    x = L.SeparableConv2D(4, 3, name="separable")(x)
    x = L.BatchNormalization(name="bn")(x)
    x = L.GlobalAveragePooling2D()(x)
    ids = keras.Input((5,), dtype="int32", name="ids")
    y = L.Embedding(10, 4, name="embedding")(ids)
    y = L.MultiHeadAttention(2, 4, name="attention")(y, y)
    y = L.EinsumDense("abc,cd->abd", output_shape=(None, 4), name="einsum")(y)
    y = L.LSTM(4, name="lstm")(y)
    out = L.Dense(1, name="dense")(L.Concatenate()([x, y]))
    return keras.Model([image, ids], out)


# conv, depthwise, 2 of separable, embedding, 4 of attention, einsum, 2 of lstm, dense
KERNELS = 1 + 1 + 2 + 1 + 4 + 1 + 2 + 1


def kernel_sum(model: keras.Model, power: int) -> float:
    """Sum of |w| ** power over all variables that are kernels, by their names."""
    names = ("kernel", "embeddings", "depthwise_kernel", "pointwise_kernel", "recurrent_kernel")
    return sum(
        float(np.sum(np.abs(keras.ops.convert_to_numpy(v)) ** power))
        for v in model.trainable_variables
        if v.name in names
    )


def test_every_kind_of_kernel_by_the_formula() -> None:
    model = zoo()
    ftk.inject_regularizer(model, l1=0.01, l2=0.02)
    assert len(model.losses) == KERNELS
    expected = 0.01 * kernel_sum(model, 1) + 0.02 * kernel_sum(model, 2)
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)
    ftk.remove_regularizer(model)
    assert model.losses == []


@pytest.mark.slow
def test_survives_the_file_in_plain_keras(tmp_path: Path) -> None:
    model = ftk.inject_regularizer(zoo(), l2=0.02)
    path = ftk.save(model, tmp_path / "model.keras")
    program = (
        "import sys; sys.modules['finetunekit'] = None; import keras; "
        "model = keras.saving.load_model(sys.argv[1]); "
        "print(len(model.losses), float(sum(model.losses)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, check=True
    )
    count, total = done.stdout.split()[-2:]
    assert int(count) == KERNELS
    assert float(total) == pytest.approx(float(sum(model.losses)), rel=1e-6)


def test_acts_at_once_on_a_fitted_model_in_training_and_validation() -> None:
    model = ftk.add_head(tiny_backbone(), "binary")
    ftk.compile_for_task(model, optimizer=keras.optimizers.SGD(0.0))
    data = {"x": images(), "y": labels(), "validation_data": (images(8), labels(8)), "verbose": 0}
    before = model.fit(**data).history
    ftk.inject_regularizer(model, l2=0.1)
    penalty = float(sum(model.losses))
    assert penalty > 0.1
    after = model.fit(**data).history
    for name in ("loss", "val_loss"):
        assert after[name][0] - before[name][0] == pytest.approx(penalty, rel=1e-4)
    ftk.remove_regularizer(model)
    assert model.fit(**data).history["loss"][0] == pytest.approx(before["loss"][0], rel=1e-5)


def test_disappears_for_frozen_layers() -> None:
    model = ftk.inject_regularizer(small_backbone(), l2=0.1)
    assert len(model.losses) == 3
    ftk.freeze_layers(model, "conv1")
    assert len(model.losses) == 2


def test_takes_the_place_of_an_own_penalty_and_gives_it_back() -> None:
    own = keras.regularizers.L1(0.5)
    model = keras.Sequential([keras.Input((4,)), L.Dense(3, kernel_regularizer=own, name="a")])
    layer = model.get_layer("a")
    ftk.inject_regularizer(model, l2=0.1)
    ftk.inject_regularizer(model, l2=0.2)
    assert isinstance(layer.kernel_regularizer, keras.regularizers.L2)
    ftk.remove_regularizer(model)
    assert layer.kernel_regularizer is own
    assert layer.kernel.regularizer is own


def test_only_the_chosen_layers() -> None:
    model = ftk.add_head(small_backbone(), "binary", hidden_units=[4])
    ftk.inject_regularizer(model, l1=0.1, layers="head")
    assert len(model.losses) == 2


class TestForOneFit:
    def test_acts_during_fit_and_leaves_no_trace(self) -> None:
        model = ftk.add_head(tiny_backbone(), "binary")
        ftk.compile_for_task(model, optimizer=keras.optimizers.SGD(0.0))
        config, before = model.get_config(), values(model)
        data = {"x": images(), "y": labels(), "validation_data": (images(8), labels(8))}
        plain = model.fit(**data, verbose=0).history
        callback = ftk.callbacks.L1L2Injection(l2=0.1)
        with_penalty = model.fit(**data, verbose=0, callbacks=[callback]).history
        kernels = [v for v in model.trainable_variables if v.name == "kernel"]
        penalty = 0.1 * sum(float(keras.ops.sum(kernel**2)) for kernel in kernels)
        for name in ("loss", "val_loss"):
            assert with_penalty[name][0] - plain[name][0] == pytest.approx(penalty, rel=1e-4)
        assert model.losses == []
        assert model.get_config() == config
        assert same(before, values(model))
        assert model.fit(**data, verbose=0).history["loss"][0] == pytest.approx(plain["loss"][0])

    def test_is_undone_when_fit_is_interrupted(self) -> None:
        class Interrupt(keras.callbacks.Callback):
            def on_epoch_end(self, epoch: int, logs: object = None) -> None:
                raise KeyboardInterrupt

        model = ftk.compile_for_task(ftk.add_head(tiny_backbone(), "binary"))
        callbacks = [ftk.callbacks.L1L2Injection(l2=0.1), Interrupt()]
        with pytest.raises(KeyboardInterrupt):
            ftk.fit(model, images(), labels(), verbose=0, callbacks=callbacks)
        assert model.losses == []

    def test_two_add_up_and_leave_no_trace(self, tmp_path: Path) -> None:
        model = ftk.add_head(tiny_backbone(), "binary")
        ftk.compile_for_task(model, optimizer=keras.optimizers.SGD(0.0))
        config, path = model.get_config(), tmp_path / "meanwhile.keras"
        data = {"x": images(), "y": labels(), "verbose": 0}
        plain = ftk.fit(model, **data).history["loss"][0]
        first = ftk.callbacks.L1L2Injection(l1=0.01)
        second = ftk.callbacks.L1L2Injection(l1=0.02, l2=0.1, layers="head")
        saved = ftk.callbacks.SaveBest(path, monitor="loss")
        found = ftk.fit(model, **data, callbacks=[first, second, saved]).history["loss"][0]
        head = ftk.find_layers(model, "head")
        in_head = {id(v) for layer in head.values() for v in layer.weights}
        expected = 0.01 * kernel_sum(model, 1)
        for kernel in [v for v in model.weights if v.name == "kernel" and id(v) in in_head]:
            value = keras.ops.convert_to_numpy(kernel)
            expected += 0.02 * np.abs(value).sum() + 0.1 * (value**2).sum()
        assert found - plain == pytest.approx(expected, rel=1e-4)
        assert model.losses == []
        assert keras.saving.load_model(path).losses == []
        assert model.get_config() == config

    def test_keeps_an_injected_penalty(self) -> None:
        model = ftk.compile_for_task(ftk.add_head(tiny_backbone(), "binary"))
        ftk.inject_regularizer(model, l2=0.1, layers="head")
        callbacks = [ftk.callbacks.L1L2Injection(l1=0.1)]
        ftk.fit(model, images(), labels(), verbose=0, callbacks=callbacks)
        assert len(model.losses) == 1
        ftk.remove_regularizer(model)
        assert model.losses == []
