"""The context of reading one Keras 2 file, with the conversions made on the way."""

import re
from dataclasses import dataclass, field
from typing import Any

import keras

from finetunekit.foundation.messages import listed

CHANGED = "The file was changed, or is not of Keras: get it from its maker again."
"""The remedy where an archive or HDF5 file is whole, but not as Keras writes it."""


class Unreadable(ValueError):
    """The error about a Keras 2 file, with its final message."""


@dataclass
class Context:
    """One file being read: its path, what the caller allows, and the list for the report.

    `output_shapes` are those that layers must give, by name, where Keras 1 was told so.
    `missing` are the classes of layers, and `bytecode` the Lambda layers, that the caller must
    give: an error about one of them names all.
    """

    path: str
    name: str
    custom_objects: dict[str, Any]
    safe_mode: bool
    keras_version: str = ""
    keras1: bool = False
    by_theano: bool = False
    # Version and backend, where the file of the weights may be without them.
    written: tuple[str, str | None] = ("", None)
    output_shapes: dict[str, tuple[int | None, ...]] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    converted: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    bytecode: list[str] = field(default_factory=list)

    @property
    def generation(self) -> int:
        """The first number of the version that wrote the file."""
        return 1 if self.keras1 else 2

    def error(self, fault: str, remedy: str) -> Unreadable:
        """An error about this file, in the library's shape."""
        return Unreadable(
            f"`{self.name}` is a Keras {self.generation} file that cannot be rebuilt: {fault}. "
            f"{remedy} Received: {self.name}={self.path!r}"
        )

    def convert(self, what: str) -> None:
        """Notes a conversion for the report, equal ones once."""
        if what not in self.converted:
            self.converted.append(what)

    def drop(self, layer: str, argument: str, value: Any) -> None:
        """Notes an argument left out, which had no effect."""
        note = f"{layer}: {argument}={value!r}"
        if note not in self.dropped:
            self.dropped.append(note)

    def find(self, class_name: str) -> Any:
        """A class or function that the caller gave or registered; None if there is none."""
        short = class_name.split(">")[-1]
        for key in (class_name, short):
            if key in self.custom_objects:
                return self.custom_objects[key]
        return keras.saving.get_registered_object(class_name)


@dataclass
class Built:
    """A layer of the file and the Keras 3 layer made of it, with those below it in file order."""

    saved_name: str
    saved_class: str
    layer: Any
    below: list["Built"] = field(default_factory=list)
    frozen: bool = False


def snake_case(name: str) -> str:
    """What tf_keras calls the layers of a class inside an archive."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def unknown(context: Context, kind: str, class_name: str, layer: str) -> Unreadable:
    """The error about a class that neither Keras 3 nor the caller has, and all such of the file."""
    short = class_name.rpartition(">")[2]
    names = [short, *(name for name in context.missing if name != short)]
    known = listed(context.custom_objects) if context.custom_objects else "nothing"
    wanted = ", ".join(f"{name!r}: {name}" for name in names)
    more = f"; neither are {listed(names[1:])}" if len(names) > 1 else ""
    return context.error(
        f"{kind} {layer!r} is of the class {short!r}, which Keras 3 does not have{more}",
        f"Give Keras 3 classes of that name: custom_objects={{{wanted}}} (given: {known})."
        if len(names) > 1
        else f"Give a Keras 3 class of that name: custom_objects={{{wanted}}} (given: {known}).",
    )
