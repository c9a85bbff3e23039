"""A SavedModel's variables as a tree of layers, by their paths."""

import contextlib
from dataclasses import dataclass
from typing import Any

import keras

from finetunekit.foundation import keras_internals


@dataclass(frozen=True)
class VariableSpec:
    """The description of one variable, kept without the SavedModel.

    Args:
        path: Its place in the tree, such as `block1/dense/kernel`.
        shape: Its shape.
        dtype: Its dtype.
        trainable: Whether it may train at all.
        written: Whether a call of the SavedModel changes it, as it does moving statistics.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    trainable: bool
    written: bool

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(size) for size in self.shape))


class SavedVariable(keras.layers.Layer):
    """Holds one variable of a SavedModel, so that selectors find it by its path."""

    def __init__(self, spec: VariableSpec, holds_batch_norm: bool) -> None:
        name = spec.path.rpartition("/")[2]
        super().__init__(name=name, dtype="float32", autocast=False)
        self.spec = spec
        self.holds_batch_norm = holds_batch_norm
        self.variable = self.add_weight(
            shape=spec.shape,
            dtype=spec.dtype,
            name=name,
            trainable=spec.trainable,
            initializer="zeros",
            autocast=False,
        )
        self.built = True

    @property
    def is_batch_norm_statistic(self) -> bool:
        """Whether it is a moving mean or variance that the SavedModel itself changes."""
        return self.holds_batch_norm and self.spec.written and not self.spec.trainable

    def adopt(self, variable: Any) -> None:
        """Makes the Keras variable use this TensorFlow variable."""
        keras_internals.rebind(self.variable, variable)


class VariableGroup(keras.layers.Layer):
    """Holds the variables below one part of a path."""

    def __init__(self, name: str, holds_batch_norm: bool) -> None:
        super().__init__(name=name, dtype="float32", autocast=False)
        self.holds_batch_norm = holds_batch_norm
        self.parts: list[keras.layers.Layer] = []
        self.built = True


def plant(specs: list[VariableSpec], root: str) -> tuple[list[Any], list[SavedVariable]]:
    """Makes the tree: the layers at its top, and all leaves in the order of the specs."""
    groups: dict[str, VariableGroup] = {}
    batch_norms = _batch_norms(specs)
    top: list[Any] = []
    leaves = []
    for spec in specs:
        siblings = top
        parts = spec.path.split("/")
        for depth in range(1, len(parts)):
            path = "/".join(parts[:depth])
            if path not in groups:
                groups[path] = VariableGroup(parts[depth - 1], path in batch_norms)
                siblings.append(groups[path])
            siblings = groups[path].parts
        with contextlib.ExitStack() as stack:
            for part in [root, *parts[:-1]]:
                stack.enter_context(keras.name_scope(part))
            leaf = SavedVariable(spec, "/".join(parts[:-1]) in batch_norms)
        siblings.append(leaf)
        leaves.append(leaf)
    return top, leaves


def _batch_norms(specs: list[VariableSpec]) -> set[str]:
    """The paths that own a moving mean and variance, as BatchNormalization does."""
    found: dict[str, set[str]] = {}
    for spec in specs:
        path, _, name = spec.path.rpartition("/")
        found.setdefault(path, set()).add(name)
    return {path for path, names in found.items() if {"moving_mean", "moving_variance"} <= names}
