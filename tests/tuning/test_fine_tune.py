"""Does one call make a model of any data, and say what it chose?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import finetunekit as ftk
from finetunekit.tuning import labels as label_tasks
from models import images, labels, small_backbone, tiny_backbone
from parameters import often

SHORT: dict[str, Any] = {"probe_epochs": 2, "epochs": 1, "verbose": 0}


def bright(count: int = 64, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Dark and bright images: a task that a small model learns."""
    y = np.arange(count) % 2
    return images(count, seed) / 255 * (0.4 + 0.6 * y[:, None, None, None]), y


@pytest.mark.parametrize(
    ("given", "task", "outputs"),
    [
        ([0, 1, 1, 0], "binary", 1),
        ([0, 1, 2, 0], "multiclass", 3),
        (["cat", "dog", "cat"], "binary", 1),
        (["cat", "dog", "bird"], "multiclass", 3),
        ([[1, 0, 0], [0, 0, 1]], "multiclass", 3),
        ([[1, 1, 0], [0, 0, 1]], "multilabel", 3),
        ([0.5, 1.2, 3.0], "regression", 1),
        ([[0.5, 1.2], [3.0, 1.0]], "regression", 2),
        ([True, False], "binary", 1),
    ],
)
def test_the_task_follows_from_the_labels(given: Any, task: str, outputs: int) -> None:
    found, numbers, why = label_tasks.task_of_labels(given, "auto", None)
    assert (found.name, found.num_classes) == (task, outputs)
    assert why
    assert numbers.dtype.kind in "ifbu"


