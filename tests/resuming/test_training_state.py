"""The state of training is taken whole, and put back on a model or callback made anew."""

from __future__ import annotations

import re
from typing import Any

import keras
import numpy as np
import pytest

from finetunekit.foundation import keras_optimizers
from finetunekit.models import compiled, optimizer_state, rate_multipliers
from finetunekit.resuming import training_state

L = keras.layers


class Drawing(keras.layers.Layer):
    """A layer with random numbers and a part of its own."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.seeds = keras.random.SeedGenerator(5)
        self.inner = L.Dropout(0.5, seed=6)

    def call(self, x: Any) -> Any:
        return self.inner(x)


def made(optimizer: Any = None, seed: int = 1) -> keras.Model:
    """Functional, 2 -> 1: six weights, of which four train, and a seed."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((2,), name="in")
    x = L.Dense(3, name="low")(inputs)
    x = L.Dropout(0.5, seed=seed, name="drop")(x)
    x = L.BatchNormalization(center=False, scale=False, name="norm")(x)
    model = keras.Model(inputs, L.Dense(1, name="high")(x))
    model.compile(optimizer or keras.optimizers.SGD(0.5, momentum=0.5), "mse", metrics=["mae"])
    return model


def build(model: keras.Model) -> keras.Model:
    with keras.name_scope(model.optimizer.name, caller=model.optimizer):
        model.optimizer.build(model.trainable_variables)
    return model


def numbered(found: list[Any], start: int) -> list[np.ndarray]:
    """Gives every number of variables a value of its own."""
    for variable in found:
        size = int(np.prod(variable.shape))
        values = np.arange(start, start + size).reshape(variable.shape)
        variable.assign(values.astype(variable.dtype))
        start += size
    return [np.array(v.numpy()) for v in found]


def assert_equal(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)


class TestVariables:
    def test_weights_and_seeds_once_each_and_no_metrics(self) -> None:
        shared = L.Dense(2, name="shared")
        drawing, dropout = Drawing("drawing"), L.Dropout(0.5, seed=1)
        nested = keras.Sequential([keras.Input((2,)), shared, dropout])
        inputs = keras.Input((2,))
        model = keras.Model(inputs, drawing(nested(shared(inputs))))
        model.compile("sgd", "mse", metrics=["mae"])
        model.own_seeds = keras.random.SeedGenerator(7)
        seeds = [
            model.own_seeds.state,
            drawing.seeds.state,
            drawing.inner.seed_generator.state,
            dropout.seed_generator.state,
        ]
        found = training_state.variables(model)
        assert [id(v) for v in found[:2]] == [id(shared.kernel), id(shared.bias)]
        assert sorted(id(v) for v in found[2:]) == sorted(id(v) for v in seeds)

    def test_values_are_copied_with_their_dtypes(self) -> None:
        one, other = keras.Variable([1.0, 2.0], dtype="bfloat16"), keras.Variable(3, dtype="int32")
        values = training_state.values_of([one, other])
        one.assign([5.0, 6.0])
        other.assign(7)
        assert [(v.dtype.name, v.tolist()) for v in values] == [
            ("bfloat16", [1.0, 2.0]),
            ("int32", 3),
        ]
        assert training_state.values_of([]) == []


class TestArchitecture:
    def test_a_row_for_each_layer_with_its_own_weights(self) -> None:
        assert training_state.described(made()) == [
            "InputLayer ",
            "Dense kernel (2, 3) float32, bias (3,) float32",
            "Dropout ",
            "BatchNormalization moving_mean (3,) float32, moving_variance (3,) float32",
            "Dense kernel (3, 1) float32, bias (1,) float32",
        ]

    def test_layers_within_layers_have_rows_of_their_own(self) -> None:
        inner = keras.Sequential([keras.Input((2,)), L.Dense(1, use_bias=False)])
        assert training_state.described(keras.Sequential([inner])) == [
            "Sequential ",
            "Dense kernel (2, 1) float32",
        ]

    def test_equal_ones_pass(self) -> None:
        training_state.check_architecture(["a", "b"], ["a", "b"])
        training_state.check_architecture([], [])

    @pytest.mark.parametrize(
        ("known", "mine", "words"),
        [
            (["a", "b", "c"], ["a", "x", "y"], "a model with 'x' instead of 'b'"),
            (["a", "b"], ["a", "x", "y"], "a model with 'x' instead of 'b'"),
            (["a", "b"], ["a"], "a model with 1 layers instead of 2"),
            (["a"], ["a", "b", "c"], "a model with 3 layers instead of 1"),
        ],
    )
    def test_the_first_difference_is_told(
        self, known: list[str], mine: list[str], words: str
    ) -> None:
        with pytest.raises(ValueError, match="run of another model") as error:
            training_state.check_architecture(known, mine)
        assert str(error.value).endswith(f"Received: {words}")


