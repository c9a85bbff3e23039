"""Is Keras still as this library takes it to be? One test for each trap and private name.

When one of these fails after an upgrade of Keras, the code that rests on it is named in the test.
"""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras2_models
from finetunekit.foundation import keras_internals, keras_optimizers
from models import L, images, small_backbone


def fitted(layers: list) -> tuple[keras.Model, np.ndarray, np.ndarray]:
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    x = np.random.default_rng(0).normal(2, 3, (32, 4)).astype("float32")
    model.fit(x, x[:, :1], verbose=0)
    return model, x, x[:, :1]


class TestTraps:
    def test_freezing_after_compile_has_no_effect(self) -> None:
        """Why `compiled.renew` drops the traced functions."""
        model, x, y = fitted([L.Dense(3, name="a"), L.Dense(1)])
        model.get_layer("a").trainable = False
        before = model.get_layer("a").get_weights()[0].copy()
        model.fit(x, y, verbose=0)
        assert not np.array_equal(before, model.get_layer("a").get_weights()[0])

    def test_thawing_after_fit_breaks_the_optimizer(self) -> None:
        """Why `optimizer_state.refit` is there."""
        model, x, y = fitted([L.Dense(3, name="a", trainable=False), L.Dense(1)])
        model.get_layer("a").trainable = True
        model.make_train_function(force=True)
        with pytest.raises(ValueError, match="Unknown variable"):
            model.fit(x, y, verbose=0)

    def test_training_false_at_the_call_does_not_protect_batch_norm(self) -> None:
        """Why freezing sets `trainable` on BatchNormalization itself (keras-team/keras#20285)."""
        inputs = keras.Input((4,))
        layer = L.BatchNormalization()
        model = keras.Model(inputs, L.Dense(1)(layer(inputs, training=False)))
        model.compile("sgd", "mse")
        x = np.full((8, 4), 5, "float32")
        model.fit(x, x[:, :1], verbose=0)
        assert np.abs(layer.moving_mean.numpy()).max() > 0

    def test_labels_outside_of_the_classes_train_in_silence(self) -> None:
        """Why `data.checked_batches` looks at the labels of each batch."""
        model = keras.Sequential([keras.Input((4,)), L.Dense(1, activation="sigmoid")])
        model.compile(keras.optimizers.SGD(0.1), "binary_crossentropy")
        x = np.ones((8, 4), "float32")
        data = tf.data.Dataset.from_tensors((x, np.full(8, 255))).repeat(50)
        assert model.fit(data, shuffle=False, verbose=0).history["loss"][0] < -100

    @pytest.mark.filterwarnings("ignore:The structure of `inputs`")
    def test_a_spare_part_of_a_dict_takes_the_place_of_an_input(self) -> None:
        """Why `inputs.read` and `data.batch_form` leave such parts out."""
        b, c = (keras.Input((1,), name=name) for name in "bc")
        model = keras.Model({"b": b, "c": c}, b + 0 * c)
        parts = {name: np.full((1, 1), ord(name) - 96, "float32") for name in "abc"}
        assert model.predict(parts, verbose=0).item() == 1, "of `a`"

    def test_a_misspelt_output_gets_its_weight(self) -> None:
        """Why `data.output_names` compares the names."""
        model = keras.Sequential([keras.Input((4,)), L.Dense(1, name="score")])
        losses = []
        for weights in (None, {"scroe": 2.0}):
            model.compile("sgd", "mse", loss_weights=weights)
            losses.append(model.evaluate(np.ones((2, 4)), np.ones(2), verbose=0))
        assert losses[1] == pytest.approx(2 * losses[0])

    def test_the_average_over_padding_alone_is_nan(self) -> None:
        """Why `tasks.pooling` gives such samples a mask."""
        tokens = keras.ops.ones((1, 3, 2))
        found = L.GlobalAveragePooling1D()(tokens, mask=keras.ops.zeros((1, 3), "bool"))
        assert np.isnan(np.asarray(found)).all()

    def test_an_augmentation_in_another_range_blanks_the_image(self) -> None:
        """Why `models.value_ranges` compares the ranges."""
        layer = L.RandomBrightness(0.1, value_range=(0, 1))
        found = np.asarray(layer(images(4), training=True))
        assert found.max() <= 1

    def test_a_regularizer_set_on_a_built_layer_is_ignored(self) -> None:
        """Why `inject_regularizer` sets the variable too."""
        layer = L.Dense(3)
        layer.build((None, 4))
        layer.kernel_regularizer = keras.regularizers.L2(0.1)
        assert layer.losses == []
        layer.kernel.regularizer = keras.regularizers.L2(0.1)
        assert len(layer.losses) == 1

    def test_a_seeded_fit_repeats_one_order(self) -> None:
        """Why `training.order` is there."""
        seen: list[float] = []

        class Recorder(keras.Model):
            def __init__(self) -> None:
                super().__init__()
                self.scale = self.add_weight(shape=(), name="scale")

            def call(self, x: object) -> object:
                return x * self.scale

            def train_step(self, data: tuple) -> dict:
                seen.extend(np.asarray(data[0])[:, 0])
                return {"loss": 0.0}

        keras.utils.set_random_seed(0)
        model = Recorder()
        model.compile("sgd", "mse", run_eagerly=True)
        x = np.arange(16, dtype="float32")[:, None]
        model.fit(x, x, batch_size=8, epochs=2, verbose=0)
        assert seen[:16] != list(range(16))
        assert seen[:16] == seen[16:]

    def test_data_of_unknown_length_train_one_step_too_many(self) -> None:
        """Why `fit` asks for `steps_per_epoch`."""
        import tensorflow as tf

        model, x, y = fitted([L.Dense(1)])
        steps = int(model.optimizer.iterations)
        data = tf.data.Dataset.from_tensor_slices((x, y)).filter(lambda a, b: True).batch(8)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(data, verbose=0, shuffle=False)
        assert int(model.optimizer.iterations) - steps == 4 + 1

    def test_sequential_models_have_no_output_attribute(self) -> None:
        """Why `graph.input_structure` asks for the kind of model."""
        model = keras.Sequential([keras.Input((4,)), L.Dense(1)])
        with pytest.raises(AttributeError, match="never been called"):
            _ = model.output

    def test_a_masked_input_makes_a_nested_sequential_warn(self) -> None:
        """Why `add_head` pools outside of the head."""
        inputs = keras.Input((5,), dtype="int32")
        tokens = L.Embedding(10, 3, mask_zero=True)(inputs)
        head = keras.Sequential([keras.Input((5, 3)), L.GlobalAveragePooling1D()])
        with pytest.warns(UserWarning, match="does not support masking"):
            head(tokens)

    def test_class_weight_fails_for_dense_labels(self) -> None:
        """Why `training.balance` turns class weights into sample weights."""
        model = keras.Sequential([keras.Input((4, 4, 1)), L.Conv2D(2, 1, activation="softmax")])
        model.compile("sgd", "sparse_categorical_crossentropy")
        x, y = np.zeros((2, 4, 4, 1), "float32"), np.zeros((2, 4, 4), int)
        with pytest.raises((TypeError, ValueError)):
            model.fit(x, y, class_weight={0: 1.0, 1: 2.0}, verbose=0)

    def test_compiling_without_metrics_keeps_the_old_ones(self) -> None:
        """Why `compile_for_task` hands an empty list on."""
        model, x, y = fitted([L.Dense(1)])
        model.compile("sgd", "mse", metrics=["mae"])
        model.compile("sgd", "mse", metrics=None)
        assert "mae" in model.fit(x, y, verbose=0).history

    def test_early_stopping_keeps_the_last_weights(self) -> None:
        """Why `callbacks.EarlyStopping` has another default."""
        assert not keras.callbacks.EarlyStopping().restore_best_weights

    def test_a_validation_split_takes_the_last_samples(self) -> None:
        """Why `fit` looks for sorted data."""
        model = keras.Sequential([keras.Input((1,)), L.Dense(1)])
        model.compile(keras.optimizers.SGD(0.0), "mae")
        x = np.zeros((10, 1), "float32")
        y = np.array([0.0] * 8 + [5.0] * 2)
        history = model.fit(x, y, validation_split=0.2, verbose=0).history
        assert (history["loss"][0], history["val_loss"][0]) == (0.0, 5.0)

    def test_some_families_want_raw_pixels_and_some_do_not(self) -> None:
        """Why `load_backbone` puts the preprocessing of each family in front."""
        pixels = images(1)
        inside = keras.applications.mobilenet_v3.preprocess_input(pixels.copy())
        outside = keras.applications.mobilenet_v2.preprocess_input(pixels.copy())
        assert np.array_equal(inside, pixels)
        assert outside.min() >= -1
        assert outside.max() <= 1

    def test_an_optimizer_that_never_trained_makes_loading_warn(self, tmp_path: Path) -> None:
        """Why `save` builds the optimizer first."""
        model = keras.Sequential([keras.Input((4,)), L.Dense(1)])
        model.compile("adam", "mse")
        model.save(tmp_path / "model.keras")
        with pytest.warns(UserWarning, match="Skipping variable loading for optimizer"):
            keras.saving.load_model(tmp_path / "model.keras")

    def test_one_more_member_of_an_archive_does_no_harm(self, tmp_path: Path) -> None:
        """Why `save` can put metadata there."""
        path = tmp_path / "model.keras"
        model = small_backbone()
        model.save(path)
        with zipfile.ZipFile(path, "a") as file:
            file.writestr("finetunekit.json", "{}")
        loaded = keras.saving.load_model(path)
        x = images(2)
        assert np.array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))

    def test_clone_model_fails_for_a_plain_loss_function(self) -> None:
        """Why `_keras.run_through_graph` is used instead."""
        model = small_backbone()
        model.compile("sgd", lambda y_true, y_pred: y_pred[:, 0])
        with pytest.raises(Exception, match=r"[Ll]ambda|deserialize|locate"):
            keras.models.clone_model(model, clone_function=lambda layer: layer)


