"""Errors about the data of `fit` in the words of `fine_tune`, which calls them otherwise."""

import contextlib
import re
from collections.abc import Iterator


@contextlib.contextmanager
def errors_of_train(*, pipeline: bool) -> Iterator[None]:
    """Within, errors about `x` and `y` name `train`, of which these are parts.

    Args:
        pipeline: Whether `train` brings its own labels, rather than being a pair `(x, y)`.
    """
    try:
        yield
    except (ValueError, TypeError) as error:
        text = str(error)
        if type(error) not in (ValueError, TypeError) or not text.startswith(("`x`", "`y`")):
            raise
        if pipeline:
            text = re.sub(r"(`|Received: )x\b", r"\1train", text)
        raise type(error)(text if pipeline else f"In `train`: {text}") from error