def test_names_become_numbers_in_their_order() -> None:
    found, numbers, _ = label_tasks.task_of_labels(["b", "a", "b"], "auto", None)
    assert found.class_names == ("a", "b")
    assert numbers.tolist() == [1, 0, 1]
    found, numbers, _ = label_tasks.task_of_labels(["b", "a", "b"], "auto", ["b", "a"])
    assert numbers.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("given", "options", "words"),
    [
        ([3, 7, 12], {}, "cannot tell whether these whole numbers are classes"),
        (["a", "a"], {}, "at least two classes"),
        (["a", "b"], {"class_names": ["a", "c"]}, "`class_names` must hold every label"),
        ([], {}, "holds no labels"),
    ],
)
def test_labels_that_say_nothing_are_refused(given: Any, options: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        label_tasks.task_of_labels(given, "auto", options.get("class_names"))


def test_it_learns_and_tells_what_it_chose() -> None:
    x, y = bright()
    keras.utils.set_random_seed(0)
    options = {"probe_epochs": 10, "epochs": 60, "learning_rate": 1e-2, "verbose": 0}
    model, report = ftk.fine_tune(small_backbone(), (x, y), test_data=bright(32, 1), **options)
    assert report.test is not None
    assert report.test.metrics["accuracy"] >= 0.9
    assert (report.probe, report.validation) == (None, None)
    assert report.kept == "tuned"
    text = str(report)
    assert "task: binary, the labels are 0 and 1" in text
    assert "none of 64 samples is held out" in text
    assert "the head and the last 2 of 3 blocks" in text
    assert len(report.history.epoch) == 70
    assert [name for name, _ in report.history.stages] == ["probe", "fine-tune"]
    measured = model.evaluate(*bright(32, 1), verbose=0, return_dict=True)
    assert report.test.metrics["accuracy"] == pytest.approx(measured["accuracy"])


@pytest.mark.parametrize("kept", often(["tuned", "probe"], ("probe",)))
def test_held_out_samples_decide_which_weights_are_kept(kept: str) -> None:
    """Labels exchanged on the held-out side: whatever is learned makes it worse there."""
    x, y = bright(40, 2)
    held_out = (x, y if kept == "tuned" else 1 - y)
    keras.utils.set_random_seed(1)
    model, report = ftk.fine_tune(
        tiny_backbone(),
        bright(40),
        held_out,
        probe_epochs=1,
        epochs=40,
        learning_rate=2e-2,
        verbose=0,
    )
    assert report.kept == kept
    assert report.probe is not None
    assert report.tuned is not None
    assert (report.tuned["auc"] > report.probe["auc"]) == (kept == "tuned")
    assert len(report.history.epoch) == 41, "held-out samples do not cut a stage short"
    assert report.validation is not None
    assert report.validation.metrics == (report.tuned if kept == "tuned" else report.probe)
    measured = model.evaluate(*held_out, verbose=0, return_dict=True)
    assert measured["accuracy"] == pytest.approx(report.validation.metrics["accuracy"])
    text = str(report)
    assert "baseline" in text
    assert "held-out samples:" in text


def test_the_same_seed_gives_the_same_model_with_validation_data_too() -> None:
    """Unless the probe is brought back, which here it is not."""
    runs = []
    for held_out in (None, None, bright(8, 3)):
        keras.utils.set_random_seed(0)
        model, _ = ftk.fine_tune(tiny_backbone(), bright(), held_out, **SHORT)
        runs.append(model.get_weights())
    for run in runs[1:]:
        assert all(np.array_equal(one, other) for one, other in zip(runs[0], run, strict=True))


def test_numbers_are_standardized_and_answered_in_their_unit() -> None:
    """Prices around 94,000: the mean is no answer, and neither is 498."""
    x, y = bright(96)
    prices = 94_000 + 12_000 * (2 * y - 1) + 100.0 * np.random.default_rng(0).normal(size=96)
    model, report = ftk.fine_tune(
        tiny_backbone(),
        (x[:64], prices[:64]),
        test_data=(x[64:], prices[64:]),
        probe_epochs=10,
        epochs=60,
        learning_rate=1e-2,
        verbose=0,
    )
    assert report.task.name == "regression"
    assert report.task.target_mean == pytest.approx((prices[:64].mean(),))
    assert report.task.target_std == pytest.approx((prices[:64].std(),))
    assert report.test is not None
    errors = model.predict(x[64:], verbose=0)[:, 0] - prices[64:]
    assert report.test.metrics["rmse"] == pytest.approx(np.sqrt((errors**2).mean()), rel=1e-4)
    assert report.test.metrics["rmse"] < 0.6 * report.test.baseline["rmse"]


def test_a_budget_ends_training_in_time() -> None:
    _, report = ftk.fine_tune(
        tiny_backbone(), bright(), probe_epochs=2, epochs=100_000, budget=0.5, verbose=0
    )
    assert sum(report.seconds.values()) < 10
    assert len(report.history.epoch) < 100_000


@pytest.mark.slow
def test_class_weights_reach_both_stages() -> None:
    """A weight of 0 for a class: nothing is learned of it, so the other one is always said."""
    model, _ = ftk.fine_tune(
        tiny_backbone(),
        bright(),
        class_weight={0: 1.0, 1: 0.0},
        probe_epochs=30,
        epochs=5,
        learning_rate=1e-2,
        verbose=0,
    )
    assert (model.predict(bright(16, 1)[0], verbose=0) < 0.5).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"optimizer": "sgd"}, "It is one of `compile_for_task`"),
        ({"hidden_units": [8]}, "It is one of `add_head`"),
        ({"validation_freq": 2}, "It is one of `fit`"),
        ({"patience": 3}, "It is one of `callbacks.EarlyStopping`"),
        ({"lr": 0.1}, "Did you mean 'learning_rate'"),
        ({"epoch": 3}, "Did you mean 'epochs'"),
    ],
)
def test_options_of_other_verbs_are_named(options: dict[str, Any], words: str) -> None:
    ((name, value),) = options.items()
    with pytest.raises(TypeError, match=words) as caught:
        ftk.fine_tune("no such file", bright(4), **options)
    assert str(caught.value).endswith(f"Received: {name}={value!r}")


def test_labels_in_the_place_of_validation_data_are_named() -> None:
    with pytest.raises(TypeError, match=r"pair \(x, y\)"):
        ftk.fine_tune(tiny_backbone(), *bright(4))


