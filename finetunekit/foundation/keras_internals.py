"""The private names of Keras that the library uses, each with its reason.

Those of optimizers stand in `_keras_optimizers.py`. Each has a test in `tests/test_keras_facts.py`
that fails first when Keras changes.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras.src.backend.common import global_state
from keras.src.models.functional import Functional
from keras.src.random import seed_generator
from keras.src.saving import serialization_lib


def sublayers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The direct sublayers, as Keras lists them.

    `.layers` is public on models only; a composite layer such as MultiHeadAttention has no public
    list. A Functional model may also hold layers beside its graph; `.layers` leaves them out.
    """
    tracked = layer._flatten_layers(include_self=False, recursive=False)
    if not isinstance(layer, keras.Model):
        return list(tracked)
    listed = list(layer.layers)
    if isinstance(layer, keras.Sequential):
        return listed
    seen = {id(sublayer) for sublayer in listed}
    return listed + [sublayer for sublayer in tracked if id(sublayer) not in seen]


def is_functional(model: object) -> bool:
    """Whether the model is a graph of layers, run by Functional.call itself."""
    return isinstance(model, Functional) and type(model).call is Functional.call


def is_sequential(model: object) -> bool:
    """Whether the model is a built chain of layers, run by Sequential.call itself."""
    return (
        isinstance(model, keras.Sequential)
        and type(model).call is keras.Sequential.call
        and model._functional is not None
    )


def run_through_graph(model: keras.Model, inputs: Any, call_layer: Callable[..., Any]) -> Any:
    """Calls the graph's layers again, in order, on new symbolic inputs.

    `clone_model(call_function=)` does the same, but compiles the clone from its config, which
    fails for a loss that is a plain function.
    """
    return model._run_through_graph(
        inputs, operation_fn=lambda operation: operation, call_fn=call_layer
    )


def producer(tensor: Any) -> Any:
    """The operation whose output a symbolic tensor is."""
    return tensor._keras_history.operation


def incoming(tensor: Any) -> list[Any]:
    """The symbolic tensors that the operation made this one of.

    `layer.input` would be those of the layer's first call, perhaps in another model.
    """
    history = tensor._keras_history
    return list(history.operation._inbound_nodes[history.node_index].input_tensors)


def output_index(tensor: Any) -> int:
    """Which of its operation's outputs a symbolic tensor is."""
    return int(tensor._keras_history.tensor_index)


def lists_its_layers(layer: keras.layers.Layer) -> bool:
    """Whether its config holds those of its layers, with what of them is frozen.

    Others, such as the backbones of KerasHub and composite layers, make their layers anew.
    """
    return type(layer) is Functional or isinstance(layer, keras.Sequential)


def own_trainable_variables(layer: keras.layers.Layer) -> list[Any]:
    """The layer's own variables made with `trainable=True`, whatever their flag says now.

    The public lists follow the flags, so they cannot tell a frozen kernel from a moving mean.
    """
    return list(layer._trainable_variables)


def own_non_trainable_variables(layer: keras.layers.Layer) -> list[Any]:
    """The layer's own variables made with `trainable=False`, such as moving means."""
    return list(layer._non_trainable_variables)


def own_weights(layer: keras.layers.Layer) -> list[Any]:
    """The layer's own weights without those of its sublayers."""
    return list(layer._trainable_variables) + list(layer._non_trainable_variables)


def compile_arguments(model: keras.Model) -> dict[str, Any]:
    """What `compile` was called with, as objects (the public config is serialized)."""
    return dict(model._compile_config.config)


_REGULARIZER_OF = {
    "kernel": ("depthwise_regularizer", "kernel_regularizer"),
    "embeddings": ("embeddings_regularizer",),
    "depthwise_kernel": ("depthwise_regularizer",),
    "pointwise_kernel": ("pointwise_regularizer",),
    "recurrent_kernel": ("recurrent_regularizer",),
}


def kernels(layer: keras.layers.Layer) -> list[Any]:
    """The layer's own variables that a kernel penalty acts on: no biases, no normalisation."""
    return [v for v in layer._trainable_variables if v.name in _REGULARIZER_OF]


