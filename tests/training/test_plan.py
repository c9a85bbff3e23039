"""Is a fit planned without changing anything, and does the plan say and do what `fit` does?"""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.foundation import hashing
from finetunekit.models import inputs
from finetunekit.text import attach
from finetunekit.training import fitting
from models import images, labels, same, tiny_backbone, values
from text_models import with_tokenizer

OPTIONS: dict[str, Any] = {"batch_size": 8, "engine": "keras", "verbose": 0}


def compiled(*, frozen: bool = True) -> keras.Model:
    keras.utils.set_random_seed(1)
    backbone = tiny_backbone()
    model = ftk.add_head(ftk.freeze_layers(backbone) if frozen else backbone, "binary")
    return ftk.compile_for_task(model)


def seen(model: keras.Model) -> tuple[Any, ...]:
    """All that planning might change."""
    optimizer = model.optimizer
    return (
        values(model),
        {v.path: np.array(keras.ops.convert_to_numpy(v)) for v in optimizer.variables},
        [bool(v.trainable) for v in model.weights],
        (id(model.train_function), id(model.test_function), id(model.loss), id(optimizer)),
        sorted(vars(model)),
        np.random.get_state()[1].tolist(),
    )


def test_planning_changes_nothing() -> None:
    model = compiled()
    ftk.fit(model, images(16), labels(16), **OPTIONS)
    x, y = images(24), labels(24)
    before, data = seen(model), (x.copy(), y.copy())
    stop = ftk.callbacks.EarlyStopping()
    held = dict(vars(stop))
    plan = ftk.plan_fit(
        model, x, y, epochs=3, validation_split=0.25, callbacks=[stop], seed=1, **OPTIONS
    )
    str(plan), plan.estimate(), plan.fingerprint()
    after = seen(model)
    assert same(before[0], after[0])
    assert same(before[1], after[1])
    assert before[2:] == after[2:]
    assert vars(stop) == held
    assert np.array_equal(x, data[0])
    assert np.array_equal(y, data[1])


def test_arrays_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read, names = inputs.read, []

    def counted(x: Any, model: keras.Model, name: str = "x", **options: Any) -> Any:
        names.append(name)
        return read(x, model, name, **options)

    model = compiled()
    monkeypatch.setattr(inputs, "read", counted)
    ftk.plan_fit(model, images(16), labels(16), validation_split=0.25, **OPTIONS)
    assert names == ["x"]


def test_a_plan_says_what_will_happen() -> None:
    model = compiled()
    text = str(
        ftk.plan_fit(
            model,
            images(20),
            labels(20),
            epochs=3,
            initial_epoch=1,
            validation_split=0.2,
            **OPTIONS,
        )
    )
    rows = text.splitlines()
    assert rows[0] == f"fit of {model.name!r}"
    assert "  task: binary" in rows
    assert "  data: 16 samples in 2 batches an epoch" in rows
    assert "  validation: 4 samples" in rows
    assert "  epochs: 2 to 3" in rows
    assert any(row.startswith("  computed once: 2 layers with weights, up to") for row in rows)
    whole = str(ftk.plan_fit(compiled(frozen=False), images(8), labels(8), **OPTIONS))
    assert "computed once: nothing, since nothing in it is frozen" in whole


def test_a_plan_does_what_fit_does_and_can_be_run_again() -> None:
    x, y = images(20), labels(20)
    one, other = compiled(), compiled()
    plan = ftk.plan_fit(other, x, y, epochs=2, seed=3, validation_split=0.2, **OPTIONS)
    for _ in range(2):
        wanted = ftk.fit(one, x, y, epochs=2, seed=3, validation_split=0.2, **OPTIONS)
        found = plan.run()
        assert found.history == wanted.history
        pairs = zip(one.get_weights(), other.get_weights(), strict=True)
        assert all(np.array_equal(mine, theirs) for mine, theirs in pairs)


def test_what_is_frozen_after_planning_counts() -> None:
    model = compiled(frozen=False)
    plan = ftk.plan_fit(model, images(16), labels(16), **OPTIONS)
    ftk.freeze_layers(model.layers[1])
    before = {name: v for name, v in values(model).items() if "head" not in name}
    assert plan.find_cut()[0] is not None
    plan.run()
    after = values(model)
    assert same(before, {name: after[name] for name in before})