class TestPrivateNames:
    def test_sublayers_of_a_composite_layer(self) -> None:
        inputs = keras.Input((5, 8))
        attention = L.MultiHeadAttention(2, 4)
        attention(inputs, inputs)
        names = {layer.name for layer in keras_internals.sublayers(attention)}
        assert {"query", "key", "value", "attention_output"} <= names

    def test_layers_beside_the_graph_of_a_functional_model(self) -> None:
        model = small_backbone()
        model.extra = L.Dense(2, name="extra")
        assert [x.name for x in keras_internals.sublayers(model)] == [
            *(x.name for x in model.layers),
            "extra",
        ]

    def test_which_output_of_its_operation_a_tensor_is(self) -> None:
        inputs = keras.Input((4,))
        inner = keras.Model(inputs, [L.Dense(1)(inputs), L.Dense(2)(inputs)])
        first, second = inner(keras.Input((4,)))
        assert [keras_internals.output_index(tensor) for tensor in (first, second)] == [0, 1]

    def test_who_writes_down_what_is_frozen_inside(self) -> None:
        inner = keras.Sequential([keras.Input((4,)), L.Dense(2, name="dense")])
        inputs = keras.Input((3, 4))
        attention = L.MultiHeadAttention(1, 2, name="attention")
        model = keras.Model(inputs, attention(inputs, inputs))
        attention.query_dense.trainable = inner.layers[0].trainable = False
        again = type(model).from_config(model.get_config())
        again.set_weights(model.get_weights())
        assert again.get_layer("attention").query_dense.trainable
        assert not keras_internals.lists_its_layers(attention)
        assert keras_internals.lists_its_layers(model)
        assert keras_internals.lists_its_layers(inner)
        assert not keras.Sequential.from_config(inner.get_config()).layers[0].trainable

    def test_kinds_of_models(self) -> None:
        functional = small_backbone()
        sequential = keras.Sequential([keras.Input((4,)), L.Dense(1)])
        assert keras_internals.is_functional(functional)
        assert not keras_internals.is_functional(sequential)
        assert keras_internals.is_sequential(sequential)
        assert not keras_internals.is_sequential(keras.Sequential([L.Dense(1)]))

        class Own(type(functional)):  # type: ignore[misc]
            def call(self, inputs: object) -> object:
                return inputs

        inputs = keras.Input((4,))
        assert not keras_internals.is_functional(Own(inputs, L.Dense(1)(inputs)))

    def test_running_through_a_graph_again(self) -> None:
        model = small_backbone()
        called: list[str] = []

        def call_layer(layer: object, *arguments: object, **options: object) -> object:
            called.append(layer.name)
            return layer(*arguments, **options)

        inputs = keras.Input((16, 16, 3))
        again = keras.Model(inputs, keras_internals.run_through_graph(model, inputs, call_layer))
        assert called == [layer.name for layer in model.layers[1:]]
        assert np.array_equal(again(images(2)), model(images(2)))

    def test_history_of_a_tensor(self) -> None:
        inputs = keras.Input((4,))
        shared = L.Dense(4)
        first = shared(inputs)
        second = shared(first)
        assert keras_internals.producer(second) is shared
        assert keras_internals.incoming(second)[0] is first
        assert keras_internals.incoming(first)[0] is inputs

    def test_own_variables(self) -> None:
        layer = L.BatchNormalization()
        layer.build((None, 4))
        layer.trainable = False
        assert [v.name for v in keras_internals.own_trainable_variables(layer)] == ["gamma", "beta"]
        assert len(keras_internals.own_weights(layer)) == 4

    def test_compile_arguments_are_objects(self) -> None:
        model = small_backbone()
        loss, metric = keras.losses.MeanSquaredError(), keras.metrics.MeanAbsoluteError()
        model.compile("sgd", loss, metrics=[metric], steps_per_execution=3)
        found = keras_internals.compile_arguments(model)
        assert found["loss"] is loss
        assert found["metrics"][0] is metric
        assert found["steps_per_execution"] == 3
        assert {"optimizer", "loss_weights", "weighted_metrics", "run_eagerly"} <= set(found)

    def test_optimizer_state(self) -> None:
        model, _, _ = fitted([L.Dense(3), L.Dense(1)])
        optimizer = model.optimizer
        assert [id(v) for v in keras_optimizers.optimizer_variables(optimizer)] == [
            id(v) for v in model.trainable_variables
        ]
        slots = keras_optimizers.optimizer_slots(optimizer)
        assert slots.keys() == {"_momentums", "_velocities"}
        keras_optimizers.unbuild_optimizer(optimizer)
        assert [v.name for v in optimizer.variables] == ["iteration", "learning_rate"]
        optimizer.build(model.trainable_variables[:2])
        assert len(optimizer.variables) == 2 + 2 * 2

    def test_hooked_steps_are_used_and_the_class_stays(self) -> None:
        """What `step_sizes` rests on."""
        optimizer = keras.optimizers.SGD(0.5, weight_decay=0.25, use_ema=True)
        first, second, third = (keras.Variable(np.ones(2)) for _ in range(3))
        still = keras_optimizers.variable_key(optimizer, first)
        half = keras_optimizers.variable_key(optimizer, second)
        keras_optimizers.hook_steps(
            optimizer,
            lambda v: {still: 0, half: 0.5}.get(keras_optimizers.variable_key(optimizer, v), 1),
            lambda done: 0.5,
            lambda v: v is not third,
        )
        assert type(optimizer) is keras.optimizers.SGD
        optimizer.apply([np.ones(2)] * 3, [first, second, third])
        # Decay 0.25 of the rate, 0.5 of it by the schedule; then the gradient.
        np.testing.assert_array_equal(first, np.ones(2))
        np.testing.assert_allclose(second, np.full(2, 1 - 0.25 * 0.125 - 0.125), rtol=1e-6)
        np.testing.assert_allclose(third, np.full(2, 0.75), rtol=1e-6)
        assert optimizer.weight_decay == 0.25

    def test_kernels_and_where_their_regularizer_is_saved(self) -> None:
        found = {}
        shapes = {
            "Dense": (L.Dense(2), (None, 3)),
            "Conv2D": (L.Conv2D(2, 1), (None, 4, 4, 3)),
            "DepthwiseConv2D": (L.DepthwiseConv2D(1), (None, 4, 4, 3)),
            "SeparableConv2D": (L.SeparableConv2D(2, 1), (None, 4, 4, 3)),
            "Embedding": (L.Embedding(3, 2), (None, 4)),
            "LSTMCell": (L.LSTMCell(2), (None, 3)),
        }
        for name, (layer, shape) in shapes.items():
            layer.build(shape)
            found[name] = (
                [v.name for v in keras_internals.kernels(layer)],
                keras_internals.regularizer_attributes(layer),
            )
        assert found == {
            "Dense": (["kernel"], ["kernel_regularizer"]),
            "Conv2D": (["kernel"], ["kernel_regularizer"]),
            "DepthwiseConv2D": (["kernel"], ["depthwise_regularizer"]),
            "SeparableConv2D": (
                ["depthwise_kernel", "pointwise_kernel"],
                ["depthwise_regularizer", "pointwise_regularizer"],
            ),
            "Embedding": (["embeddings"], ["embeddings_regularizer"]),
            "LSTMCell": (
                ["kernel", "recurrent_kernel"],
                ["kernel_regularizer", "recurrent_regularizer"],
            ),
        }
        attention = L.MultiHeadAttention(2, 4)
        assert keras_internals.regularizer_attributes(attention) == ["_kernel_regularizer"]

    def test_a_patched_call_is_used_and_taken_off(self) -> None:
        """What `callbacks.DropoutInjection` rests on."""
        layer = L.Dense(1, kernel_initializer="ones")
        plain = layer(np.ones((1, 3)))
        original = layer.call
        layer.call = lambda x: 2 * original(x)
        assert float(layer(np.ones((1, 3)))[0, 0]) == 2 * float(plain[0, 0])
        del layer.call
        assert float(layer(np.ones((1, 3)))[0, 0]) == float(plain[0, 0])

    def test_rebind(self) -> None:
        """What loading a SavedModelLayer rests on: its compiled optimizer comes before it."""
        import tensorflow as tf

        variable = keras.Variable(np.zeros(2, "float32"), name="weight")
        optimizer = keras.optimizers.SGD(0.5, momentum=0.9)
        optimizer.build([variable])
        theirs = tf.Variable([1.0, 2.0])
        keras_internals.rebind(variable, theirs)
        assert variable.value is theirs
        optimizer.apply([np.ones(2, "float32")], [variable])
        assert np.array_equal(theirs, [0.5, 1.5])
        with pytest.raises(ValueError, match=r"of shape \(3,\)"):
            keras_internals.rebind(variable, tf.Variable([1.0, 2.0, 3.0]))

    def test_safe_mode_while_loading(self, tmp_path: Path) -> None:
        """What `SavedModelLayer.from_config` asks."""
        seen = []

        @keras.saving.register_keras_serializable("facts")
        class Asking(L.Layer):
            @classmethod
            def from_config(cls, config: dict) -> Asking:
                seen.append(keras_internals.safe_mode_of_loading())
                return cls(**config)

        keras.Sequential([keras.Input((2,)), Asking()]).save(tmp_path / "m.keras")
        keras.saving.load_model(tmp_path / "m.keras")
        keras.saving.load_model(tmp_path / "m.keras", safe_mode=False)
        assert seen == [True, False]
        assert keras_internals.safe_mode_of_loading() is None


