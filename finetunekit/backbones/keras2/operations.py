"""TensorFlow functions in a graph, converted to nodes of `keras.ops`, stock Keras."""

from dataclasses import dataclass
from typing import Any

import keras

from finetunekit.backbones.keras2 import table
from finetunekit.backbones.keras2.context import Context, Unreadable
from finetunekit.foundation import keras_internals
from finetunekit.foundation.causes import cause_of

_IGNORED = {"name"}
# They also take the sizes that tf.shape gives, which are plain numbers here. All else would be
# computed at once, on constants that a malicious file may make as large as it likes.
_OF_SIZES = ("__operators__.getitem", "concat", "stack")


@dataclass(frozen=True)
class Operation:
    """A function of TensorFlow that was called on a Keras tensor, by its public name."""

    saved_name: str
    function: str
    context: Context

    @staticmethod
    def read(entry: dict[str, Any], context: Context) -> "Operation":
        """Reads the config of a TFOpLambda or SlicingOpLambda."""
        config = entry["config"]
        name = str(config.get("name", entry.get("name")))
        function = config.get("function")
        if not isinstance(function, str):
            raise context.error(
                f"layer {name!r} is a {entry['class_name']} without a function, which cannot be "
                "converted",
                "Build the model again with Keras layers in its place, and save that.",
            )
        return Operation(name, function.removeprefix("compat.v1."), context)

    def __call__(self, positional: list[Any], named: dict[str, Any]) -> Any:
        """Calls the function of keras.ops that does the same."""
        own = self.context.custom_objects.get(f"tf.{self.function}")
        function = own or table.FUNCTIONS.get(self.function)
        if function is None:
            raise self._error("has no counterpart that is known here")
        named = {key: value for key, value in named.items() if key not in _IGNORED}
        self.context.convert(f"{self.saved_name}: tf.{self.function} became a node of keras.ops")
        given = keras.tree.flatten([positional, list(named.values())])
        if self.function not in _OF_SIZES and not any(_is_tensor(value) for value in given):
            raise self._error("has no tensor among its arguments")
        try:
            outputs = function(*positional, **named)
        except Unreadable:
            raise
        except Exception as error:  # keras.ops may raise anything for arguments it does not take.
            raise self._error(f"cannot be called as it was ({cause_of(error)})") from error
        self._name(outputs, {id(tensor) for tensor in given})
        return outputs

    def _name(self, outputs: Any, given: set[int]) -> None:
        """Names the new nodes after the file's: Keras' automatic names may be those of layers."""
        waiting = [t for t in keras.tree.flatten(outputs) if _is_tensor(t)]
        new: dict[int, Any] = {}
        while waiting:
            tensor = waiting.pop()
            operation = keras_internals.producer(tensor)
            if id(tensor) not in given and id(operation) not in new:
                new[id(operation)] = operation
                waiting += keras_internals.incoming(tensor)
        for number, operation in enumerate(new.values()):
            name = self.saved_name.replace("/", "_")
            operation.name = f"{name}.{number}" if number else name

    def _error(self, fault: str) -> Unreadable:
        key = f"tf.{self.function}"
        return self.context.error(
            f"layer {self.saved_name!r} is the TensorFlow function {key}, which {fault}",
            f"Give a function of keras.ops for it: custom_objects={{{key!r}: function}}.",
        )


def _is_tensor(value: Any) -> bool:
    return isinstance(value, keras.KerasTensor)
