"""KerasHub backbones in training and in files: what is frozen, and what gets no gradients."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import finetunekit as ftk
import hugging_face


@pytest.fixture
def classifier(tmp_path: Path) -> keras.Model:
    return hugging_face.classifier(tmp_path / "model")


def test_an_unused_pooler_neither_trains_nor_counts(
    classifier: keras.Model, tmp_path: Path
) -> None:
    model = ftk.add_head(classifier, "multiclass")
    ftk.compile_for_task(model, run_eagerly=True)
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-5)  # Everything trains.
    ftk.freeze_layers(classifier)
    ftk.unfreeze_layers(model)
    pooler = classifier.get_layer("pooled_dense")
    assert not pooler.trainable
    assert classifier.get_layer("transformer_layer_0").trainable
    x = hugging_face.inputs("bert")
    model.fit(x, np.array([0, 1]), verbose=0)  # A warning about gradients would be an error.
    again = ftk.load(ftk.save(model, tmp_path / "tuned.keras", verbose=0))
    assert [w.shape for w in again.trainable_weights] == [w.shape for w in model.trainable_weights]
    assert int(again.optimizer.iterations) == 1
    moments = zip(again.optimizer.variables, model.optimizer.variables, strict=True)
    assert all(np.array_equal(one, other) for one, other in moments)
    ftk.unfreeze_layers(model, "pooled_dense")  # Asked for by name.
    assert pooler.trainable


def test_frozen_layers_of_a_kerashub_backbone_stay_frozen_in_a_file(tmp_path: Path) -> None:
    settings = hugging_face.config("roberta", layer_norm_eps=1e-5)
    weights = hugging_face.tensors("roberta")
    backbone = ftk.load_backbone(hugging_face.folder(tmp_path / "model", settings, weights))
    ftk.freeze_layers(backbone, "embeddings.*")
    model = ftk.add_head(backbone, "binary")
    again = ftk.load(ftk.save(model, tmp_path / "tuned.keras", verbose=0))
    trains = [row.trainable for row in ftk.trainable_summary(again).rows]
    assert trains == [row.trainable for row in ftk.trainable_summary(model).rows]
    assert 0 in trains
