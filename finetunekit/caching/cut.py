"""The frozen prefix of a model: where it ends, and what blocks going further."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import keras
import numpy as np

from finetunekit.caching import calls, determinism
from finetunekit.caching.calls import Call, Value
from finetunekit.foundation import arguments, keras_internals
from finetunekit.foundation.messages import listed, plural
from finetunekit.models import graph


@dataclass(frozen=True)
class Blocker:
    """A layer that ends the frozen prefix, and why."""

    path: str
    reason: str


class NotConstant(Exception):
    """Something that looked constant is not, as a batch has shown; the message says what."""


@dataclass(eq=False, repr=False)
class FrozenSplit:
    """A model in two parts that share its layers: what is computed once, and what is trained.

    Attributes:
        model: The model that was cut.
        boundary: Name, shape and dtype of each tensor that the prefix gives to the tail.
        blocked_by: Where the prefix ends, and why.
        switched_off: Names of layers in the prefix that are random while training, such as
            Dropout, and run as at inference.
        layers: The layers of the prefix that have weights.
    """

    model: keras.Model
    boundary: list[tuple[str, tuple[int | None, ...], str]]
    blocked_by: list[Blocker]
    switched_off: list[str]
    layers: list[keras.layers.Layer]
    inputs: list[Value]
    prefix_calls: list[Call]
    tail_calls: list[Call]
    features: list[Value]  # Made by the prefix.
    passed: list[Value]  # Inputs that the tail takes as they are.
    outputs: Any
    all_calls: list[Call]
    masked: list[bool] = field(default_factory=list)  # By feature, once it has run.

    def __repr__(self) -> str:
        shapes = [shape for _, shape, _ in self.boundary[: len(self.features)]]
        return (
            f"<FrozenSplit of {self.model.name!r}: {plural(len(self.layers), 'layer')} with "
            f"weights before the cut, features of {', '.join(map(str, shapes)) or 'none'}>"
        )

    @property
    def pays(self) -> bool:
        """Whether the prefix computes anything with weights."""
        return bool(self.layers) and bool(self.features)

    @cached_property
    def prefix(self) -> keras.Model:
        """The frozen part as a model: the inputs, in their order, to the boundary tensors."""
        known = {value: _input(value) for value in self.inputs}
        inputs = list(known.values())
        calls.run(self.prefix_calls, known, training=False)
        return keras.Model(_one(inputs), _one([known[v] for v in self._boundary]), name="prefix")

    @cached_property
    def tail(self) -> keras.Model:
        """The part that trains, as a model: the boundary tensors to the model's output."""
        known = {value: _input(value) for value in self._boundary}
        inputs = list(known.values())
        calls.run(self.tail_calls, known, training=False)
        outputs = keras.tree.map_structure(lambda value: known[value], self.outputs)
        return keras.Model(_one(inputs), outputs, name="tail")

    @property
    def _boundary(self) -> list[Value]:
        return [*self.features, *self.passed]

    def run_prefix_flat(self, flat: list[Any]) -> list[Any]:
        """The features of a batch, and behind them the mask of each that has one.

        Args:
            flat: A batch for each input, in the model's order.
        """
        known = dict(zip(self.inputs, map(_converted, flat, self.inputs), strict=True))
        with keras_internals.one_call(self.model, training=False):
            calls.run(self.prefix_calls, known, training=False)
            self._check_losses()
        tensors = [known[value] for value in self.features]
        masks = [keras_internals.mask_of(tensor) for tensor in tensors]
        self.masked = [mask is not None for mask in masks]
        return [*tensors, *(mask for mask in masks if mask is not None)]

    def run_tail(self, features: list[Any], passed: list[Any], masks: Any, training: bool) -> Any:
        """The model's output, made of features.

        Args:
            features: A tensor for each of `features`.
            passed: A tensor for each of `passed`.
            masks: For each feature its mask, or None.
            training: Whether the layers run as while training.
        """
        known = dict(zip(self._boundary, [*features, *passed], strict=True))
        known |= {value: _converted(known[value], value) for value in self.passed}
        for tensor, mask in zip(features, masks, strict=True):
            keras_internals.attach_mask(tensor, mask)
        with keras_internals.one_call(self.model, training):
            calls.run(self.tail_calls, known, training)
        return keras.tree.map_structure(lambda value: known[value], self.outputs)

    def _check_losses(self) -> None:
        for call in self.prefix_calls:
            if isinstance(call.operation, keras.layers.Layer):
                layers = [call.operation, *(place.layer for place in graph.walk(call.operation))]
                adding = [layer.name for layer in layers if keras_internals.takes_own_losses(layer)]
                if adding:
                    raise NotConstant(f"{call.path}: {listed(adding)} adds to the loss")


