"""The classes of the head that a Hugging Face folder had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import pytest

import finetunekit as ftk
import hugging_face
from finetunekit.models import metadata


@pytest.fixture
def classifier(tmp_path: Path) -> keras.Model:
    return hugging_face.classifier(tmp_path / "model")


def test_the_classes_of_the_old_head_are_kept(
    classifier: keras.Model, caplog: pytest.LogCaptureFixture
) -> None:
    assert any("'neg', 'neu', 'pos'" in row.message for row in caplog.get_records("setup"))
    report = ftk.load_report(classifier)
    assert report.dropped == ("classifier (2 tensors)",)
    assert report.class_names == ("neg", "neu", "pos")
    assert "neg, neu, pos" in str(report)
    head = ftk.add_head(classifier, "multiclass")
    assert metadata.of(head).task.class_names == ("neg", "neu", "pos")
    assert metadata.of(ftk.add_head(classifier, "multiclass", 4)).task.class_names is None
    assert metadata.of(ftk.add_head(classifier, "binary")).task.class_names is None


@pytest.mark.parametrize(
    "names",
    [None, {"0": "LABEL_0", "1": "LABEL_1"}, {"0": "a", "2": "b"}, {"0": "a", "1": "a"}, {"0": 1}],
)
def test_names_that_say_nothing_are_none(names: Any) -> None:
    from finetunekit.backbones import hub_labels

    assert hub_labels.class_names({"id2label": names}) == ()