def test_deferred_variables_take_no_memory_and_leave_nothing_waiting() -> None:
    with keras_internals.deferred_variables():
        inputs = keras.Input((10**6,))
        model = keras.Model(inputs, L.Dense(10**9)(inputs))
    kernel, bias = model.weights
    assert tuple(kernel.shape) == (10**6, 10**9)
    assert not keras_internals.is_initialized(kernel)
    with keras.StatelessScope():
        L.Dense(2).build((None, 3))  # Its end initializes what waits.
    assert not keras_internals.is_initialized(bias)


def test_initialize_gives_a_deferred_variable_its_value() -> None:
    with keras_internals.deferred_variables():
        layer = L.Dense(2)
        layer.build((None, 3))
        dropout = L.Dropout(0.5)
    value = np.arange(6.0).reshape(3, 2)
    keras_internals.initialize(layer.kernel, value)
    assert np.array_equal(layer.kernel, value)
    assert layer.kernel.dtype == "float32"
    keras_internals.initialize(layer.kernel, value + 1)
    assert np.array_equal(layer.kernel, value + 1)
    keras_internals.initialize_itself(layer.bias)
    assert np.array_equal(layer.bias, np.zeros(2))
    state = dropout.seed_generator.state
    keras_internals.initialize_itself(state)
    assert state.shape == (2,)


