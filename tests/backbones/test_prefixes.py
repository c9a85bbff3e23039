"""Is a known architecture found behind the prefixes that training scripts put in front of it?"""

from __future__ import annotations

import numpy as np
import pytest

from finetunekit.backbones import torch_models
from torch_states import behind, small_resnet

NET = small_resnet()
BODY = {key: array for key, array in NET.items() if not key.startswith("fc.")}
HEAD = {"weight": np.ones((2, 20), "float32"), "bias": np.ones(2, "float32")}
PREFIXES = ["", "model.", "backbone.", "net.", "encoder.", "student.backbone.", "0.", "a.b.c.0.d."]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("head", ["", "head.", "classifier.1."])
def test_any_prefix_is_taken_off(prefix: str, head: str) -> None:
    state = behind(prefix, NET) | (behind(head, HEAD) if prefix and head else {})
    found = torch_models.locate(state, "net.pth", "")
    assert list(found.state) == list(NET)
    assert all(found.state[key] is array for key, array in NET.items())
    assert found.prefix == prefix.rstrip(".")
    assert len(found.left) == (2 if prefix and head else 0)


def test_what_is_not_known_is_taken_whole() -> None:
    found = torch_models.locate(behind("a.", HEAD), "net.pth", "")
    assert (list(found.state), found.prefix) == (["a.weight", "a.bias"], "")


@pytest.mark.parametrize(
    ("state", "match"),
    [
        (
            behind("student.", BODY) | behind("teacher.", BODY),
            r"more than one model .*'model\.student', 'model\.teacher'. Choose",
        ),
        (
            behind("backbone.", BODY) | {"classifier.0.weight": np.ones((4, 20, 3, 3))},
            r"'classifier\.0\.weight', which is more than a head.*state_dict='model\.backbone'",
        ),
        (
            {"0.mean": np.ones(3), "0.std": np.ones(3), **behind("1.", NET)},
            r"'0\.mean', '0\.std', which is more than a head",
        ),
    ],
    ids=["two", "segmentation", "normalised"],
)
def test_what_is_not_clear_is_refused(state: dict[str, np.ndarray], match: str) -> None:
    with pytest.raises(ValueError, match=rf"`source` .*{match}.*Received: source='net\.pth'"):
        torch_models.locate(state, "net.pth", "model")
