"""Is a summary short for any model, and does it add up, block by block and layer by layer?"""

from __future__ import annotations

import keras
import pytest

import finetunekit as ftk
from finetunekit.models.trainable_summary import SummaryRow, TrainableSummary


def dense(name: str, count: int, *, numbered: str = "{name}_{number}") -> keras.Model:
    inputs = x = keras.Input((3,))
    for number in range(count):
        x = keras.layers.Dense(3, name=numbered.format(name=name, number=number))(x)
    return keras.Model(inputs, x, name="deep")


def test_a_small_model_is_shown_layer_by_layer() -> None:
    model = dense("dense", 3)
    model.layers[1].trainable = False
    summary = ftk.trainable_summary(model)
    assert str(summary).splitlines() == [
        "layer    type    parameters  trains",
        "dense_0  Dense           12  no",
        "dense_1  Dense           12  yes",
        "dense_2  Dense           12  yes",
        "24 of 36 parameters train (66.7%)",
    ]
    assert repr(summary) == "<TrainableSummary: 24 of 36 parameters train (66.7%)>"


@pytest.mark.parametrize("wrapped", [False, True])
def test_layers_of_a_block_are_one_line(wrapped: bool) -> None:
    inputs = x = keras.Input((3,))
    for number in range(12):
        for part in ("query", "key", "value"):
            x = keras.layers.Dense(3, name=f"block_{number}_{part}")(x)
    model = keras.Model(inputs, x, name="net_2_of_many")
    ftk.freeze_layers(model, "block_([0-9]|10)_.*")
    if wrapped:
        model = ftk.add_head(model, "regression")
    before = "net_2_of_many/" if wrapped else ""
    summary = ftk.trainable_summary(model)
    blocks = [row for row in summary.blocks if "block" in row.path]
    assert [row.path for row in blocks] == [f"{before}block_{number}" for number in range(12)]
    assert {(row.type, row.parameters) for row in blocks} == {("3 layers", 36)}
    assert [row.trains for row in blocks] == ["no"] * 11 + ["yes"]
    assert sum(row.parameters for row in summary.blocks) == summary.parameters
    assert sum(row.trainable for row in summary.blocks) == summary.trainable
    assert "3 layers" in str(summary)
    for number in range(12):
        assert f"block_{number}_query" in summary.all_layers()
        assert f"block_{number}_query" not in str(summary)


def test_layers_that_keras_numbered_are_put_together_where_they_are_many() -> None:
    model = dense("dense", 80)
    ftk.freeze_layers(model, 41)  # The input is the first layer.
    assert [(r.path, r.type, r.trains) for r in ftk.trainable_summary(model).blocks] == [
        ("dense_0 ... dense_39", "40 layers", "no"),
        ("dense_40 ... dense_79", "40 layers", "yes"),
    ]


def test_html_is_escaped_and_holds_every_layer() -> None:
    rows = tuple(SummaryRow(f"<b>{n}_x", "Dense", 1, n % 2, f"<b>{n}") for n in range(40))
    shown = TrainableSummary(rows)._repr_html_()
    assert "<b>" not in shown
    assert all(f"&lt;b&gt;{number}_x" in shown for number in range(40))
    assert "20 of 40 parameters train (50.0%)" in shown
