"""Fills a store and says how far it is, row by row: what the kill tests start and kill.

It loads the store without the rest of the package, and so starts in a fraction of a second.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path

ROOT = Path(__file__).parents[2] / "finetunekit"

for name, folder in (("finetunekit", ROOT), ("finetunekit.caching", ROOT / "caching")):
    module = types.ModuleType(name)
    module.__path__ = [str(folder)]  # type: ignore[attr-defined]
    sys.modules[name] = module

import numpy as np  # noqa: E402

from finetunekit.caching import store as store_module  # noqa: E402
from finetunekit.caching.store import Column, FeatureStore  # noqa: E402

ROWS, WIDTH, STEP = 4000, 96, 5
BLOCK_ROWS = 100
COLUMNS = {"a": Column((WIDTH,), "float32"), "m": Column((3,), "bool")}
KEY = {"data": "d" * 64, "prefix weights": "w" * 64}


def content(first: int, last: int) -> dict[str, np.ndarray]:
    """What belongs into the rows, by their numbers."""
    numbers = np.arange(first, last)
    a = (numbers[:, None] * 7 + np.arange(WIDTH)).astype("float32")
    return {"a": a, "m": (numbers[:, None] + np.arange(3)) % 2 == 0}


def fill(path: str) -> None:
    """Goes on from where the store is, and prints each step."""
    store_module.BLOCK = BLOCK_ROWS * (WIDTH * 4 + 3)
    if Path(path).exists():
        table = FeatureStore.open(path, KEY, write=True)
    else:
        table = FeatureStore.create(path, COLUMNS, ROWS, KEY)
    print("open", table.done, flush=True)
    while table.done < ROWS:
        table.append(content(table.done, min(ROWS, table.done + STEP)))
        print(table.done, flush=True)
    table.close()


if __name__ == "__main__":
    fill(sys.argv[1])