def split_frozen(
    model: keras.Model, *, frozen_dropout: bool = False, like: Any = None
) -> FrozenSplit:
    """Finds the part of a model whose output never changes while the rest trains.

    Nested models are opened and subclassed ones are followed through their `call`. Both parts
    share the layers of the model, which is not changed; what is trained in the tail is trained in
    the model. Trainable weights, BatchNormalization in training mode, layers that are random
    while training, stateful layers and activity regularizers end the prefix.

    Args:
        model: Any model.
        frozen_dropout: Whether Dropout inside frozen layers stays active while training, as in
            Keras. By default frozen layers run as at inference, so their Dropout is off and does
            not end the prefix.
        like: For a subclassed model, a batch of its inputs, or of the specs of tf.data, to follow
            its `call` with.

    Returns:
        A `FrozenSplit` with the models `prefix` and `tail`, the tensors between them and what
        blocked going further. A prefix without layers means that nothing can be computed once.

    Raises:
        TypeError: If it is not a Keras model.

    Example:
        ```python
        import finetunekit as ftk

        model = ftk.add_head(ftk.freeze_layers(ftk.load_backbone("pretrained_model.h5")), "binary")
        split = ftk.split_frozen(model)
        features = split.prefix.predict(x_test, verbose=0)
        assert np.allclose(split.tail(features), model(x_test), atol=1e-5)
        ```
    """
    arguments.check_model(model, remedy="`load_backbone` and `add_head` return one.")
    listed_calls = calls.list_calls(model, like)
    frozen = set(listed_calls.inputs)
    trained = {id(variable) for variable in model.trainable_variables}
    prefix, tail = [], []
    blockers = [Blocker(path, why) for path, why in listed_calls.closed.items()]
    for call in listed_calls.calls:
        reason = "its input changes" if not frozen.issuperset(call.inputs) else ""
        if not reason:
            reason = _not_by_sample(call) or determinism.obstacle(
                call, trained, frozen_dropout=frozen_dropout
            )
            if reason:
                blockers.append(Blocker(call.path, reason))
        if reason:
            tail.append(call)
        else:
            prefix.append(call)
            frozen.update(call.outputs)
    wanted = [v for call in tail for v in call.inputs] + calls.values_in(listed_calls.outputs)
    boundary = [value for value in dict.fromkeys(wanted) if value in frozen]
    given = set(listed_calls.inputs)
    features = [value for value in boundary if value not in given]
    prefix = _needed(prefix, features)
    return FrozenSplit(
        model,
        [(value.name, value.shape, value.dtype) for value in boundary],
        list(dict.fromkeys(blockers)),
        list(dict.fromkeys(x.name for call in prefix for x in determinism.switched_off(call))),
        _layers_with_weights(prefix),
        listed_calls.inputs,
        prefix,
        tail,
        features,
        [value for value in boundary if value in given],
        listed_calls.outputs,
        listed_calls.calls,
    )


