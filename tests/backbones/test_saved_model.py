"""Does a SavedModel train, freeze and come back as any Keras model does?"""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import finetunekit as ftk
import saved_model_fixtures as fixtures
from finetunekit.backbones.saved_model import SavedModelLayer, folder, read
from models import same, values
from parameters import often

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(1, 2, (32, fixtures.FEATURES)).astype("float32")
Y = RANDOM.normal(size=(32, 1)).astype("float32")

INPUTS: dict[str, Any] = {
    "plain": {"x": X[:, :3], "y": X[:, :4]},
    "with_table": np.array(["cat", "sat", "unknown"] * 4, dtype=object),
    "counted": {"tokens": np.arange(36).reshape(12, 3) % 6, "mask": X[:12, :3]},
    "version_one": X[:, :3],
    "version_one_words": np.array(["cat", "sat"], dtype=object),
}
KINDS = {
    # Name: trainable, all variables.
    "reusable": (3, 7),
    "plain": (3, 3),
    "with_table": (1, 1),
    "counted": (1, 2),
    "signature_only": (0, 7),
    "uncallable": (0, 7),
    "keras_export": (6, 8),
    "legacy_keras": (6, 8),
    "version_one": (0, 1),
    "version_one_words": (0, 1),
}
OFTEN = ("reusable", "with_table", "keras_export", "version_one")


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """The path of a SavedModel by the name of its kind; each is written once."""
    root = tmp_path_factory.mktemp("saved_models")

    def make_one(name: str) -> str:
        found = root / name
        if not found.exists():
            return getattr(fixtures, name)(found)
        inner = [entry for entry in found.iterdir() if (entry / "saved_model.pb").exists()]
        return str(inner[0] if inner else found)

    return make_one


@pytest.fixture
def as_in_a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """No layer finds the SavedModel of another one in this process."""
    monkeypatch.setattr(folder, "living", lambda *args, **options: None)


def with_head(path: str, **options: Any) -> keras.Model:
    backbone = read(path, safe_mode=True, **options)
    return keras.Model(backbone.input, keras.layers.Dense(1, name="top")(backbone.output))


def compiled(model: keras.Model, optimizer: Any = "adam") -> keras.Model:
    model.compile(keras.optimizers.get(optimizer), "mse")
    return model


def batch(name: str) -> Any:
    return INPUTS.get(name, X)


def tensors(data: Any) -> Any:
    if isinstance(data, dict):
        return {name: tensors(value) for name, value in data.items()}
    return tf.constant(data if data.dtype != np.int64 else data.astype("int32"))


def flat(outputs: Any) -> list[np.ndarray]:
    return [np.asarray(value) for value in keras.tree.flatten(outputs)]


def moved(model: keras.Model, before: dict[str, np.ndarray]) -> set[str]:
    """The paths of variables that differ."""
    now = values(model)
    names = {name for name, value in now.items() if not np.array_equal(value, before[name])}
    return {path(name.split(":")[1]) for name in names}


def path(name: str) -> str:
    """A variable's path in the SavedModel: its layer is named as it is."""
    parts = name.removeprefix("saved_model/").split("/")
    return "/".join(parts[:-1] if len(parts) > 1 and parts[-1] == parts[-2] else parts)


