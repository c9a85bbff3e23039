"""What RoBERTa and ESM compute besides their tensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from finetunekit.backbones import hub_adaptations
from hugging_face import HEAD, check_outputs

CASES = {
    "token types": ("roberta", {"layer_norm_eps": 1e-5}, "", {}, True),
    "token types, pad 0": ("roberta", {"layer_norm_eps": 1e-5, "pad_token_id": 0}, "x.", {}, True),
    "xlm-roberta, pad 0": ("xlm-roberta", {"pad_token_id": 0}, "roberta.", HEAD, True),
    "xlm-roberta, pad 3": ("xlm-roberta", {"pad_token_id": 3}, "roberta.", HEAD, True),
}


@pytest.mark.parametrize("case", CASES)
def test_outputs_are_those_of_the_formula(tmp_path: Path, case: str) -> None:
    check_outputs(tmp_path / "model", *CASES[case])


def test_sums_of_half_precision_are_not_rounded() -> None:
    names = ("position_embeddings", "token_type_embeddings")
    random = np.random.default_rng(0)
    tensors = {
        f"embeddings.{name}.weight": random.normal(size=(4, 3)).astype("float16") for name in names
    }
    positions, segments = (array.astype("float64") for array in tensors.values())
    hub_adaptations.positions(adds_segment=True).apply(tensors, {}, "")
    found = tensors["embeddings.position_embeddings.weight"]
    assert np.allclose(found, positions + segments[0], rtol=0, atol=1e-6)


def test_token_dropout_scales_the_embeddings() -> None:
    """As transformers does it: by the share of the tokens that training did not mask."""
    name = "esm.embeddings.word_embeddings.weight"
    table = np.ones((3, 2), "float32")
    for asked, factor in ((True, 0.88), (False, 1.0)):
        tensors = {name: table}
        done = hub_adaptations.token_dropout().apply(tensors, {"token_dropout": asked}, "esm.")
        assert np.allclose(tensors[name], factor)
        assert bool(done) is asked
