"""Which input of a text model is what is read from the inputs' names, and only if all are known."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from finetunekit.text import roles

L = keras.layers


def model_of(*names: str, structure: str = "dict", dtype: str = "int32", rank: int = 2) -> Any:
    """Inputs of these names, all of which count in the output."""
    inputs = {name: keras.Input((None,) * (rank - 1), dtype=dtype, name=name) for name in names}
    parts = [keras.ops.cast(tensor, "float32") for tensor in inputs.values()]
    output = L.Add()(parts) if len(parts) > 1 else L.Identity()(parts[0])
    if structure == "dict":
        return keras.Model(inputs, output)
    return keras.Model(
        list(inputs.values()) if len(names) > 1 else next(iter(inputs.values())), output
    )


class Subclassed(keras.Model):
    def call(self, token_ids: Any) -> Any:
        return token_ids


@pytest.mark.parametrize("structure", ["dict", "list"])
@pytest.mark.parametrize(
    "names",
    [
        ("token_ids", "padding_mask", "segment_ids"),
        ("input_ids", "attention_mask", "token_type_ids"),
        ("input_word_ids", "input_mask", "input_type_ids"),
    ],
)
def test_the_names_of_three_libraries(names: tuple[str, ...], structure: str) -> None:
    wanted = dict(zip(names, ("ids", "mask", "segments"), strict=True))
    assert roles.of(model_of(*names, structure=structure)) == wanted
    backwards = roles.of(model_of(*names[::-1], structure=structure))
    assert backwards == wanted
    assert list(backwards) == list(names[::-1])
    two = model_of(*names[:2], structure=structure)
    assert roles.of(two) == {names[0]: "ids", names[1]: "mask"}
    assert roles.of(model_of(names[0], structure=structure)) == {names[0]: "ids"}


@pytest.mark.parametrize(
    "names",
    [
        ("padding_mask",),
        ("segment_ids",),
        ("token_ids", "segment_ids"),
        ("token_ids", "input_ids"),
        ("padding_mask", "segment_ids"),
        ("token_ids", "image"),
        ("token_ids", "padding_mask", "image"),
        ("token_ids", "padding_mask", "input_mask"),
        ("token_ids", "padding_mask", "segment_ids", "token_type_ids"),
    ],
)
def test_inputs_of_other_roles_are_not_those_of_a_text_model(names: tuple[str, ...]) -> None:
    assert roles.of(model_of(*names)) is None


@pytest.mark.parametrize(
    ("name", "dtype", "rank", "known"),
    [
        ("any", "int32", 2, True),
        ("any", "int64", 2, True),
        ("any", "int32", 3, False),
        ("any", "int32", 1, False),
        ("any", "float32", 2, False),
        ("any", "bfloat16", 2, False),
        ("input_ids", "float32", 2, True),
        ("input_ids", "int32", 3, True),
        ("padding_mask", "int32", 2, False),
    ],
)
def test_a_single_input_is_ids_if_it_is_a_row_of_integers_or_says_so(
    name: str, dtype: str, rank: int, known: bool
) -> None:
    model = model_of(name, structure="alone", dtype=dtype, rank=rank)
    assert roles.of(model) == ({name: "ids"} if known else None)


def test_named_inputs_are_the_tensors_of_the_model() -> None:
    for structure in ("dict", "list"):
        model = model_of("padding_mask", "token_ids", structure=structure)
        found = roles.named_inputs(model)
        assert list(found) == ["padding_mask", "token_ids"]
        for name, tensor in found.items():
            (same,) = [one for one in model.inputs if one.name == name]
            assert tensor is same
        found.clear()
        assert len(roles.named_inputs(model)) == 2
    tokens = keras.Input((4,), dtype="int32", name="words")
    sequential = keras.Sequential([tokens, L.Embedding(3, 2)])
    assert list(roles.named_inputs(sequential)) == ["words"]
    assert roles.of(sequential) == {"words": "ids"}


def test_of_a_subclassed_model_nothing_is_known() -> None:
    model = Subclassed()
    model(np.zeros((1, 3), "int32"))
    assert roles.named_inputs(model) == {}
    assert roles.of(model) is None
    assert roles.mask_of(model, {"padding_mask": np.ones((1, 3))}) is None
    assert roles.named_inputs(keras.Sequential([L.Embedding(3, 2)])) == {}


def test_the_mask_among_inputs() -> None:
    ids, mask, segments = (np.full((1, 2), number) for number in range(3))
    model = model_of("token_ids", "padding_mask", "segment_ids", structure="list")
    assert roles.mask_of(model, [ids, mask, segments]) is mask
    assert roles.mask_of(model, {"token_ids": ids, "padding_mask": mask}) is mask
    assert roles.mask_of(model, {"token_ids": ids, "segment_ids": segments}) is None
    turned = model_of("attention_mask", "input_ids", structure="list")
    assert roles.mask_of(turned, (mask, ids)) is mask
    assert roles.mask_of(turned, turned.inputs) is turned.inputs[0]


def test_no_mask_among_inputs() -> None:
    ids = np.zeros((1, 2))
    assert roles.mask_of(model_of("token_ids"), {"token_ids": ids, "padding_mask": ids}) is None
    assert roles.mask_of(model_of("a", "b", structure="list"), [ids, ids]) is None


class PositionEmbedding(L.Layer):
    """As KerasHub's: says for how many tokens it has room."""

    def __init__(self, sequence_length: Any = None) -> None:
        super().__init__()
        self.sequence_length = sequence_length

    def call(self, x: Any) -> Any:
        return x


class TokenAndPositionEmbedding(PositionEmbedding):
    """What holds one."""


class OfAnotherKind(PositionEmbedding):
    """A layer of that attribute with another meaning."""


@pytest.mark.parametrize(
    ("layers", "wanted"),
    [
        ([], None),
        ([PositionEmbedding], None),
        ([lambda: PositionEmbedding(12)], 12),
        ([lambda: PositionEmbedding(12), lambda: PositionEmbedding(7)], 7),
        ([lambda: PositionEmbedding(7), lambda: TokenAndPositionEmbedding(12)], 7),
        ([lambda: PositionEmbedding(7.5), lambda: TokenAndPositionEmbedding(12)], 12),
        ([lambda: OfAnotherKind(5)], None),
        ([lambda: OfAnotherKind(5), lambda: PositionEmbedding(12)], 12),
    ],
)
def test_the_shortest_position_embedding_limits_the_length(
    layers: list[Any], wanted: int | None
) -> None:
    model = keras.Sequential([keras.Input((4,)), L.Identity(), *[make() for make in layers]])
    assert roles.longest(model) == wanted
    assert roles.longest(keras.Sequential([keras.Input((4,)), model])) == wanted


class TransformerDecoder(L.Identity):
    """A block that reads from left to right."""


class TransformerEncoder(L.Identity):
    """A block that reads both ways."""


@pytest.mark.parametrize(
    ("layers", "causal"),
    [
        ([L.Identity], False),
        ([TransformerDecoder], True),
        ([L.Identity, TransformerDecoder, TransformerDecoder], True),
        ([TransformerEncoder], False),
        ([TransformerEncoder, TransformerDecoder], False),
        ([TransformerDecoder, TransformerEncoder, L.Identity], False),
    ],
)
def test_decoders_without_an_encoder_read_from_left_to_right(
    layers: list[Any], causal: bool
) -> None:
    model = keras.Sequential([keras.Input((4,)), *[make() for make in layers]])
    assert roles.is_causal(model) is causal
    assert roles.is_causal(keras.Sequential([keras.Input((4,)), model])) is causal