class TestKinds:
    @pytest.mark.parametrize("name", often(KINDS, OFTEN))
    def test_it_predicts_as_tensorflow_does(self, name: str, make: Callable[[str], str]) -> None:
        path = make(name)
        model = read(path, safe_mode=True)
        assert (len(model.trainable_variables), len(model.variables)) == KINDS[name]
        tags = ["serve"] if name == "version_one_words" else None
        loaded, x = tf.saved_model.load(path, tags=tags), tensors(batch(name))
        if KINDS[name][0] == 0:
            wanted = loaded.signatures["serving_default"](x=x)
        elif name == "plain":
            wanted = loaded(**x)
        else:
            call = loaded.serve if name == "keras_export" else loaded
            wanted = call(x)
        pairs = zip(flat(model(x)), flat(wanted), strict=True)
        assert max(np.abs(mine - theirs).max() for mine, theirs in pairs) == 0

    @pytest.mark.parametrize("name", often(KINDS, OFTEN))
    def test_it_comes_back_without_its_folder(
        self, name: str, make: Callable[[str], str], tmp_path: Path, as_in_a_new_process: None
    ) -> None:
        path = shutil.copytree(make(name), tmp_path / "source")
        model = read(str(path), safe_mode=True)
        for variable in model.trainable_variables:
            variable.assign(variable.value * 1.5)
        shutil.rmtree(path)
        model.save(tmp_path / "keras.keras")
        ftk.save(model, tmp_path / "ours.keras")
        x = tensors(batch(name))
        wanted = flat(model(x))
        for other in (
            keras.saving.load_model(tmp_path / "keras.keras"),
            ftk.load(tmp_path / "ours.keras"),
            ftk.load_backbone(tmp_path / "ours.keras"),
        ):
            assert all(np.array_equal(a, b) for a, b in zip(flat(other(x)), wanted, strict=True))

    @pytest.mark.parametrize(
        "name",
        often(
            ["reusable", "with_table", "counted", "legacy_keras"], ("with_table", "legacy_keras")
        ),
    )
    def test_export(self, name: str, make: Callable[[str], str], tmp_path: Path) -> None:
        model = read(make(name), safe_mode=True)
        model.export(str(tmp_path / "exported"), verbose=False)
        x = tensors(batch(name))
        exported = tf.saved_model.load(str(tmp_path / "exported"))
        served = exported.serve(x)
        assert np.array_equal(served, model(x))
        again = read(str(tmp_path / "exported"), safe_mode=True)
        assert np.array_equal(again(x), served)

    def test_words_train(self, make: Callable[[str], str]) -> None:
        model = compiled(with_head(make("with_table")))
        x = tf.constant(["cat", "sat"] * 8)
        before = values(model)
        data = tf.data.Dataset.from_tensor_slices((x, Y[:16])).batch(4)
        model.fit(data, verbose=0, shuffle=False)
        assert "words/embeddings" in moved(model, before)

    def test_a_function_by_name_trains_and_a_signature_does_not(
        self, make: Callable[[str], str]
    ) -> None:
        path = make("uncallable")
        assert len(read(path, safe_mode=True, signature="encode").trainable_variables) == 3
        frozen = read(path, safe_mode=True, signature="serving_default")
        assert frozen.trainable_variables == []
        ftk.unfreeze_layers(frozen, batch_norm=True)
        assert frozen.trainable_variables == []

    @pytest.mark.parametrize("name", ["reusable", "plain"])
    def test_an_unknown_signature_names_those_there(
        self, name: str, make: Callable[[str], str]
    ) -> None:
        with pytest.raises(ValueError, match=r"__call__.*signature='nothing'"):
            SavedModelLayer(make(name), signature="nothing")

    def test_nothing_to_call(self, tmp_path: Path) -> None:
        module = tf.Module()
        module.weight = tf.Variable(1.0)
        with pytest.raises(ValueError, match=r"without `__call__`.*It has 'weight'"):
            SavedModelLayer(fixtures.saved(module, tmp_path / "m"))

    def test_training_as_a_tensor(self, tmp_path: Path) -> None:
        class Switched(tf.Module):
            @tf.function(
                input_signature=[tf.TensorSpec((None, 2)), tf.TensorSpec((), tf.bool, "training")]
            )
            def __call__(self, inputs: Any, training: Any) -> Any:
                return tf.where(training, inputs * 2, inputs)

        module = Switched()
        module.weight = tf.Variable(1.0)
        layer = SavedModelLayer(fixtures.saved(module, tmp_path / "m"))
        assert np.array_equal(layer(np.ones((1, 2)), training=False), np.ones((1, 2)))

    @pytest.mark.parametrize("training", [True, False])
    def test_one_mode_only(self, training: bool, tmp_path: Path) -> None:
        """It runs as it was saved; constants that it was traced with are given again."""

        class Scaled(tf.Module):
            def __init__(self) -> None:
                super().__init__()
                self.weight = tf.Variable(2.0)

            @tf.function
            def __call__(
                self, x: Any, scale: int = 1, training: Any = None, *, add: int = 0
            ) -> Any:
                return x * scale * self.weight + add if training else -x

        module = Scaled()
        module.__call__.get_concrete_function(tf.TensorSpec((None, 2)), 3, training=training, add=1)
        model = read(fixtures.saved(module, tmp_path / "m"), safe_mode=True)
        wanted = 7 if training else -1
        for asked in (True, False):
            assert np.array_equal(model(np.ones((1, 2)), training=asked), [[wanted] * 2])

    def test_outputs_that_are_none_are_left_out(self, tmp_path: Path) -> None:
        class Several(tf.Module):
            @tf.function(input_signature=[tf.TensorSpec((1, 2), name="x")])
            def __call__(self, x: Any) -> Any:
                return x, None, [x * 2]

        model = read(fixtures.saved(Several(), tmp_path / "m"), safe_mode=True)
        assert model.input_shape == (1, 2)
        assert [np.asarray(v).max() for v in flat(model(np.ones((1, 2))))] == [1, 2]

    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            (tf.RaggedTensorSpec((None, None), tf.float32), "ragged or sparse"),
            (tf.TensorSpec(None), "any number of dimensions"),
            (tf.TensorSpec((None,)), "outputs of known rank"),
        ],
    )
    def test_what_keras_cannot_hold(self, spec: Any, message: str, tmp_path: Path) -> None:
        class Loose(tf.Module):
            @tf.function(input_signature=[spec])
            def __call__(self, x: Any) -> Any:
                if message.startswith("outputs"):
                    return tf.reshape(x, tf.cast(x, tf.int32))
                return tf.reduce_sum(x)

        path = fixtures.saved(Loose(), tmp_path / "m")
        with pytest.raises(ValueError, match=message):
            read(path, safe_mode=True)

    def test_inputs_in_order(self, make: Callable[[str], str]) -> None:
        layer = SavedModelLayer(make("plain"))
        x = INPUTS["plain"]
        assert np.array_equal(layer([x["x"], x["y"]])["sum"], layer(x)["sum"])

    def test_inputs_that_do_not_fit(self, make: Callable[[str], str]) -> None:
        layer = SavedModelLayer(make("reusable"))
        with pytest.raises(ValueError, match=r"which takes float32:\?,6"):
            layer(np.ones((2, 3), "float32"))
        with pytest.raises(ValueError, match="`inputs` must be a dict or list for 'x', 'y'"):
            SavedModelLayer(make("plain"))({"x": np.ones((2, 3), "float32")})

    def test_sequential_mixed_precision_and_whole_numbers(self, make: Callable[[str], str]) -> None:
        keras.config.set_dtype_policy("mixed_bfloat16")
        layer = SavedModelLayer(make("reusable"), name="encoder")
        model = keras.Sequential([keras.Input((6,), dtype="int32"), layer, keras.layers.Dense(1)])
        compiled(model).fit(X.astype("int32"), Y, verbose=0)
        assert {v.dtype for v in layer.variables} == {"float32"}


