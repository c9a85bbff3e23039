"""Adam's step in one pass, by TensorFlow's own kernel on the optimizer's own state.

Keras writes the step as a dozen operations, each of which reads and writes all weights; of a small
head on cached features that is four fifths of the time. The kernel computes the same, but for
rounding.

Source: D. P. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", arXiv 1412.6980.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

from finetunekit.foundation import keras_optimizers, patches
from finetunekit.models import graph, rate_multipliers

_LARGE = 1 << 16  # Numbers


@contextlib.contextmanager
def in_one_pass(optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """While a step is traced inside, plain Adam updates large float32 variables in one operation.

    Small ones gain little, and keep the bits that `model.fit` gives them.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if not keras_optimizers.is_plain_adam(inner) or _is_replaced(inner):
        yield
        return
    with patches.patch(inner, "update_step", lambda own: _in_one_pass(inner, own)):
        yield


def _is_replaced(optimizer: Any) -> bool:
    """Whether the step is not Adam's own, with or without learning-rate multipliers."""
    known = {keras_optimizers.MULTIPLIERS}
    others = {p.tag for p in patches.patches_of(optimizer, "update_step")} - known
    return bool(others) or patches.is_users_own(optimizer, "update_step")


def _in_one_pass(inner: Any, own: Any) -> Any:
    def update_step(gradient: Any, variable: Any, learning_rate: Any) -> None:
        dense = hasattr(gradient, "dtype") and not hasattr(gradient, "indices")
        if not dense or variable.dtype != "float32" or graph.size(variable) < _LARGE:
            own(gradient, variable, learning_rate)
            return
        factor = rate_multipliers.factor(inner, variable)
        if not (isinstance(factor, (int, float)) and factor == 0):
            _update(inner, gradient, variable, learning_rate * factor)

    return update_step


def _update(optimizer: Any, gradient: Any, variable: Any, learning_rate: Any) -> None:
    import tensorflow as tf

    moment, velocity = (_handle(v) for v in keras_optimizers.adam_moments(optimizer, variable))
    # A tensor, not a variable, if gradients are accumulated; then it counts updates.
    step = tf.cast(keras.ops.convert_to_tensor(optimizer.iterations) + 1, tf.float32)
    # Keras' own correction of the bias; the kernel's is switched off by powers of zero.
    first, second = (tf.pow(tf.constant(b), step) for b in (optimizer.beta_1, optimizer.beta_2))
    tf.raw_ops.ResourceApplyAdam(
        var=_handle(variable),
        m=moment,
        v=velocity,
        beta1_power=0.0,
        beta2_power=0.0,
        lr=tf.cast(learning_rate, tf.float32) * tf.sqrt(1 - second) / (1 - first),
        beta1=optimizer.beta_1,
        beta2=optimizer.beta_2,
        epsilon=optimizer.epsilon,
        grad=tf.cast(gradient, tf.float32),
    )


def _handle(variable: Any) -> Any:
    """The resource of a Keras or TensorFlow variable."""
    return (variable.value if isinstance(variable, keras.Variable) else variable).handle