def test_keras_cannot_open_a_nested_model_of_keras_2(tmp_path: Path) -> None:
    made, _, _ = keras2_models.make("nested_and_shared")
    path = keras2_models.save(made, tmp_path / "model.h5")
    with pytest.raises(Exception, match=r"node|Dense|deserialize"):
        keras.saving.load_model(path, compile=False)


def test_hard_sigmoid_is_another_function_than_in_keras_2() -> None:
    ours = keras2_models.hard_sigmoid_of_keras_2(np.float32(1.0))
    assert ours == pytest.approx(0.7)
    assert float(keras.activations.hard_sigmoid(1.0)) == pytest.approx(2 / 3)


def test_keras_loads_weights_into_layers_of_other_names(tmp_path: Path) -> None:
    one = keras.Sequential([keras.Input((3,)), L.Dense(3, name="a"), L.Dense(3, name="b")])
    other = keras.Sequential([keras.Input((3,)), L.Dense(3, name="b"), L.Dense(3, name="a")])
    one.save_weights(tmp_path / "one.weights.h5")
    other.load_weights(tmp_path / "one.weights.h5")
    assert np.array_equal(other.get_layer("b").kernel, one.get_layer("a").kernel)


def test_keras_own_savedmodel_layer_fails_with_an_optimizer_that_has_state(tmp_path: Path) -> None:
    import tensorflow as tf

    module = tf.train.Checkpoint(kernel=tf.Variable(tf.ones((3, 2)), name="kernel"))
    spec = tf.TensorSpec((None, 3))
    module.__call__ = tf.function(lambda x: x @ module.kernel, input_signature=[spec])
    tf.saved_model.save(module, str(tmp_path / "exported"))
    layer = L.TFSMLayer(str(tmp_path / "exported"), call_endpoint="__call__")
    assert len(layer.trainable_variables) == 1
    model = keras.Sequential([keras.Input((3,)), layer])
    model.compile("adam", "mse")
    with pytest.raises(ValueError, match="scope name"):
        model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)