def with_late_start() -> keras.Model:
    """`low` has left, with slots, and `high` warms up since the fourth update."""
    model = build(made())
    numbered(model.optimizer.variables[2:], 100)
    model.optimizer.iterations.assign(4)
    model.get_layer("low").trainable = False
    model.get_layer("high").bias.trainable = False
    optimizer_state.refit(model.optimizer, model.trainable_variables)
    rate_multipliers.warm_up(model.optimizer, [model.get_layer("high").kernel], 9)
    return model


class TestModel:
    def test_all_that_a_run_changes_is_taken(self) -> None:
        model = with_late_start()
        model.get_layer("drop").trainable = False
        expected = numbered(model.weights, 1)
        seed = model.get_layer("drop").seed_generator.state
        found = training_state.of_model(model)
        assert set(found) == {
            "variables",
            "layer_flags",
            "variable_flags",
            "optimizer",
            "parked",
            "warming",
        }
        assert_equal(found["variables"], [*expected, seed.numpy()])
        assert found["layer_flags"] == [True, False, False, True, True]
        assert found["variable_flags"] == [False, False, False, False, True, False]
        moments = np.array([[109], [110], [111]], "float32")
        assert_equal(found["optimizer"], [np.array(4), np.array(0.5, "float32"), moments])
        assert found["warming"] == [[4, 4, 9]]
        parked = {number: slots["momentums"].ravel().tolist() for number, slots in found["parked"]}
        assert parked == {0: [*range(100, 106)], 1: [106, 107, 108], 5: [112]}

    def test_a_plain_model_has_nothing_parked_or_warming(self) -> None:
        model = build(made())
        found = training_state.of_model(model)
        assert (found["parked"], found["warming"]) == ([], [])
        assert found["variable_flags"] == [True, True, False, False, True, True]
        foreign = keras.Variable([1.0])
        optimizer_state.stash(model.optimizer, [(foreign, {"momentums": np.ones(1)})])
        assert training_state.of_model(model)["parked"] == []

    @pytest.mark.parametrize("built", [True, False])
    def test_it_comes_back_on_a_model_made_anew(self, built: bool) -> None:
        model = with_late_start()
        model.get_layer("drop").trainable = False
        numbered(model.weights, 1)
        model.get_layer("drop").seed_generator.state.assign([8, 9])
        state = training_state.of_model(model)
        other = made(seed=2)
        if built:
            build(other)
        other.get_layer("norm").trainable = False
        training_state.put_into_model(other, state)
        for name in ("low", "drop", "norm", "high"):
            assert other.get_layer(name).trainable is model.get_layer(name).trainable
        assert [v.trainable for v in other.weights] == [v.trainable for v in model.weights]
        assert_equal(other.get_weights(), model.get_weights())
        assert other.get_layer("drop").seed_generator.state.numpy().tolist() == [8, 9]
        kernel = other.get_layer("high").kernel
        mine = keras_optimizers.optimizer_variables(other.optimizer)
        assert [id(v) for v in mine] == [id(kernel)]
        assert [v.path for v in other.optimizer.variables] == [
            re.sub("^sgd", "sgd_1", v.path) for v in model.optimizer.variables
        ]
        assert_equal(
            [v.numpy() for v in other.optimizer.variables],
            [v.numpy() for v in model.optimizer.variables],
        )
        assert rate_multipliers.warming(other.optimizer, kernel) == (4, 9)
        assert rate_multipliers.warming(other.optimizer, other.get_layer("low").kernel) is None
        optimizer_state.refit(other.optimizer, [*other.get_layer("low").weights, kernel])
        moments = [v.numpy().ravel().tolist() for v in other.optimizer.variables[2:]]
        assert moments == [[*range(100, 106)], [106, 107, 108], [109, 110, 111]]

    def test_a_layer_that_trains_again_keeps_variables_frozen_one_by_one(self) -> None:
        model = build(made())
        model.get_layer("low").bias.trainable = False
        state = training_state.of_model(model)
        other = made(seed=2)
        for layer in other.layers:
            layer.trainable = False
        state["optimizer"].pop(3)
        training_state.put_into_model(other, state)
        assert [v.path for v in other.trainable_variables] == [
            "low/kernel",
            "high/kernel",
            "high/bias",
        ]

    def test_an_optimizer_that_was_not_built_gets_the_paths_that_keras_gives(self) -> None:
        """Nadam makes a variable without the optimizer's help, and without a name."""
        model = build(made(keras.optimizers.Nadam(name="own")))
        other = made(keras.optimizers.Nadam(name="own"))
        training_state.put_into_model(other, training_state.of_model(model))
        mine, theirs = (
            [re.sub(r"variable_\d+$", "variable", v.path) for v in each.optimizer.variables]
            for each in (other, model)
        )
        assert mine == theirs

    def test_another_optimizer_is_told(self) -> None:
        state = training_state.of_model(build(made()))
        other = made(keras.optimizers.Adam())
        with pytest.raises(ValueError, match="another optimizer") as error:
            training_state.put_into_model(other, state)
        assert "its state has 6 parts, that of the model's 10" in str(error.value)
        assert "optimizer=Adam" in str(error.value)

    def test_traced_functions_are_made_anew_only_if_need_be(self) -> None:
        model = build(made())
        state = training_state.of_model(model)
        model.make_train_function()
        compiled.renew_if_stale(model)  # As of now they are up to date.
        compiled.renew_if_stale(model)
        traced = model.train_function
        training_state.put_into_model(model, state)
        assert model.train_function is traced
        training_state.put_into_model(model, state | {"warming": [[0, 3, 5]]})
        assert model.train_function is not traced

    def test_a_record_of_another_number_of_values_is_an_error(self) -> None:
        model = build(made())
        state = training_state.of_model(model)
        for name in ("layer_flags", "variable_flags", "variables"):
            with pytest.raises(ValueError, match="zip"):
                training_state.put_into_model(model, state | {name: state[name][:-1]})


