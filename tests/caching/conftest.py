"""What the tests of engines share."""

from __future__ import annotations

from typing import Any

import pytest

from finetunekit.caching import engines, prepared_engines


@pytest.fixture(autouse=True)
def nothing_prepared() -> None:
    """No test takes the engine of another."""
    prepared_engines.drop_all()


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the engines that are prepared, in their order."""
    names: list[str] = []

    def noted(name: str, maker: Any) -> Any:
        def make(*args: Any) -> Any:
            names.append(name)
            return maker(*args)

        return make

    monkeypatch.setattr(engines, "_MAKERS", {n: noted(n, m) for n, m in engines._MAKERS.items()})
    return names
