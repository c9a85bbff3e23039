"""Parameters of tests, some of them slow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def often(names: Iterable[Any], chosen: tuple[Any, ...]) -> list[Any]:
    """The names as parameters, those but the chosen ones marked slow."""
    return [n if n in chosen else pytest.param(n, marks=pytest.mark.slow) for n in names]