def test_keras_trains_on_pixels_of_a_wrong_scale(recwarn: pytest.WarningsRecorder) -> None:
    model = keras.Sequential([keras.Input((4, 4, 3)), L.Rescaling(1 / 255), L.Flatten()])
    model.add(L.Dense(1))
    model.compile("sgd", "mse")
    model.fit(images(4, size=4) / 255, np.zeros(4), verbose=0)
    assert not list(recwarn)


class TestFrozenPrefix:
    """What `caching/` and `training/cached/` rest on."""

    def test_calls_of_a_graph(self) -> None:
        inner = keras.Sequential([keras.Input((4,)), L.Dense(3, name="a"), L.ReLU(name="b")])
        inputs = keras.Input((4,))
        model = keras.Model(inputs, keras.ops.tanh(inner(inputs)))
        names = [operation.name for operation, *_ in keras_internals.graph_calls(model)]
        assert names[0] == inner.name
        assert names[1].startswith("tanh")
        calls = keras_internals.graph_calls(inner)
        assert [operation.name for operation, *_ in calls] == ["a", "b"]
        assert calls[1][1][0] is calls[0][3][0]
        assert keras_internals.structures(inner)[0] is not None
        assert keras.tree.flatten(keras_internals.structures(model)[1])[0] is model.outputs[0]

    def test_a_call_context_counts_losses_once_and_says_training(self) -> None:
        dense = L.Dense(2, activity_regularizer="l2")
        drop = L.Dropout(0.5)
        model = keras.Sequential([keras.Input((4,)), dense, drop])
        x = np.ones((3, 4), "float32")
        for _ in range(2):
            with keras_internals.one_call(model, training=True):
                dense(x)
                dense(x)
                assert (np.asarray(drop(np.ones((50, 2), "float32"))) == 0).any()
            assert len(model.losses) == 2
        with keras_internals.one_call(model, training=False):
            assert not (np.asarray(drop(np.ones((50, 2), "float32"))) == 0).any()
        assert keras_internals.takes_own_losses(dense) is False
        dense(x)
        assert keras_internals.takes_own_losses(dense) is True
        assert not model.losses

    def test_layers_that_draw_or_are_told_of_training(self) -> None:
        assert keras_internals.has_seed(L.Dropout(0.5))
        assert keras_internals.has_seed(L.RandomFlip())
        assert not keras_internals.has_seed(L.Dense(1))
        assert keras_internals.takes_training(L.Dropout(0.5))
        assert not keras_internals.takes_training(L.Flatten())
        assert not keras_internals.takes_training(keras.ops.tanh)

    def test_masks_are_attached_to_tensors(self) -> None:
        embedded = L.Embedding(5, 2, mask_zero=True)(np.array([[1, 0]]))
        mask = keras_internals.mask_of(embedded)
        assert np.asarray(mask).tolist() == [[True, False]]
        other = keras.ops.ones((1, 2, 2))
        keras_internals.attach_mask(other, mask)
        pooled = L.GlobalAveragePooling1D()(other * 1)
        assert np.asarray(pooled).tolist() == [[1, 1]]
        assert keras_internals.mask_of(other) is mask

    def test_loss_tracker_and_metrics(self) -> None:
        model = keras.Sequential([keras.Input((4,)), L.Dense(1)])
        model.compile("sgd", "mse", metrics=["mae"])
        assert keras_internals.loss_tracker(model) is model.metrics[0]
        y = keras.KerasTensor((None, 1))
        keras_internals.build_metrics(model, y, y)
        assert len(model.metrics_variables) == 4
        mean = lambda y_true, y_pred: y_pred  # noqa: E731
        model.compile("sgd", "mse", metrics=["mae", mean], weighted_metrics=["mse"])
        assert keras_internals.metrics_made(model, "metrics") == []
        keras_internals.build_metrics(model, y, y)
        made = [keras_internals.metrics_made(model, k) for k in ("metrics", "weighted_metrics")]
        assert [len(metrics) for metrics in made] == [2, 1]
        assert type(made[0][1]) is keras.metrics.MeanMetricWrapper

    def test_fit_calls_the_exchanged_functions(self) -> None:
        """Why `redirect.Redirected` works, and how it tells the validation of a fit."""
        model, x, y = fitted([L.Dense(1)])
        held, seen = (model.train_function, model.test_function), []

        def train(iterator: object) -> object:
            seen.append("train")
            return held[0](iterator)

        model.make_test_function()
        test = model.test_function

        def own(iterator: object) -> object:
            seen.append(keras_internals.is_validating_on(model, iterator))
            return test(iterator)

        class Evaluates(keras.callbacks.Callback):
            def on_epoch_end(self, epoch: int, logs: object = None) -> None:
                self.model.evaluate(x, y, verbose=0)

        model.train_function, model.test_function = train, own
        options = {"validation_data": (x, y), "callbacks": [Evaluates()], "verbose": 0}
        model.fit(x, y, batch_size=32, **options)
        assert seen == ["train", True, False]

    def test_keras_passes_a_callback_list_on(self) -> None:
        """Why `StepCallbacks` may stand between Keras and the callbacks."""
        model, x, y = fitted([L.Dense(1)])

        class Own(keras.callbacks.CallbackList):
            batches = 0

            def on_train_batch_end(self, batch: int, logs: object = None) -> None:
                self.batches += 1

        callbacks = Own([], add_history=True, model=model, epochs=1, verbose=0)
        history = model.fit(x, y, batch_size=8, callbacks=callbacks, verbose=0)
        assert callbacks.batches == 4
        assert "loss" in history.history

    def test_a_frozen_parent_may_hold_what_trains(self) -> None:
        """Why `constant.obstacle` asks the model, not the layer."""
        inputs = keras.Input((3, 4))
        each = L.TimeDistributed(L.Dense(2), trainable=False)
        model = keras.Model(inputs, each(inputs))
        assert not each.trainable_variables
        assert len(model.trainable_variables) == 2

    def test_seeded_random_ops_of_tf_data_repeat_each_epoch(self) -> None:
        """Why a seeded augmentation in a pipeline is found again by its content."""
        import tensorflow as tf

        keras.utils.set_random_seed(0)
        data = tf.data.Dataset.range(3).map(lambda n: tf.random.uniform(()))
        assert [float(v) for v in data] == [float(v) for v in data]

    def test_adam_keeps_two_moments_and_adamw_is_adam(self) -> None:
        model, *_ = fitted([L.Dense(1)])
        moment, velocity = keras_optimizers.adam_moments(
            model.optimizer, model.trainable_variables[0]
        )
        assert "momentum" in moment.path
        assert "velocity" in velocity.path
        assert keras_optimizers.is_plain_adam(model.optimizer)
        assert keras_optimizers.is_plain_adam(keras.optimizers.AdamW())
        for other in (keras.optimizers.Adam(amsgrad=True), keras.optimizers.Nadam()):
            assert not keras_optimizers.is_plain_adam(other)


