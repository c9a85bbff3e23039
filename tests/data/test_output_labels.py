"""Labels and weights of models with one output or several."""

from __future__ import annotations

import numpy as np
import pytest

from finetunekit.data import output_labels


def test_weights_without_labels_are_told_and_not_taken_for_labels() -> None:
    with pytest.raises(ValueError, match="`sample_weight` weights the loss of labels"):
        output_labels.read_weights(np.ones(4), None, 4)
    assert output_labels.read_weights(None, None, 4) is None