def test_what_is_all_frozen_after_planning_is_told() -> None:
    model = compiled()
    plan = ftk.plan_fit(model, images(16), labels(16), **OPTIONS)
    model.trainable = False
    with pytest.raises(ValueError, match=r"Nothing in .* is trainable"):
        plan.run()


def test_fit_is_one_statement_with_the_arguments_of_plan_fit() -> None:
    tree = ast.parse(Path(fitting.__file__).read_text("utf-8"))
    (fit,) = (n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "fit")
    assert len(fit.body) == 2  # The docstring and it.
    ours, plans = inspect.signature(ftk.fit), inspect.signature(ftk.plan_fit)
    assert list(ours.parameters.values()) == list(plans.parameters.values())
    known = set(inspect.signature(keras.Model.fit).parameters) - {"self"}
    assert known <= set(ours.parameters)


CHANGES: dict[str, dict[str, Any]] = {
    "seed": {"seed": 2},
    "batch_size": {"batch_size": 4},
    "shuffle": {"shuffle": False},
    "engine": {"engine": "keras"},
    "cache": {"cache": False},
    "memory limit": {"memory_limit": "1 GB"},
    "frozen_dropout": {"frozen_dropout": True},
    "deterministic": {"deterministic": True},
    "validation_freq": {"validation_freq": 2},
    "validation data": {"validation_split": 0.5},
    "data": {"sample_weight": np.linspace(0, 1, 16)},
    "mixing": {"mix": keras.layers.MixUp(0.3, seed=1)},
}


def test_each_field_is_in_the_fingerprint() -> None:
    model = compiled()
    options = {"batch_size": 8, "seed": 1, "validation_split": 0.25, "memory_limit": "2 GB"}
    x, y = images(16), labels(16)
    first = ftk.plan_fit(model, x, y, **options).fingerprint()
    assert first == ftk.plan_fit(model, x.copy(), y.copy(), **options).fingerprint()
    for name, change in CHANGES.items():
        other = ftk.plan_fit(model, x, y, **(options | change)).fingerprint()
        assert first[name] != other[name], name


def test_stages_read_hash_and_tokenize_the_data_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"tokenized": 0, "hashed": 0}
    tokenize, digest = attach.to_arrays, hashing.arrays_digest

    def tokenized(*args: Any, **options: Any) -> Any:
        counts["tokenized"] += 1
        return tokenize(*args, **options)

    def hashed(arrays: Any) -> str:
        counts["hashed"] += isinstance(arrays, list)  # Of data; those of weights come as iterators.
        return digest(arrays)

    monkeypatch.setattr(attach, "to_arrays", tokenized)
    monkeypatch.setattr(hashing, "arrays_digest", hashed)
    model = ftk.compile_for_task(ftk.add_head(with_tokenizer(), "binary"))
    texts = ["a b", "c d"] * 6
    stages = [ftk.Stage(trainable="head", epochs=1) for _ in range(4)]
    ftk.fit_in_stages(
        model,
        texts,
        np.tile([1, 0], 6),
        stages=stages,
        validation_data=(texts[:4], np.array([1, 0, 1, 0])),
        **OPTIONS,
    )
    assert counts == {"tokenized": 2, "hashed": 2}  # Training and validation texts.


def test_stages_keep_features_in_files_of_their_own(tmp_path: Path) -> None:
    stages = [
        ftk.Stage(trainable="head", epochs=1),
        ftk.Stage(trainable=["head", "features"], epochs=1),
    ]
    weights = []
    for cache in (False, tmp_path / "f.h5"):
        model = compiled(frozen=False)
        options = OPTIONS | {"stages": stages, "seed": 1, "cache": cache}
        ftk.fit_in_stages(model, images(16), labels(16), **options)
        weights.append(model.get_weights())
    assert {path.name for path in tmp_path.iterdir()} == {"f.h5", "f.stage2.h5"}
    for plain, cached in zip(*weights, strict=True):
        np.testing.assert_allclose(cached, plain, rtol=1e-4, atol=1e-6)