class TestResuming:
    def test_fit_makes_two_iterators_an_epoch(self) -> None:
        """Why `resuming.walk` makes one more than it reads."""
        import tensorflow as tf

        def shuffled() -> tf.data.Dataset:
            keras.utils.set_random_seed(0)
            rows = tf.range(12, dtype=tf.float32)[:, None]
            return tf.data.Dataset.from_tensor_slices(rows).shuffle(12, seed=4).batch(12)

        reference = shuffled()
        orders = [[int(v[0]) for batch in reference for v in batch] for _ in range(5)]
        seen: list[list[int]] = []

        class Sees(keras.callbacks.Callback):
            def on_epoch_end(self, epoch: int, logs: object = None) -> None:
                seen.append([int(v) for v in self.model.rows.numpy()])

        class Notes(keras.Model):
            def __init__(self) -> None:
                super().__init__()
                self.dense, self.rows = L.Dense(1), tf.Variable(tf.zeros(12))

            def call(self, x: tf.Tensor) -> tf.Tensor:
                self.rows.assign(x[:, 0])
                return self.dense(x)

        model = Notes()
        model.compile("sgd", "mse")
        data = shuffled().map(lambda x: (x, x))
        model.fit(data, epochs=3, shuffle=False, verbose=0, callbacks=[Sees()])
        assert seen == [orders[0], orders[2], orders[4]]

    def test_the_sign_of_min_delta_is_turned_each_time(self) -> None:
        """Why a resumed callback finds its `monitor_op` before its attributes are put back."""
        callback = keras.callbacks.EarlyStopping(monitor="loss", min_delta=0.5, mode="min")
        assert callback.monitor_op is None
        callback._set_monitor_op()
        assert callback.min_delta == -0.5
        callback._set_monitor_op()
        assert callback.min_delta == 0.5
        for _ in range(2):
            keras_internals.find_monitor_op(callback)
            assert callback.min_delta == -0.5

    def test_weights_leave_the_seeds_out(self) -> None:
        """Why a checkpoint asks each layer for the states of its generators."""
        layer = L.Dropout(0.5, seed=1)
        layer(np.ones((2, 2)), training=True)
        (state,) = keras_internals.seed_states(layer)
        before = np.array(keras.ops.convert_to_numpy(state))
        layer(np.ones((2, 2)), training=True)
        assert layer.weights == []
        assert (np.array(keras.ops.convert_to_numpy(state)) != before).any()

    def test_one_generator_of_the_process_stands_behind_numbers_without_a_seed(self) -> None:
        """Why a checkpoint holds its state: no layer has it, and `set_random_seed` drops it."""
        keras.utils.set_random_seed(0)
        assert keras_internals.global_seed_state() is None
        first = np.array(keras.random.normal((2,)))
        state = keras_internals.global_seed_state()
        held = np.array(keras.ops.convert_to_numpy(state))
        second = np.array(keras.random.normal((2,)))
        state.assign(held)
        np.testing.assert_array_equal(keras.random.normal((2,)), second)
        assert (first != second).all()
        keras.utils.set_random_seed(0)
        assert keras_internals.global_seed_state(make=True) is not state

    def test_bfloat16_without_axes_becomes_no_array(self) -> None:
        """Why `encoding.to_numpy` gives it an axis."""
        scalar = keras.ops.ones((), "bfloat16")
        with pytest.raises(ValueError, match="not producing an array"):
            keras.ops.convert_to_numpy(scalar)

    def test_averages_are_the_optimizers(self) -> None:
        model, x, y = fitted([L.Dense(1)])
        model.compile(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5), "mse")
        model.fit(x, y, verbose=0)
        averages = keras_optimizers.averages(model.optimizer)
        for average, variable in zip(averages, model.trainable_variables, strict=True):
            np.testing.assert_allclose(average, variable)

    def test_compile_makes_the_parts_of_a_step_anew(self) -> None:
        model = keras.Sequential([keras.Input((2,)), L.Dense(1)])
        loss = keras.losses.MeanSquaredError()
        model.compile("adam", loss, metrics=["mae"])
        before = keras_internals.compiled_parts(model)
        assert any(part is model.optimizer for part in before)
        assert any(part is loss for part in before)
        model.fit(np.zeros((2, 2)), np.zeros((2, 1)), verbose=0)
        after = keras_internals.compiled_parts(model)
        assert all(one is other for one, other in zip(before, after, strict=True))
        model.compile(model.optimizer, loss, metrics=["mae"])
        containers = keras_internals.compiled_parts(model)[4:7]
        assert not any(one is other for one, other in zip(before[4:7], containers, strict=True))


def test_steps_of_a_pipeline_that_shuffle_are_seen() -> None:
    """`keras_internals.shuffles`, on which `predict` rests."""
    import tensorflow as tf

    plain = tf.data.Dataset.range(8)
    mixed = plain.shuffle(8)
    steps = (
        lambda data: data,
        lambda data: data.map(lambda n: n + 1).batch(2).prefetch(1),
        lambda data: data.cache().repeat(2).take(3).with_options(tf.data.Options()),
        lambda data: tf.data.Dataset.zip((data, plain)),
        lambda data: plain.concatenate(data),
        lambda data: plain.interleave(lambda n: plain).concatenate(data).ragged_batch(2),
    )
    for step in steps:
        assert keras_internals.shuffles(step(mixed))
        assert not keras_internals.shuffles(step(plain))
    for other in (np.zeros(3), None, [1, 2], "text"):
        assert not keras_internals.shuffles(other)
