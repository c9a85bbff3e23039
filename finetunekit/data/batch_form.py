"""The form in which a model takes the batches of a pipeline: parts by name, labels checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from finetunekit.data import label_checks, output_names
from finetunekit.data.label_checks import Expected
from finetunekit.data.output_names import OutputNames
from finetunekit.foundation.messages import listed
from finetunekit.models import graph, inputs
from finetunekit.models.metadata import Task
from finetunekit.tasks.label_shapes import all_finite


@dataclass(frozen=True)
class BatchForm:
    """What a model takes of a batch, and what its labels must be.

    It holds no model, so that the processes that read a PyDataset may have a copy.

    Attributes:
        name: What the user calls the data.
        keys: The keys of the inputs; None if the model does not take them in a dict.
        outputs: The outputs, by name.
        expected: What labels must be; None for a model with several outputs or its own loss.
    """

    name: str
    keys: tuple[str, ...] | None
    outputs: OutputNames
    expected: Expected | None

    def parts(self, batch: Any) -> tuple[Any, Any, Any]:
        """Inputs, labels and weights of a batch, or of its spec, as the model takes them.

        Raises:
            ValueError: If an input is missing, or labels are for no output.
        """
        x, y, weights = keras.utils.unpack_x_y_sample_weight(batch)
        if self.keys is not None and isinstance(x, Mapping):
            missing = [key for key in self.keys if key not in x]
            if missing:
                raise ValueError(
                    f"`{self.name}` lacks inputs of the model: {listed(missing)}. Give batches "
                    f"with the keys {listed(self.keys)}. "
                    f"Received: {self.name} with the keys {list(x)}"
                )
            x = {key: x[key] for key in self.keys}
        y, weights = self.outputs.arranged(y, "y"), self.outputs.arranged(weights, "sample_weight")
        return x, y, weights

    def batch(self, batch: Any) -> Any:
        """A batch as the model takes it."""
        return packed(*self.parts(batch))

    def check(self, labels: Any, number: int) -> None:
        """Checks the labels of a batch.

        Args:
            labels: An array, or a structure of arrays for several outputs.
            number: The number of the batch, from 0.

        Raises:
            ValueError: If a value or shape does not fit, with the number.
        """
        try:
            if self.expected is not None and labels is not None:
                array = _array(labels)
                inputs.check_finite(array, "y")
                self.expected.check(array)
                return
            for part in keras.tree.flatten(labels):
                if isinstance(part, np.ndarray):
                    inputs.check_finite(part, "y")
        except ValueError as error:
            raise ValueError(f"In batch {number} (from 0) of `{self.name}`: {error}") from error

    def surely_valid(self, labels: Any) -> Any:
        """Whether labels in a graph surely pass `check`, as a bool tensor or a bool."""
        if self.expected is not None:
            return self.expected.surely_valid(labels)
        found = [all_finite(part) for part in keras.tree.flatten(labels) if part is not None]
        return keras.ops.all(keras.ops.stack(found)) if found else keras.ops.array(True)

    def check_spec(self, batch: Any) -> None:
        """Checks what a spec, or the first batch, shows of the labels.

        Raises:
            ValueError: If they are no numbers, or their shape does not fit.
        """
        _, y, _ = self.parts(batch)
        if self.expected is None or y is None:
            return
        check_kind(y, self.name, self.expected.task.class_names)
        shape = getattr(y, "shape", None)
        if shape is None or getattr(shape, "rank", 0) is None:
            return
        try:
            self.expected.check_shape(tuple(shape))
        except ValueError as error:
            raise ValueError(f"In the batches of `{self.name}`: {error}") from error


def of(model: keras.Model, task: Task | None, name: str) -> BatchForm:
    """The form in which a model takes batches.

    Args:
        model: The model.
        task: Its task, or None if it has a loss of its own.
        name: What the user calls the data.
    """
    structure = graph.input_structure(model) if graph.is_graph(model) else None
    keys = tuple(structure) if isinstance(structure, dict) else None
    return BatchForm(name, keys, output_names.of(model), label_checks.expected(model, task))


def check(form: BatchForm, batch: Any) -> None:
    """Checks the spec of a batch, or the first one, and says which of its inputs are left out.

    Raises:
        ValueError: If the model cannot train on it.
    """
    if batch is None:
        return
    form.check_spec(batch)
    x, _, _ = keras.utils.unpack_x_y_sample_weight(batch)
    if form.keys is not None and isinstance(x, Mapping):
        inputs.say_left_out(x, form.keys, form.name)


def check_kind(part: Any, name: str, class_names: Sequence[str] | None = None) -> None:
    """Raises for labels of a pipeline that are no dense numbers.

    Args:
        part: The spec of the labels, or an array of them.
        name: What the user calls the data.
        class_names: Names in the order of the classes, if they are known.

    Raises:
        ValueError: With the remedy.
    """
    kind = inputs.packing(part)
    if kind:
        how = "x, y.to_tensor()" if kind == "ragged" else "x, tf.sparse.to_dense(y)"
        raise ValueError(
            f"`{name}` gives {kind} labels, and the loss takes dense ones: "
            f"`data.map(lambda x, y: ({how}))`. "
            f"Received: {name} with labels of type {type(part).__name__}"
        )
    if _is_text(part):
        short = class_names is not None and len(class_names) <= 12
        known = list(class_names) if class_names and short else "class_names"
        raise ValueError(
            f"`{name}` gives labels that are text, and the loss takes numbers. Turn the names of "
            "classes into integer labels, `lookup = keras.layers.StringLookup("
            f"vocabulary={known}, num_oov_indices=0)`, `data.map(lambda x, y: (x, lookup(y)))`. "
            f"Received: {name} with labels of dtype {_dtype(part)}"
        )


def packed(x: Any, y: Any, weights: Any) -> Any:
    """A batch of these parts, as Keras takes it."""
    return keras.utils.pack_x_y_sample_weight(x, y, weights)


def _dtype(part: Any) -> str:
    dtype = getattr(part, "dtype", None)
    return str(getattr(dtype, "name", dtype))


def _is_text(part: Any) -> bool:
    if isinstance(part, (str, bytes)):
        return True
    return _dtype(part) == "string" or _dtype(part).startswith(("str", "bytes"))


def _array(part: Any) -> np.ndarray:
    plain = isinstance(part, np.ndarray) and part.dtype.kind in "biuf"
    return part if plain else inputs.to_numpy(part, "y")
