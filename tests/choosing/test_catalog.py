"""Which pretrained models are there? The table against what Keras and KerasHub say."""

from __future__ import annotations

from typing import Any

import keras
import pytest

import finetunekit as ftk
from finetunekit.backbones import applications


def test_every_application_is_listed_once() -> None:
    listed = [row.name for row in ftk.list_backbones() if row.source == "keras.applications"]
    known = [function.__name__ for function in applications.constructors().values()]
    assert sorted(listed) == sorted(known)


@pytest.mark.slow
@pytest.mark.parametrize("row", ftk.list_backbones(modality="image", max_parameters=9e6))
def test_parameters_and_sizes_are_those_of_the_built_model(row: Any) -> None:
    function = applications.constructor(row.name)
    if function is None:
        assert ftk.load_backbone(row.name).count_params() == row.parameters
        return
    assert function(weights=None, include_top=False).count_params() == row.parameters
    # MobileNetV3 takes any size.
    assert function(weights=None).input_shape[1] in (row.input_size, None)
    keras.utils.clear_session()


def test_presets_are_those_of_kerashub() -> None:
    import keras_hub

    known = {
        name: preset["metadata"]["params"]
        for kind in vars(keras_hub.models).values()
        if isinstance(kind, type) and issubclass(kind, keras_hub.models.Backbone)
        for name, preset in kind.presets.items()
    }
    rows = ftk.list_backbones(modality="text")
    assert {row.name.removeprefix("kerashub:"): row.parameters for row in rows}.items() <= (
        known.items()
    )


def test_filters() -> None:
    small = ftk.list_backbones("sentiment", max_parameters=5e6)
    assert [row.name for row in small] == ["kerashub:bert_tiny_en_uncased"]
    assert "bert_tiny" in str(small)
    assert len(ftk.list_backbones("binary")) == len(ftk.list_backbones())
    assert not ftk.list_backbones("sentiment", modality="image")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"task": "sentimnt"}, "Did you mean 'sentiment'"),
        ({"modality": "smell"}, "modality"),
        ({"max_parameters": -1}, "positive"),
    ],
)
def test_wrong_inputs(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        ftk.list_backbones(**options)