@pytest.mark.slow
def test_a_folder_of_pictures(tmp_path: Path) -> None:
    x, y = bright(24)
    for number, (image, label) in enumerate(zip(x, y, strict=True)):
        folder = tmp_path / ("train" if number < 16 else "test") / ("bright" if label else "dark")
        folder.mkdir(parents=True, exist_ok=True)
        keras.utils.save_img(folder / f"{number}.png", 255 * image, scale=False)
    model, report = ftk.fine_tune(
        tiny_backbone(),
        tmp_path / "train",
        tmp_path / "test",
        test_data=tmp_path / "test",
        **SHORT,
    )
    assert report.task.class_names == ("bright", "dark")
    assert report.probe is not None
    assert report.test is not None
    assert set(report.test.metrics) == set(report.probe)
    assert ftk.predict(model, x[:1])[0].label in ("bright", "dark")


@pytest.mark.slow
def test_texts_and_pipelines() -> None:
    backbone = small_texts()
    texts = [f"{word} film" for word in ("good", "bad", "fine", "poor")] * 4
    model, report = ftk.fine_tune(backbone, (texts, ["yes", "no"] * 8), **SHORT)
    assert report.task.class_names == ("no", "yes")
    assert ftk.predict(model, ["good film"])[0].label in ("no", "yes")
    data = tf.data.Dataset.from_tensor_slices(bright(16)).batch(8)
    _, report = ftk.fine_tune(tiny_backbone(), data, data, test_data=data, **SHORT)
    assert report.task.name == "binary"
    assert report.tuned is not None


def small_texts() -> keras.Model:
    """A backbone of tokens with a tokenizer of its own."""
    ids = keras.Input((None,), dtype="int32", name="token_ids")
    mask = keras.Input((None,), dtype="int32", name="padding_mask")
    x = keras.layers.Embedding(16, 8)(ids) * keras.ops.cast(mask, "float32")[..., None]
    backbone = keras.Model({"token_ids": ids, "padding_mask": mask}, keras.layers.Dense(8)(x))
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "fine", "poor", "film"]
    return ftk.use_tokenizer(backbone, ftk.WordPiece(words))


@pytest.mark.parametrize(
    ("train", "options", "words"),
    [
        ("no_such_folder", {}, "there is no such folder"),
        (images(4), {}, "`train` must be a folder"),
        ((images(4), labels(4)), {"top": 0}, "`top` must be a share"),
        ((images(4), labels(4)), {"epochs": -1}, "`epochs` must be at least 0"),
        ((images(4), labels(4)), {"validation_split": 2.0}, "`validation_split` must be a share"),
        (
            (images(4), labels(4)),
            {"validation_split": 0.5, "validation_data": (images(4), labels(4))},
            "both say what to validate on",
        ),
        ((images(4), labels(3)), {}, "same number of samples"),
        ((images(4), labels(3)), {"validation_split": 0.5}, "same number of samples and labels"),
        ((images(4), labels(4)), {"validation_split": 1.0}, "leave samples on both sides"),
        ((images(4), labels(4)), {"validation_split": 0.1}, "leave samples on both sides"),
        ((images(4), labels(4)), {"probe_epochs": 0}, "`probe_epochs` must be at least 1"),
        (
            (images(4), labels(4)),
            {"learning_rate": -1.0},
            "`learning_rate` must be a positive number",
        ),
        ((images(4), labels(4)), {"layer_decay": 2.0}, "`layer_decay` must be"),
    ],
)
def test_wrong_uses_are_named(train: Any, options: Any, words: str) -> None:
    with pytest.raises((TypeError, ValueError, OSError), match=words):
        ftk.fine_tune(tiny_backbone(), train, **{**SHORT, **options})


def test_a_model_with_a_head_is_refused() -> None:
    model = ftk.add_head(tiny_backbone(), "binary")
    with pytest.raises(ValueError, match="`source` has a head already"):
        ftk.fine_tune(model, bright(), **SHORT)
