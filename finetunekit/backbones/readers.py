"""Rows of the kinds of source that `load_backbone` reads: what each accepts, takes and does.

A kind is one `SourceReader`, in the file of its kind. `register` makes it known.
"""

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import keras

from finetunekit.foundation.messages import say
from finetunekit.models import classifier


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """The options of `load_backbone`, with its defaults; readers check what they take further."""

    include_top: bool | str = "auto"
    input_shape: Any = None
    weights: Any = "pretrained"
    preprocessing: Any = "inside"
    dtype: str | None = None
    custom_objects: dict[str, Any] | None = None
    safe_mode: bool = True
    signature: str | None = None
    reference: tuple[Any, Any] | None = None
    state_dict: str | None = None

    def __post_init__(self) -> None:
        if self.include_top not in ("auto", True, False):
            raise ValueError(
                "`include_top` must be 'auto', True or False. "
                f"Received: include_top={self.include_top!r}"
            )
        if self.preprocessing not in ("inside", "outside"):
            raise ValueError(
                "`preprocessing` must be 'inside' (raw pixels in) or 'outside'. "
                f"Received: preprocessing={self.preprocessing!r}"
            )

    def given(self) -> dict[str, Any]:
        """Those that are not at their default."""
        values = {field.name: (getattr(self, field.name), field.default) for field in _FIELDS}
        return {
            name: value
            for name, (value, default) in values.items()
            if type(value) is not type(default) or value != default
        }


_FIELDS = dataclasses.fields(LoadOptions)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceReader:
    """One kind of source.

    Args:
        kind: What a source of the kind is called in messages, such as `"a file"`.
        accepts: Whether a source is of this kind.
        options: Names of the options of `load_backbone` that have an effect; `"reference"`, which
            `load_backbone` itself compares with the outputs, is named like any other.
        read: Makes the model, and may note where it came from. A model that is the source itself
            is returned as it is, without a word.
        type: The type of its sources; paths and names come as str.
    """

    kind: str
    accepts: Callable[[Any], bool]
    options: frozenset[str]
    read: Callable[[Any, LoadOptions], keras.Model]
    type: type = str

    def refuse_others(self, options: LoadOptions) -> None:
        """Raises for an option that would have no effect.

        Raises:
            ValueError: If one is given that the kind does not take.
        """
        for name, value in options.given().items():
            if name not in self.options:
                raise ValueError(
                    f"`{name}` has no effect when the source is {self.kind}; leave it out. "
                    f"Received: {name}={value!r}"
                )

    def origin(self, source: Any) -> dict[str, str]:
        """What a report says of a model whose reader has noted nothing."""
        shown = os.path.basename(source) if isinstance(source, str) else type(source).__name__
        return {"source": shown, "format": self.kind.removeprefix("a ")}


_readers: dict[str, SourceReader] = {}


def register(reader: SourceReader, *, last: bool = False) -> None:
    """Makes a kind of source known. The newest is asked first: general kinds are registered first.

    Args:
        reader: The row.
        last: Whether it is asked after all that are known.

    Raises:
        ValueError: If a reader of that kind is known already.
    """
    if reader.kind in _readers:
        raise ValueError(
            "There is a reader of that kind already; `unregister` it, or name the kind otherwise. "
            f"Received: reader.kind={reader.kind!r}"
        )
    known = dict(_readers)
    _readers.clear()
    _readers.update({reader.kind: reader, **known} if last else {**known, reader.kind: reader})


def unregister(kind: str) -> None:
    """Takes a kind of source away again."""
    del _readers[kind]


def reader_of(source: Any) -> SourceReader | None:
    """The newest reader that accepts the source, a str for paths and names; None without one."""
    asked = (reader for reader in reversed(_readers.values()) if isinstance(source, reader.type))
    return next((reader for reader in asked if reader.accepts(source)), None)


def without_top(model: keras.Model, include_top: bool | str) -> keras.Model:
    """The model, or with `include_top=False` a new one without its classifier, if it ends in one.

    Args:
        model: A whole model.
        include_top: As given to `load_backbone`.
    """
    if include_top is not False:
        return model
    found = classifier.find(model)
    if found is None or classifier.activation(model) not in (None, "softmax", "sigmoid"):
        say(f"{model.name!r} does not end in a classifier: it is taken whole")
        return model
    return classifier.take_off(model, found)


MODEL = SourceReader(
    kind="a model",
    accepts=lambda model: True,
    options=frozenset({"include_top"}),
    read=lambda model, options: without_top(model, options.include_top),
    type=keras.Model,
)