class TestTraining:
    @pytest.mark.parametrize(
        "optimizer",
        [
            keras.optimizers.Adam,
            pytest.param(keras.optimizers.RMSprop, marks=pytest.mark.slow),
            pytest.param(lambda: keras.optimizers.SGD(0.01, momentum=0.9), marks=pytest.mark.slow),
            lambda: keras.optimizers.Adam(use_ema=True),
            pytest.param(keras.optimizers.Lion, marks=pytest.mark.slow),
        ],
    )
    def test_every_optimizer(self, optimizer: Any, make: Callable[[str], str]) -> None:
        model = compiled(with_head(make("reusable")), optimizer())
        before = values(model)
        model.fit(X, Y, verbose=0)
        assert len(moved(model, before)) == 5
        ftk.unfreeze_layers(model, "moving_.*", batch_norm=True)
        model.fit(X, Y, verbose=0)
        assert len(moved(model, before)) == 9

    def test_a_step_is_the_one_that_tensorflow_takes(self, make: Callable[[str], str]) -> None:
        path = make("reusable")
        model = read(path, safe_mode=True)
        ftk.unfreeze_layers(model, "moving_.*", batch_norm=True)
        model.compile(keras.optimizers.SGD(0.1), "mse")
        target = np.tile(Y, 4)
        loss = model.train_on_batch(X, target)
        loaded = tf.saved_model.load(path)
        with tf.GradientTape() as tape:
            plain = tf.reduce_mean((loaded(X, training=True) - target) ** 2)
            whole = plain + sum(penalty() for penalty in loaded.regularization_losses)
        for variable, gradient in zip(
            loaded.trainable_variables,
            tape.gradient(whole, loaded.trainable_variables),
            strict=True,
        ):
            variable.assign_sub(0.1 * gradient)
        assert loss == pytest.approx(float(whole), rel=1e-6)
        assert float(whole) > float(plain)
        layer = model.layers[-1]
        for mine, theirs in zip(layer.variables, _by_path(loaded, layer), strict=True):
            assert np.allclose(mine.numpy(), theirs, atol=1e-7)

    def test_the_penalty_of_frozen_variables_is_left_out(self, make: Callable[[str], str]) -> None:
        model = compiled(with_head(make("reusable")))
        with_penalty = model.evaluate(X, Y, verbose=0)
        ftk.freeze_layers(model, "block1/dense")
        without = model.evaluate(X, Y, verbose=0)
        found = [v for v in model.variables if v.path.endswith("block1/dense/kernel/kernel")]
        penalty = 0.01 * (found[0].numpy() ** 2).sum()
        assert with_penalty - without == pytest.approx(penalty, rel=1e-4)

    def test_on_a_head_of_ours(self, make: Callable[[str], str], tmp_path: Path) -> None:
        model = ftk.add_head(read(make("legacy_keras"), safe_mode=True), "binary")
        ftk.compile_for_task(model)
        ftk.fit(model, X, np.arange(32) % 2, verbose=0)
        ftk.save(model, tmp_path / "m.keras")
        loaded = ftk.load(tmp_path / "m.keras")
        assert np.array_equal(loaded.predict(X, verbose=0), model.predict(X, verbose=0))

    def test_spatial_outputs(self, tmp_path: Path) -> None:
        backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
        backbone.export(str(tmp_path / "conv"), verbose=False)
        model = ftk.add_head(read(str(tmp_path / "conv"), safe_mode=True), "multiclass", 3)
        assert model.output_shape == (None, 3)
        assert len(model.trainable_variables) == 4


