"""What the tests of fits on features share."""

from __future__ import annotations

from typing import Any

import pytest

import finetunekit as ftk
from finetunekit.caching import engines


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    """No test finds the features of another."""
    ftk.clear_cache()


@pytest.fixture
def rows_run(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of rows in each batch that a prefix runs on."""
    counts: list[int] = []
    run = engines.Engine.__call__

    def counted(self: Any, inputs: list[Any]) -> Any:
        counts.append(len(inputs[0]))
        return run(self, inputs)

    monkeypatch.setattr(engines.Engine, "__call__", counted)
    return counts
