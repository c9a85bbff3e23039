"""How long must a batch of texts be?"""

from __future__ import annotations

import numpy as np

import finetunekit as ftk
from finetunekit.text import lengths
from text_models import letters, text_backbone, with_tokenizer


def test_lengths_are_those_of_the_mask() -> None:
    model = with_tokenizer()
    arrays = ftk.tokenize(model, ["a", "a b c", ""])
    found = lengths.of(model, arrays)
    assert found is not None
    assert found.tolist() == [3, 5, 2]


def test_batches_are_whole_unless_it_is_sure() -> None:
    model = with_tokenizer()
    arrays = ftk.tokenize(model, ["a", "a b c"])
    left_padded = arrays | {"padding_mask": arrays["padding_mask"][:, ::-1].copy()}
    assert lengths.of(model, left_padded) is None
    assert lengths.of(text_backbone(), arrays) is None
    assert lengths.of(with_tokenizer(length=5), arrays) is None


def test_an_order_by_length_is_random_and_complete() -> None:
    random = np.random.default_rng(0)
    sizes = random.integers(1, 60, 1003)
    orders = [lengths.batched(random.permutation(1003), sizes, 10) for _ in range(2)]
    assert all(np.array_equal(np.sort(order), np.arange(1003)) for order in orders)
    assert not np.array_equal(*orders)
    batches = [sizes[orders[0][at : at + 10]] for at in range(0, 1000, 10)]
    padded = sum(len(b) * b.max() for b in batches) / sizes[orders[0][:1000]].sum()
    shuffled = sizes[random.permutation(1003)][:1000].reshape(100, 10)
    assert padded < 1.1 < 1.5 < (10 * shuffled.max(axis=1)).sum() / shuffled.sum()
    means = np.array([b.mean() for b in batches])
    assert abs(np.corrcoef(means[:-1], means[1:])[0, 1]) < 0.3  # Not from short to long.


def test_batches_are_no_longer_than_their_longest() -> None:
    model = with_tokenizer()
    texts, labels = letters(50)
    arrays = ftk.tokenize(model, texts)
    sizes = lengths.of(model, arrays)
    assert sizes is not None
    batches = lengths.ByLength((arrays, labels), sizes, 8)
    batches.on_epoch_begin()
    seen = []
    for number in range(len(batches)):
        x, y = batches[number]
        assert x["token_ids"].shape[1] == x["padding_mask"].sum(axis=1).max()
        seen += y.tolist()
    assert sorted(seen) == sorted(labels.tolist())


def test_predictions_come_in_the_order_of_the_samples() -> None:
    model = ftk.add_head(with_tokenizer(), "multiclass", 3)
    texts, _ = letters(70)
    arrays = ftk.tokenize(model, texts)
    sizes = lengths.of(model, arrays)
    assert sizes is not None
    found = lengths.predict(model, arrays, sizes, verbose=0)
    assert np.allclose(found, model.predict(arrays, verbose=0), atol=1e-6)
