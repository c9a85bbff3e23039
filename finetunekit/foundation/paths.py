"""Paths of files, checked before anything is opened."""

import os
from pathlib import Path
from typing import Any

from finetunekit.foundation import arguments
from finetunekit.foundation.messages import closest, listed


def check_source(path: Any, name: str) -> str:
    """A file that is there, as a string.

    Raises:
        TypeError: If it is not a path.
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
        folder = Path(target).parent
        there = [file.name for file in folder.iterdir()] if folder.is_dir() else []
        hint = closest(Path(target).name, there)
        if target.startswith("~"):
            hint = "Expand the home folder: `os.path.expanduser(path)`. "
        raise FileNotFoundError(
            f"`{name}` is not there. {hint}It was looked for in {str(folder.resolve())!r}. "
            f"Received: {name}={target!r}"
        )
    return target
