"""Plots with matplotlib, an extra, each in a figure of its own."""

import importlib
from typing import Any


def new_axes(width: float = 7.0, height: float = 4.0) -> Any:
    """Axes in a figure of its own: no window, and the user's pyplot is left alone.

    Raises:
        ImportError: If matplotlib is not installed; with the line that installs it.
    """
    try:
        module = importlib.import_module("matplotlib.figure")
    except ImportError as error:
        raise ImportError(
            "Plots need matplotlib, which is not installed. Install it: "
            'pip install "finetunekit[plots]"'
        ) from error
    return module.Figure(figsize=(width, height), layout="constrained").subplots()