def _by_path(loaded: Any, layer: Any) -> list[np.ndarray]:
    known = {v.name.split(":")[0]: v.numpy() for v in loaded.variables}
    return [known[path(v.path)] for v in layer.variables]


class TestFreezing:
    def trained(self, model: keras.Model) -> set[str]:
        before = values(model)
        guard = ftk.callbacks.FrozenGuard()
        model.fit(X, Y, epochs=2, batch_size=8, verbose=0, callbacks=[guard])
        assert guard.guarded > 0
        return moved(model, before)

    @pytest.mark.parametrize(
        "name",
        often(
            ["reusable", "legacy_keras", "counted", "keras_export"], ("reusable", "keras_export")
        ),
    )
    def test_frozen_means_not_one_bit(self, name: str, make: Callable[[str], str]) -> None:
        model = ftk.freeze_layers(with_head(make(name)), "saved_model")
        before = values(model)
        y = Y[: len(keras.tree.flatten(batch(name))[0])]
        compiled(model).fit(batch(name), y, epochs=2, verbose=0)
        model.predict(batch(name), verbose=0)
        assert moved(model, before) == {"top/kernel", "top/bias"}

    def test_just_the_chosen_ones(self, make: Callable[[str], str]) -> None:
        model = compiled(with_head(make("reusable")))
        ftk.unfreeze_layers(model, "moving_.*", batch_norm=True)
        ftk.freeze_layers(model, "block1")
        assert self.trained(model) - {"top/kernel", "top/bias"} == {
            "block2/dense/kernel",
            "block2/bn/moving_mean",
            "block2/bn/moving_variance",
        }
        frozen = [v for v in model.variables if "block1" in v.path]
        fresh = {v.path: v.numpy() for v in read(make("reusable"), safe_mode=True).variables}
        assert all(np.array_equal(v.numpy(), fresh[v.path]) for v in frozen)

    def test_one_variable(self, make: Callable[[str], str]) -> None:
        model = with_head(make("reusable"))
        ftk.freeze_layers(model, "block1/dense/kernel")
        rows = {row.path: row.trainable for row in ftk.trainable_summary(model).rows}
        assert rows["saved_model/block1/dense/kernel"] == 0
        assert rows["saved_model/block2/dense/kernel"] == 20

    def test_statistics_alone(self, make: Callable[[str], str]) -> None:
        """From the start; then it runs as in inference, and gamma trains on."""
        model = compiled(with_head(make("reusable")))
        assert not {name for name in self.trained(model) if "moving" in name}
        wanted = model.layers[1].loaded(X, training=False)
        assert np.array_equal(model.layers[1](X, training=True), wanted)

    def test_batch_norm_stays_frozen_unless_asked(self, make: Callable[[str], str]) -> None:
        model = with_head(make("reusable"))
        ftk.freeze_layers(model, "saved_model")
        ftk.unfreeze_layers(model)
        kernels = {"block1/dense/kernel", "block2/dense/kernel"}
        assert self.trained(compiled(model)) == kernels | {"top/kernel", "top/bias"}
        ftk.unfreeze_layers(model, "block2/bn", batch_norm=True)
        assert {name for name in self.trained(model) if "bn" in name} == {
            "block2/bn/moving_mean",
            "block2/bn/moving_variance",
        }

    def test_what_is_frozen_is_saved(
        self, make: Callable[[str], str], tmp_path: Path, as_in_a_new_process: None
    ) -> None:
        model = with_head(make("reusable"))
        ftk.freeze_layers(model, ["block1", "block2/bn"])
        ftk.save(model, tmp_path / "m.keras")
        loaded = ftk.load(tmp_path / "m.keras")
        assert [v.path for v in loaded.trainable_variables] == [
            v.path for v in model.trainable_variables
        ]
        assert not {name for name in self.trained(compiled(loaded)) if "bn" in name}

    def test_a_frozen_layer_from_the_start(self, make: Callable[[str], str]) -> None:
        layer = SavedModelLayer(make("reusable"), trainable=False)
        assert layer.trainable_variables == []
        assert not type(layer).from_config(layer.get_config()).trainable