class Counting(keras.callbacks.Callback):
    def __init__(self, limit: int = 3, words: Any = (), target: Any = None) -> None:
        super().__init__()
        self.limit, self.words, self.target = limit, words, target
        self.seen = 0


class Foreign(Counting):
    """Not of Keras, for all that its module's name begins alike."""

    __module__ = "keras_like.callbacks"


class Averaging(keras.callbacks.Callback):
    def __init__(self) -> None:
        super().__init__()
        self.variables = [keras.Variable([1.0, 2.0]), keras.Variable(3, dtype="int32")]


class TestCallbacks:
    def test_settings_are_the_attributes_named_as_arguments(self) -> None:
        callback = Counting(words=["a"], target=object())
        found = training_state.settings_of(callback)
        assert found == {"limit": (3, []), "words": ({"list": ["a"]}, [])}
        callback.words.append("b")
        assert found["words"] == ({"list": ["a"]}, [])

    def test_attributes_and_what_changed_are_taken(self) -> None:
        callback = Counting(words=["a"], target=object())
        callback.set_params({"epochs": 3})
        before = training_state.settings_of(callback)
        callback.seen = 7
        assert training_state.of_callback(callback, before) == {
            "class": "Counting",
            "plain": {"limit": 3, "words": ["a"], "seen": 7},
            "unchanged": ["limit", "words"],
            "monitors": False,
            "variables": [],
        }
        callback.words.append("b")
        found = training_state.of_callback(callback, before)
        assert (found["plain"]["words"], found["unchanged"]) == (["a", "b"], ["limit"])
        assert training_state.of_callback(callback, {})["unchanged"] == []

    def test_what_belongs_to_the_process_is_left_out(self) -> None:
        callback = Counting()
        names = ("_model", "params", "validation_data", "monitor_op", "append_header", "other")
        for name in names:
            vars(callback)[name] = 1
        plain = training_state.of_callback(callback, {})["plain"]
        assert plain == {"limit": 3, "words": (), "target": None, "seen": 0, "other": 1}

    def test_settings_that_no_run_has_changed_stay_the_new_ones(self) -> None:
        old = Counting(limit=3, words=["a"])
        before = training_state.settings_of(old)
        old.seen, old.words = 7, ["b"]
        new = Counting(limit=4, words=["c"])
        training_state.put_into_callback(new, training_state.of_callback(old, before))
        assert (new.limit, new.words, new.seen) == (4, ["b"], 7)

    def test_variables_go_along(self) -> None:
        old, new = Averaging(), Averaging()
        old.variables[0].assign([5.0, 6.0])
        old.variables[1].assign(7)
        state = training_state.of_callback(old, {})
        assert_equal(state["variables"], [np.array([5, 6], "float32"), np.array(7, "int32")])
        training_state.put_into_callback(new, state)
        assert [v.numpy().tolist() for v in new.variables] == [[5, 6], 7]
        with pytest.raises(ValueError, match="zip"):
            training_state.put_into_callback(Counting(), state | {"plain": {}})

    def test_a_watch_knows_what_is_better_before_the_first_epoch(self) -> None:
        old = keras.callbacks.EarlyStopping("loss", mode="min")
        before = training_state.settings_of(old)
        assert training_state.of_callback(old, before)["monitors"] is False
        old._set_monitor_op()
        old.best, old.wait = 0.5, 2
        state = training_state.of_callback(old, before)
        assert state["monitors"] is True
        new = keras.callbacks.EarlyStopping("loss", mode="min", min_delta=0.25)
        training_state.put_into_callback(new, state)
        assert new.monitor_op is keras.ops.less
        assert (new.min_delta, new.best, new.wait) == (-0.25, 0.5, 2)

    def test_a_watch_that_had_begun_no_epoch_does_so_itself(self) -> None:
        old, new = (keras.callbacks.EarlyStopping("own") for _ in range(2))
        state = training_state.of_callback(old, training_state.settings_of(old))
        training_state.put_into_callback(new, state)
        assert new.monitor_op is None

    def test_a_watch_that_was_turned_in_the_run_is_turned(self) -> None:
        old = keras.callbacks.EarlyStopping("loss", mode="min")
        before = training_state.settings_of(old)
        old.monitor, old.mode = "own", "max"
        old._set_monitor_op()
        new = keras.callbacks.EarlyStopping("loss", mode="min")
        training_state.put_into_callback(new, training_state.of_callback(old, before))
        assert new.monitor_op is keras.ops.greater
        assert (new.monitor, new.mode) == ("own", "max")

    def test_the_mode_of_the_new_watch_counts_if_no_run_changed_it(self) -> None:
        old = keras.callbacks.EarlyStopping("loss", mode="max")
        before = training_state.settings_of(old)
        old._set_monitor_op()
        new = keras.callbacks.EarlyStopping("loss", mode="min")
        training_state.put_into_callback(new, training_state.of_callback(old, before))
        assert new.monitor_op is keras.ops.less

    @pytest.mark.parametrize("kind", [Counting, Foreign])
    def test_what_cannot_be_held_is_told(
        self, kind: type[Counting], caplog: pytest.LogCaptureFixture
    ) -> None:
        callback = kind(words=[object()], target=abs)
        training_state.warn_of_losses(callback)
        assert caplog.messages == [
            f"a checkpoint cannot hold these attributes of {kind.__name__}, which start anew after "
            "an interruption: 'words (object)', 'target (builtin_function_or_method)'"
        ]

    def test_nothing_is_told_of_keras_own_or_without_losses(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        own = keras.callbacks.EarlyStopping()
        own.held = object()
        for callback in (own, Counting()):
            training_state.warn_of_losses(callback)
        assert caplog.messages == []
