"""Parameters of tests, some of them slow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def often(names: Iterable[Any], chosen: tuple[Any, ...]) -> list[Any]:
    """The names as parameters, those but the chosen ones marked slow.

    Args:
        names: A value each, or a tuple of values for several parameters.
        chosen: Those of the default suite.
    """
    values = [name if isinstance(name, tuple) else (name,) for name in names]
    often_run = [name if isinstance(name, tuple) else (name,) for name in chosen]
    return [
        pytest.param(*each, marks=() if each in often_run else pytest.mark.slow) for each in values
    ]