class TestKeeping:
    def test_training_goes_on(
        self, make: Callable[[str], str], tmp_path: Path, as_in_a_new_process: None
    ) -> None:
        model = compiled(with_head(make("reusable")))
        model.fit(X, Y, batch_size=8, shuffle=False, verbose=0)
        ftk.save(model, tmp_path / "m.keras")
        loaded = ftk.load(tmp_path / "m.keras")
        assert int(loaded.optimizer.iterations) == 4
        histories = [
            m.fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0).history["loss"]
            for m in (model, loaded)
        ]
        assert histories[0] == histories[1]
        assert same(values(model), values(loaded))
        ftk.save(loaded, tmp_path / "again.keras")
        again = ftk.load(tmp_path / "again.keras")
        assert np.array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))

    def test_an_injected_penalty_is_kept(self, make: Callable[[str], str], tmp_path: Path) -> None:
        model = compiled(with_head(make("keras_export")))
        before = model.evaluate(X, Y, verbose=0)
        ftk.inject_regularizer(model, l2=0.1, layers="sequential/first")
        ftk.save(model, tmp_path / "m.keras")
        after = ftk.load(tmp_path / "m.keras").evaluate(X, Y, verbose=0)
        assert after == pytest.approx(model.evaluate(X, Y, verbose=0))
        assert after > before

    def test_weights_file_and_clone(self, make: Callable[[str], str], tmp_path: Path) -> None:
        model = compiled(with_head(make("reusable")))
        clone = keras.models.clone_model(model)
        model.fit(X, Y, verbose=0)
        assert not np.array_equal(clone(X), model(X))
        model.save_weights(tmp_path / "m.weights.h5")
        clone.load_weights(tmp_path / "m.weights.h5")
        assert np.array_equal(clone(X), model(X))

    def test_a_copy_of_one_that_was_trusted(self, tmp_path: Path) -> None:
        """In the same process `safe_mode=False` was said already."""
        model = read(fixtures.file_writer(tmp_path / "outer"), safe_mode=False)
        clone = keras.models.clone_model(model)
        assert np.array_equal(clone(np.ones((1, 2))), [[1, 1]])

    def test_a_config_alone_says_what_is_missing(
        self, make: Callable[[str], str], as_in_a_new_process: None
    ) -> None:
        layer = SavedModelLayer(make("reusable"))
        waiting = SavedModelLayer.from_config(layer.get_config())
        assert waiting.compute_output_spec(keras.Input((6,))).shape == (None, 4)
        with pytest.raises(ValueError, match="is not there"):
            waiting(X)

    def test_the_private_copy_goes_with_its_last_user(self, make: Callable[[str], str]) -> None:
        layer = SavedModelLayer(make("reusable"))
        place = layer._contents.opened.folder.path
        assert os.path.isdir(place)
        del layer
        gc.collect()
        assert not os.path.exists(place)


