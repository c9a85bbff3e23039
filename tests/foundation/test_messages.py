"""Are messages plain English?"""

from __future__ import annotations

from finetunekit.foundation.messages import plural


def test_plurals() -> None:
    assert plural(1, "epoch") == "1 epoch"
    assert plural(3, "epoch") == "3 epochs"
    assert plural(2, "batch") == "2 batches"
    assert plural(2, "class") == "2 classes"
    assert plural(2000, "layer") == "2,000 layers"