def uncut(split: FrozenSplit, reason: str) -> FrozenSplit:
    """The same model with nothing in its prefix."""
    return FrozenSplit(
        split.model,
        [(value.name, value.shape, value.dtype) for value in split.inputs],
        [*split.blocked_by, Blocker(split.model.name, reason)],
        [],
        [],
        split.inputs,
        [],
        split.all_calls,
        [],
        split.inputs,
        split.outputs,
        split.all_calls,
    )


def as_prefix(model: keras.Model, like: Any = None) -> FrozenSplit:
    """The whole of a model as a prefix, for the features that it gives at inference.

    Args:
        model: Any model, frozen or not.
        like: For a subclassed model, a batch of its inputs.
    """
    found = calls.list_calls(model, like)
    if found.outputs is None:
        found = calls.as_one(model, like)
    features = list(dict.fromkeys(calls.values_in(found.outputs)))
    return FrozenSplit(
        model,
        [(value.name, value.shape, value.dtype) for value in features],
        [],
        [],
        _layers_with_weights(found.calls),
        found.inputs,
        _needed(found.calls, features),
        [],
        features,
        [],
        found.outputs,
        found.calls,
    )


def flat_inputs(model: keras.Model, x: Any) -> list[Any] | None:
    """The arrays for the model's inputs, in its order; None if they do not match one by one."""
    if not graph.is_graph(model):
        return keras.tree.flatten(x)
    wanted, _ = keras_internals.structures(model)
    if not isinstance(x, dict):
        found = keras.tree.flatten(x)
        return found if len(found) == len(model.inputs) else None
    names = wanted if isinstance(wanted, dict) else {t.name: t for t in model.inputs}
    by_tensor = {id(tensor): x.get(name) for name, tensor in names.items()}
    arrays = [by_tensor.get(id(tensor)) for tensor in model.inputs]
    return None if any(array is None for array in arrays) else arrays


def describe(split: FrozenSplit) -> str:
    """Where the prefix ends, in words."""
    if not split.blocked_by:
        return "nothing blocks it"
    rows = [f"{blocker.path}: {blocker.reason}" for blocker in split.blocked_by]
    return listed(rows, 3)


def _not_by_sample(call: Call) -> str:
    """Features are kept by sample, so the first axis must be the samples'."""
    if any(not value.shape or value.shape[0] is not None for value in call.outputs):
        return "its output is not made of one row for each sample"
    return ""


def _needed(prefix: list[Call], features: list[Value]) -> list[Call]:
    """The calls that the features are made of, in their order."""
    wanted = set(features)
    kept = []
    for call in reversed(prefix):
        if wanted.intersection(call.outputs):
            kept.append(call)
            wanted.update(call.inputs)
    return kept[::-1]


def _layers_with_weights(prefix: list[Call]) -> list[keras.layers.Layer]:
    found = {}
    for call in prefix:
        if isinstance(call.operation, keras.layers.Layer):
            places = [call.operation, *(place.layer for place in graph.walk(call.operation))]
            found.update({id(x): x for x in places if keras_internals.own_weights(x)})
    return list(found.values())


def _converted(tensor: Any, value: Value) -> Any:
    """An input as a Functional model converts it: its dtype, and a last axis of one."""
    if (
        isinstance(tensor, np.ndarray)
        or keras.backend.standardize_dtype(tensor.dtype) != value.dtype
    ):
        tensor = keras.ops.convert_to_tensor(tensor, dtype=value.dtype)
    if len(tensor.shape) == len(value.shape) + 1 and tensor.shape[-1] == 1:
        return keras.ops.squeeze(tensor, axis=-1)
    if len(tensor.shape) == len(value.shape) - 1 and value.shape[-1] == 1:
        return keras.ops.expand_dims(tensor, axis=-1)
    return tensor


def _input(value: Value) -> Any:
    return keras.Input(batch_shape=value.shape, dtype=value.dtype, name=value.name)


def _one(tensors: list[Any]) -> Any:
    return tensors[0] if len(tensors) == 1 else tensors