PROGRAM = """
import sys, numpy as np, keras
import finetunekit as ftk
folder = sys.argv[1]
model = keras.saving.load_model(folder + "/tuned.keras")
x, y = np.load(folder + "/x.npy"), [np.load(folder + f"/y{n}.npy") for n in range(3)]
names = sorted(model.output)
outputs = model.predict(x, verbose=0)
difference = max(np.abs(outputs[name] - part).max() for name, part in zip(names, y))
history = model.fit(x, {n: np.zeros_like(p) for n, p in zip(names, y)}, batch_size=2, shuffle=False,
                    verbose=0)
print("RESULT", float(difference), repr(history.history["loss"][0]))
"""


@pytest.mark.real
class TestBasicPitch:
    """The CNN that turns sound into notes, as its authors ship it."""

    @pytest.fixture
    def model(self, tmp_path: Path) -> keras.Model:
        import importlib.util

        spec = importlib.util.find_spec("basic_pitch")
        if spec is None or not spec.submodule_search_locations:
            pytest.skip("basic-pitch is not installed: tests/requirements-assets.txt")
        there = Path(spec.submodule_search_locations[0], "saved_models", "icassp_2022", "nmp")
        model = read(shutil.copytree(there, tmp_path / "nmp"), safe_mode=True)
        model.compile(keras.optimizers.Adam(1e-3), "mse")
        return model

    @pytest.fixture
    def sound(self) -> np.ndarray:
        random = np.random.default_rng(0)
        time = np.arange(43844) / 22050
        tones = [np.sin(2 * np.pi * pitch * time) for pitch in (220, 440, 330, 550)]
        return (np.stack(tones) + 0.01 * random.normal(size=(4, 43844)))[..., None].astype(
            "float32"
        )

    def fit(self, model: keras.Model, sound: np.ndarray) -> set[str]:
        outputs = model.predict(sound, verbose=0)
        before = values(model)
        zeros = {name: np.zeros_like(value) for name, value in outputs.items()}
        model.fit(sound, zeros, batch_size=2, shuffle=False, verbose=0)
        return moved(model, before)

    def test_18_move_and_6_statistics_do_not(self, model: keras.Model, sound: np.ndarray) -> None:
        assert len(model.variables) == 24
        assert len(model.trainable_variables) == 18
        names = self.fit(model, sound)
        assert len(names) == 18
        assert not [name for name in names if "moving" in name]
        ftk.unfreeze_layers(model, "moving_.*", batch_norm=True)
        assert len(self.fit(model, sound)) == 24

    def test_just_the_chosen_ones(self, model: keras.Model, sound: np.ndarray) -> None:
        ftk.freeze_layers(model, "saved_model")
        ftk.unfreeze_layers(model, ["conv2d_5", "contours-reduced/bias"])
        assert self.fit(model, sound) == {
            "conv2d_5/kernel",
            "conv2d_5/bias",
            "contours-reduced/bias",
        }

    def test_a_fresh_process_goes_on(
        self, model: keras.Model, sound: np.ndarray, tmp_path: Path
    ) -> None:
        self.fit(model, sound)
        ftk.save(model, tmp_path / "tuned.keras")
        shutil.rmtree(tmp_path / "nmp")
        outputs = model.predict(sound, verbose=0)
        np.save(tmp_path / "x.npy", sound)
        for number, name in enumerate(sorted(outputs)):
            np.save(tmp_path / f"y{number}.npy", outputs[name])
        zeros = {name: np.zeros_like(value) for name, value in outputs.items()}
        history = model.fit(sound, zeros, batch_size=2, shuffle=False, verbose=0)
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-2000:]
        result = next(line for line in done.stdout.splitlines() if line.startswith("RESULT"))
        assert result.split()[1] == "0.0"
        assert float(result.split()[2].strip("np.float32()")) == pytest.approx(
            history.history["loss"][0], rel=1e-5
        )
