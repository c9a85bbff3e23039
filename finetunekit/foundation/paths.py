"""Paths of files, checked before anything is opened."""

import os
import re
from pathlib import Path
from typing import Any

from finetunekit.foundation import arguments
from finetunekit.foundation.messages import closest, listed


def check_source(path: Any, name: str) -> str:
    """A file that is there, as a string.

    Raises:
        TypeError: If it is not a path.
        ValueError: If it is the name of a TensorFlow checkpoint, which is several files.
        OSError: If there is not such a file.
    """
    target = arguments.check_path(path, name)
    if os.path.isdir(target):
        there = sorted(file.name for file in Path(target).iterdir())
        raise IsADirectoryError(
            f"`{name}` is a folder. Give a file; there are {listed(there, 6) or 'no files'} in it. "
            f"Received: {name}={target!r}"
        )
    if not os.path.exists(target):
        if fault := tensorflow_checkpoint(target):
            raise ValueError(f"`{name}` {fault}Received: {name}={target!r}")
        folder = Path(target).parent
        hint = closest(Path(target).name, [Path(file).name for file in neighbours(target)])
        if target.startswith("~"):
            hint = "Expand the home folder: `os.path.expanduser(path)`. "
        raise FileNotFoundError(
            f"`{name}` is not there. {hint}It was looked for in {str(folder.resolve())!r}. "
            f"Received: {name}={target!r}"
        )
    return target


def neighbours(path: str) -> list[str]:
    """The paths of what lies in the same folder, written as `path` is."""
    folder = os.path.dirname(path)
    there = os.listdir(folder or ".") if os.path.isdir(folder or ".") else []
    return [os.path.join(folder, name) for name in sorted(there)]


def tensorflow_checkpoint(path: str) -> str:
    """What to do about a TensorFlow checkpoint; empty for anything else.

    Args:
        path: A folder, one of the files of a checkpoint, or what their names have in common,
            which is what `save_weights` of Keras 2 was given.

    Returns:
        The rest of a sentence that begins with the path.
    """
    stem = re.sub(r"\.(index|data-\d+-of-\d+)$", "", path)
    in_folder = os.path.isfile(os.path.join(path, "checkpoint"))
    if not in_folder and not os.path.isfile(f"{stem}.index"):
        return ""
    return (
        "is a TensorFlow checkpoint, such as `save_weights` of Keras 2 writes to a name without "
        "'.h5', and it is not read here. Build the model in tf_keras, `model.load_weights(path)`, "
        "and write `model.save('model.h5')`. "
    )
