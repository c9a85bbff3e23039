"""Steps on features: the part behind the frozen prefix, with the model's own loss and optimizer."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from finetunekit.caching.cut import FrozenSplit
from finetunekit.execution.fused_adam import in_one_pass
from finetunekit.foundation import keras_internals


@dataclass(frozen=True)
class Parts:
    """Samples as the tail takes them: tensors or arrays with one row each."""

    features: list[Any]  # One for each feature of the split.
    masks: list[Any]  # For each feature its mask, or None.
    passed: list[Any]  # Inputs that the tail takes as they are.
    y: Any = None
    weights: Any = None

    @property
    def structure(self) -> tuple[Any, ...]:
        """All of it, as one structure of tensors."""
        return self.features, self.masks, self.passed, self.y, self.weights


class Tail:
    """Training and test steps on features; they update the model that the tail belongs to.

    Args:
        model: The compiled model.
        split: Where it is cut.
        exact: Whether each bit must be that of Keras' own step.
    """

    def __init__(self, model: keras.Model, split: FrozenSplit, *, exact: bool = False) -> None:
        self.model = model
        self._updates = contextlib.nullcontext if exact else in_one_pass
        self.split = split
        self._prepared = False
        self.train = Steps(self, self._train)
        self.test = Steps(self, self._test)

    def prepare(self, parts: Parts) -> None:
        """Makes the variables of optimizer and metrics, which a compiled loop cannot make."""
        build_optimizer(self.model)
        if not self._prepared:
            self._prepared = True
            outputs = keras.tree.map_structure(
                lambda value: keras.KerasTensor(value.shape, value.dtype), self.split.outputs
            )
            keras_internals.build_metrics(self.model, parts.y, outputs)

    def _forward(self, parts: Parts, training: bool) -> Any:
        return self.split.run_tail(parts.features, parts.passed, parts.masks, training)

    def _train(self, parts: Parts) -> None:
        import tensorflow as tf

        model = self.model
        with tf.GradientTape() as tape:
            y_pred = self._forward(parts, training=True)
            loss = self._loss(parts, y_pred, training=True)
            loss = model.optimizer.scale_loss(loss)
        weights = model.trainable_weights
        with self._updates(model.optimizer):
            gradients = tape.gradient(loss, weights)
            model.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        model.compute_metrics(None, parts.y, y_pred, sample_weight=parts.weights)

    def _test(self, parts: Parts) -> None:
        y_pred = self._forward(parts, training=False)
        self._loss(parts, y_pred, training=False)
        self.model.compute_metrics(None, parts.y, y_pred, sample_weight=parts.weights)

    def _loss(self, parts: Parts, y_pred: Any, training: bool) -> Any:
        import tensorflow as tf

        loss = self.model.compute_loss(None, parts.y, y_pred, parts.weights, training=training)
        rows = tf.shape((parts.features or parts.passed)[0])[0]
        keras_internals.loss_tracker(self.model).update_state(loss, sample_weight=rows)
        return loss


class Steps:
    """One kind of steps of a tail, one at a time or many in one execution.

    Args:
        tail: The tail that they belong to.
        step: One step.
    """

    def __init__(self, tail: Tail, step: Callable[[Parts], None]) -> None:
        import tensorflow as tf

        self._tail = tail
        self._step = self._compiled(step)
        self._one = tf.function(self._run_one, reduce_retracing=True, autograph=False)
        self._many = tf.function(self._run_many, reduce_retracing=True, autograph=False)
        self._shapes: list[Any] = []  # Of the last batch, but for its size.

    def prepare(self, parts: Parts) -> None:
        """Makes the variables that the first step needs."""
        self._tail.prepare(parts)

    def one(self, parts: Parts, *, any_size: bool = True) -> dict[str, Any]:
        """Runs one step on a batch; the values of the metrics afterwards.

        Args:
            parts: The batch.
            any_size: Whether other batches may be of another size. As in Keras, the compiled step
                then knows of none: kernels are chosen, and round, by the size that is known.
        """
        import tensorflow as tf

        self.prepare(parts)
        structure = tf.nest.map_structure(_tensor, parts.structure)
        shapes = [None if x is None else tuple(x.shape[1:]) for x in tf.nest.flatten(structure)]
        if any_size and shapes != self._shapes:
            self._shapes = shapes
            self._one.get_concrete_function(tf.nest.map_structure(_of_any_size, structure))
        results: dict[str, Any] = self._one(structure)
        return results

    def many(
        self, parts: Parts, order: Any, size: int, first: Any, last: Any, *, any_size: bool = True
    ) -> dict[str, Any]:
        """Runs the steps from `first` to `last` on samples in a given order, in one execution.

        Args:
            parts: The samples.
            order: Their order.
            size: Samples in a batch; the last may hold fewer.
            first: The number of the first step.
            last: The number of the step after the last.
            any_size: As in `one`.

        Returns:
            The values of the metrics afterwards.
        """
        import tensorflow as tf

        self.prepare(parts)
        known = tf.constant(size) if any_size else size
        results: dict[str, Any] = self._many(parts.structure, order, known, first, last)
        return results

    def _run_one(self, structure: Any) -> Any:
        self._step(structure)
        return self._tail.model.get_metrics_result()

    def _run_many(self, structure: Any, order: Any, size: Any, first: Any, last: Any) -> Any:
        import tensorflow as tf

        def body(number: Any) -> Any:
            rows = order[number * size : (number + 1) * size]
            if isinstance(size, int):
                rows.set_shape([size])
            self._step(_rows(structure, rows))
            return number + 1

        tf.while_loop(lambda number: number < last, body, [first], parallel_iterations=1)
        return self._tail.model.get_metrics_result()

    def _compiled(self, step: Callable[[Parts], None]) -> Callable[..., Any]:
        """The step under XLA, if the model was compiled for it."""
        import tensorflow as tf

        def run(structure: Any) -> None:
            step(Parts(*structure))

        if self._tail.model.jit_compile is True:
            return tf.function(run, jit_compile=True, reduce_retracing=True)
        return run


def _rows(structure: Any, rows: Any) -> Any:
    import tensorflow as tf

    return tf.nest.map_structure(lambda x: None if x is None else tf.gather(x, rows), structure)


def _tensor(part: Any) -> Any:
    import tensorflow as tf

    return None if part is None else tf.convert_to_tensor(part)


def _of_any_size(part: Any) -> Any:
    import tensorflow as tf

    return None if part is None else tf.TensorSpec([None, *part.shape[1:]], part.dtype)


def build_optimizer(model: keras.Model) -> None:
    """Makes the optimizer's variables, which cannot be made inside of a compiled loop."""
    optimizer = model.optimizer
    if optimizer is not None and not optimizer.built:
        with keras.name_scope(optimizer.name, caller=optimizer):  # As Keras does.
            optimizer.build(model.trainable_variables)
