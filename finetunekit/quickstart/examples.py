"""Labelled images in two disjoint parts, for training and testing."""

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Images and integer labels to train on, and others to test on.

    Args:
        x_train: uint8 `(n, height, width, 3)` in 0..255.
        y_train: Integer labels `(n,)`.
        x_test: As `x_train`; not used before training is over.
        y_test: As `y_train`.
        class_names: One name per class, in the order of the integer labels.
        question: The question about an image.
        flip: How an image may be flipped without changing its class, as for
            `keras.layers.RandomFlip`.
        of_files: Whether the images were read of files.
        image_bits: The depth that files of more than 8 bits were taken for, if there are any.

    Example:
        ```python
        import numpy as np
        from finetunekit.quickstart.examples import Examples

        x, y = np.zeros((4, 32, 32, 3), "uint8"), np.array([0, 1, 0, 1])
        examples = Examples(
            x_train=x, y_train=y, x_test=x, y_test=y, class_names=("a", "b"), question="a or b"
        )
        assert examples.image_shape == (32, 32, 3)
        ```
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple[str, ...]
    question: str
    flip: str = "horizontal"
    of_files: bool = False
    image_bits: int | None = None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        height, width, channels = self.x_train.shape[1:]
        return height, width, channels


def needed(module: str) -> Any:
    """Imports a module of the extra `quickstart`.

    Raises:
        ImportError: With the line that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"The quickstart needs {module.split('.')[0]}, which is not installed. Install it: "
            'pip install "finetunekit[quickstart]"'
        ) from error