def regularizer_attributes(layer: keras.layers.Layer) -> list[str]:
    """The attributes that a layer's config takes the regularizers of its kernels from.

    MultiHeadAttention keeps that of its inner layers under a private name.
    """
    candidates = [
        next((name for name in _REGULARIZER_OF[variable.name] if hasattr(layer, name)), None)
        for variable in kernels(layer)
    ]
    if hasattr(layer, "_kernel_regularizer"):
        candidates.append("_kernel_regularizer")
    return list(dict.fromkeys(name for name in candidates if name))


def rebind(variable: Any, tensorflow_variable: Any) -> None:
    """Makes a Keras variable stand for another TensorFlow variable of equal shape and dtype.

    When a model is loaded, its optimizer is built before a SavedModel's own variables are there,
    so new Keras variables would come too late. The optimizer knows a variable by the unique id of
    TensorFlow's, which therefore goes along.
    """
    shape, dtype = tuple(tensorflow_variable.shape), tensorflow_variable.dtype.name
    if tuple(variable.shape) != shape or variable.dtype != dtype:
        raise ValueError(
            f"Variable {variable.path!r} is {variable.dtype} of shape {tuple(variable.shape)}; "
            f"what shall take its place is {dtype} of shape {shape}."
        )
    tensorflow_variable._unique_id = variable.value._unique_id
    variable._value = tensorflow_variable


def safe_mode_of_loading() -> bool | None:
    """The `safe_mode` of the `load_model` that is running; None outside of one.

    A layer's `from_config` has no other way to learn it.
    """
    safe_mode = serialization_lib.in_safe_mode()
    return None if safe_mode is None else bool(safe_mode)


@contextlib.contextmanager
def safe_mode_scope(safe_mode: bool) -> Iterator[None]:
    """Configs read inside are read as inside of `load_model` with this `safe_mode`.

    Outside of a scope, a layer's own `from_config` reads a vocabulary from any path.
    """
    with serialization_lib.SafeModeScope(safe_mode):
        yield


@contextlib.contextmanager
def deferred_variables() -> Iterator[None]:
    """Layers built inside know the shapes of their variables and hold no memory for them.

    A hostile file may ask for more than there is; so shapes are compared first, and each variable
    is made with its stored value: nothing is drawn at random to be overwritten.
    """
    before = list(global_state.get_global_attribute("uninitialized_variables") or [])
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    finally:
        # Else the next scope that Keras opens would initialize them a second time.
        global_state.set_global_attribute("uninitialized_variables", before)


def initialize(variable: Any, value: Any) -> None:
    """Gives a variable its value, also one that has none yet."""
    if variable._value is None:
        variable._initialize(np.asarray(value, dtype=variable.dtype))
        variable._initializer = None
    else:
        variable.assign(value)


def is_initialized(variable: Any) -> bool:
    """Whether a variable has a value."""
    return variable._value is not None


def initialize_itself(variable: Any) -> None:
    """Gives a variable that has no value yet the one that its layer starts with."""
    variable._deferred_initialize()


def graph_calls(model: keras.Model) -> list[tuple[Any, tuple[Any, ...], dict[str, Any], list[Any]]]:
    """The calls that a graph consists of, in the order in which Keras runs them.

    Each with its operation, its arguments and its outputs, as symbolic tensors of this graph; a
    run through the graph gives outputs, but not which tensors of the graph they stand for.
    """
    function = model._functional if isinstance(model, keras.Sequential) else model
    return [
        (node.operation, node.arguments.args, node.arguments.kwargs, list(node.outputs))
        for depth in sorted(function._nodes_by_depth, reverse=True)
        for node in function._nodes_by_depth[depth]
        if node.operation and not node.is_input
    ]


@contextlib.contextmanager
def one_call(model: keras.Model, training: bool) -> Iterator[None]:
    """Layers called inside belong to one call of the model, as if the model had called them.

    So the losses that they add are dropped before the call, not by each layer for itself, and all
    of them learn whether it is training.
    """
    context = model._get_call_context()
    context.set_value("training", training)
    try:
        yield
    finally:
        model._maybe_reset_call_context()


def has_seed(layer: keras.layers.Layer) -> bool:
    """Whether the layer itself draws random numbers with a seed that Keras knows of."""
    return bool(layer._seed_generators)


def seed_states(layer: keras.layers.Layer) -> list[Any]:
    """The states of the layer's own generators of random numbers; files of weights lack them."""
    return [generator.state for generator in layer._seed_generators]


