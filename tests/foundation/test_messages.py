"""Messages are English."""

from __future__ import annotations

import pytest

from finetunekit.foundation.messages import plural


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [
        (1, "epoch", "1 epoch"),
        (2, "epoch", "2 epochs"),
        (2, "batch", "2 batches"),
        (0, "class", "0 classes"),
        (1234, "layer", "1,234 layers"),
    ],
)
def test_plurals(count: int, noun: str, text: str) -> None:
    assert plural(count, noun) == text
