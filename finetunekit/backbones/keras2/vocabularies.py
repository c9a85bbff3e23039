"""Vocabularies of Keras 2 text layers: in the config, or in the assets of the archive."""

import os
import tempfile
import zipfile
from collections.abc import Iterator
from typing import Any

from finetunekit.backbones.keras2.context import CHANGED, Built, Context, snake_case
from finetunekit.foundation.messages import warn

LAYERS = ("IntegerLookup", "StringLookup", "TextVectorization")
_FILE = "vocabulary.txt"
_LARGEST = 256 * 2**20


def check(class_name: str, name: str, arguments: dict[str, Any], context: Context) -> None:
    """Raises for a vocabulary that is the path of another file, which anybody may have written.

    Keras would read whatever lies there, and `save` would put it into the new file.

    Raises:
        ValueError: In safe mode, or if there is no such file.
    """
    path = arguments.get("vocabulary")
    if not isinstance(path, str):
        return
    layer = f"layer {name!r}, a {class_name}, has its vocabulary in another file, {path!r}"
    remedy = (
        "Save the model in tf_keras with the words themselves, "
        f"{class_name}(vocabulary=list_of_words)"
    )
    if context.safe_mode:
        raise context.error(
            f"{layer}, which is not read, since any file of yours could stand there",
            f"{remedy}; or, if you trust the file's maker and have the vocabulary there, pass "
            "safe_mode=False.",
        )
    if "://" not in path and not os.path.isfile(path):
        raise context.error(f"{layer}, which is not there", f"Put it there, or: {remedy}.")


def load(built: Built, archive: zipfile.ZipFile, context: Context) -> None:
    """Gives the layers of a model the vocabularies that tf_keras put beside the weights."""
    members = {member.filename: member for member in archive.infolist()}
    for part, place in _layers(built, "assets"):
        member = members.get(f"{place}/{_FILE}")
        if member is None:
            continue
        if member.file_size > _LARGEST:
            raise context.error(
                f"the vocabulary of layer {part.saved_name!r} is of {member.file_size:,} bytes",
                CHANGED,
            )
        if part.layer.get_config().get("output_mode") == "tf_idf":
            raise context.error(
                f"layer {part.saved_name!r} was adapted to weigh words by their frequency",
                "Save it in tf_keras with `vocabulary` and `idf_weights` as arguments.",
            )
        with tempfile.TemporaryDirectory(prefix="finetunekit-") as folder:
            with open(os.path.join(folder, _FILE), "wb") as file:
                file.write(archive.read(member))
            part.layer.load_assets(folder)


def _layers(built: Built, place: str) -> Iterator[tuple[Built, str]]:
    """The layers with a vocabulary, each with its folder, which is named as that of its weights."""
    taken: dict[str, int] = {}
    for part in built.below:
        key = snake_case(part.saved_class.split(">")[-1])
        number = taken[key] = taken.get(key, -1) + 1
        folder = f"{place}/layers/{key}_{number}" if number else f"{place}/layers/{key}"
        if part.saved_class in LAYERS:
            yield part, folder
        yield from _layers(part, folder)


def tell_empty(built: Built) -> None:
    """Warns of layers without a vocabulary, which would take every word for an unknown one."""
    for part, _ in _layers(built, ""):
        if not len(part.layer.get_vocabulary(include_special_tokens=False)):
            warn(
                f"layer {part.layer.name!r}, a {part.saved_class}, has no vocabulary, since the "
                "file holds none, so every word is unknown to it: give it the words that the model "
                f"was trained with, model.get_layer({part.layer.name!r}).set_vocabulary(words)"
            )