def global_seed_state(*, make: bool = False) -> Any:
    """The state of the generator behind random numbers without a seed; None if none drew yet.

    No layer lists it, and there is one for the whole process.

    Args:
        make: Whether it is made if there is none yet.
    """
    if make:
        return seed_generator.global_seed_generator().state
    found = global_state.get_global_attribute(seed_generator.GLOBAL_SEED_GENERATOR)
    return None if found is None else found.state


def find_monitor_op(callback: keras.callbacks.Callback) -> None:
    """Has a callback that watches a value find out whether less of it is better.

    Keras does so at the end of the first epoch if it is not done, and turns the sign of
    `min_delta` each time, so that it has to be positive before.
    """
    callback.min_delta = abs(callback.min_delta)
    callback._set_monitor_op()


def takes_training(operation: Any) -> bool:
    """Whether a graph tells the operation if it is training."""
    return "training" in getattr(operation, "_call_context_args", ()) and bool(
        operation._call_has_context_arg.get("training")
    )


def mask_of(tensor: Any) -> Any:
    """The mask that Keras has attached to a tensor, if any."""
    return getattr(tensor, "_keras_mask", None)


def attach_mask(tensor: Any, mask: Any) -> None:
    """Attaches a mask to a tensor, for layers that take masks."""
    if mask is not None:
        tensor._keras_mask = mask


def loss_tracker(model: keras.Model) -> keras.metrics.Metric:
    """The metric behind the `loss` of the logs."""
    return model._loss_tracker


def structures(model: Any) -> tuple[Any, Any]:
    """The symbolic inputs and outputs of a graph, in the structures in which it takes and gives.

    A Functional model has public names for them, a Sequential and a Function have not.
    """
    function = model._functional if isinstance(model, keras.Sequential) else model
    return function._inputs_struct, function._outputs_struct


def takes_own_losses(layer: keras.layers.Layer) -> bool:
    """Takes the losses away that the layer itself has added, and says whether there were any."""
    found = bool(layer._losses)
    if found:
        layer._clear_losses()
    return found


def is_validating_on(model: keras.Model, iterator: Any) -> bool:
    """Whether the iterator is that of the validation in a running `fit`.

    A callback may evaluate other data with the same test function.
    """
    validation = getattr(model, "_eval_epoch_iterator", None)
    return validation is not None and validation._current_iterator is iterator


def build_metrics(model: keras.Model, y: Any, y_pred: Any) -> None:
    """Makes the variables of the compiled metrics, if the first step would make them.

    A traced function that makes variables is traced twice.
    """
    metrics = model._compile_metrics
    if metrics is not None and not metrics.built:
        metrics.build(y, y_pred)


def metrics_made(model: keras.Model, kind: str) -> list[keras.metrics.Metric]:
    """The metric objects of a model of one output, which Keras makes of functions, too.

    Args:
        model: A compiled model.
        kind: `"metrics"` or `"weighted_metrics"`.

    Returns:
        None of them before the metrics are built.
    """
    made = getattr(model._compile_metrics, f"_flat_{kind}", None) or []
    return [metric for part in made if part is not None for metric in part.metrics]


def compiled_parts(model: keras.Model) -> list[Any]:
    """The objects that a compiled model trains with, as far as a traced step depends on them.

    A new `compile` makes the containers of losses and metrics anew; what the user has given stays
    the user's, who may change its settings.
    """
    arguments = compile_arguments(model)
    optimizer = model.optimizer
    inner = getattr(optimizer, "inner_optimizer", None)
    given = keras.tree.flatten(
        [arguments[name] for name in ("loss", "metrics", "weighted_metrics", "loss_weights")]
    )
    return [
        optimizer,
        inner,
        *(getattr(each, "_learning_rate", None) for each in (optimizer, inner)),
        model._compile_loss,
        model._compile_metrics,
        model._loss_tracker,
        *given,
    ]


def functions_run_eagerly() -> bool:
    """Whether `run_functions_eagerly(True)` makes all functions run step by step."""
    import tensorflow as tf

    return bool(tf.config.functions_run_eagerly())


def shuffles(dataset: Any) -> bool:
    """Whether a step of a tf.data pipeline changes the order of its elements at random.

    tf.data tells neither its steps nor where they read from.
    """
    sources = getattr(dataset, "_inputs", None)
    return "shuffle" in type(dataset).__name__.lower() or any(
        shuffles(source) for source in (sources() if callable(sources) else ())
    )
