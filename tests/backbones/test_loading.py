"""Does one verb load every kind of source, say what it did, and refuse what has no effect?"""

from __future__ import annotations

from pathlib import Path

import keras
import pytest

import finetunekit as ftk
from models import same, small_backbone, small_sequential, values


def test_the_report_travels_with_the_model(tmp_path: Path) -> None:
    small_backbone().save(tmp_path / "model.keras")
    backbone = ftk.load_backbone(tmp_path / "model.keras")
    report = ftk.load_report(backbone)
    assert (report.source, report.format) == ("model.keras", "Keras 3 archive")
    assert report.parameters == backbone.count_params()
    assert report.written_by == f"Keras {keras.__version__}"
    model = ftk.add_head(backbone, "binary")
    assert ftk.load_report(model) == report
    ftk.save(model, tmp_path / "tuned.keras")
    again = ftk.load(tmp_path / "tuned.keras")
    assert ftk.load_report(again).sha256 == report.sha256
    with pytest.raises(ValueError, match="not loaded by finetunekit"):
        ftk.load_report(small_sequential())


def test_a_model_is_returned_as_it_is() -> None:
    model = small_backbone()
    before = values(model)
    assert ftk.load_backbone(model) is model
    assert same(before, values(model))


def test_says_what_it_did(caplog: pytest.LogCaptureFixture) -> None:
    ftk.load_backbone("builtin:mobilenet_v2", input_shape=(32, 32, 3))
    text = caplog.text
    for part in (
        "2,257,984 parameters",
        "(None, 32, 32, 3)",
        "(None, 1, 1, 1280)",
        "sha256",
        "raw RGB pixels of 0 to 255",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("source", "options", "argument"),
    [
        ("model.keras", {"input_shape": (32, 32, 3)}, "input_shape"),
        ("model.keras", {"weights": None}, "weights"),
        ("builtin:mobilenet_v2", {"custom_objects": {"a": 1}}, "custom_objects"),
        ("vgg16", {"safe_mode": False}, "safe_mode"),
    ],
)
def test_an_option_without_effect_is_an_error(source: str, options: dict, argument: str) -> None:
    with pytest.raises(ValueError, match=f"`{argument}` has no effect"):
        ftk.load_backbone(source, **options)
