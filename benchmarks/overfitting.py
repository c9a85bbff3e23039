"""What helps against overfitting, on few photographs? `python benchmarks/overfitting.py [row ...]`.

Trains on ten photographs of each class of grocery10, drawn again for each of three seeds, with the
built-in MobileNetV2 at 96 pixels. Everything except BatchNormalization trains for 15 epochs, unless
the row says otherwise. Each row is one remedy on its own, compared with training at 1e-4.
"""

import logging
import sys
from typing import Any

import keras
import numpy as np

import finetunekit as ftk
from averaging import accuracy, read
from choosing import SIDE

EACH, EPOCHS, SEEDS = 10, 15, 3
ROWS: dict[str, dict[str, Any]] = {
    "rate 1e-3": {"rate": 1e-3},
    "rate 1e-4, the baseline for all rows below": {},
    "rate 1e-5": {"rate": 1e-5},
    "L1 1e-6": {"penalty": {"l1": 1e-6}},
    "L2 1e-3": {"penalty": {"l2": 1e-3}},
    "L2-SP 1e-2": {"penalty": {"l2_sp": 1e-2, "l2": 1e-4}},
    "Dropout 0.5 before the head": {"dropout": 0.5},
    "stochastic depth 0.2": {"depth": 0.2},
    "early stopping, patience 3": {"stop": True},
    "label smoothing 0.1": {"compile": {"label_smoothing": 0.1}},
    "EMA weights, 0.95": {"compile": {"ema_momentum": 0.95}},
    "MixUp 0.2": {"mix": True},
    "only the upper half": {"layers": -0.5},
    "only the head, 1e-3": {"layers": "head", "rate": 1e-3},
    "the head, then the upper half (`fine_tune`)": {"fine_tune": True},
}


def trained(data: Any, held_out: Any, row: dict[str, Any], seed: int) -> keras.Model:
    """A model trained with one measure."""
    backbone = ftk.load_backbone("builtin:mobilenet_v2", input_shape=(SIDE, SIDE, 3))
    if row.get("fine_tune"):
        return ftk.fine_tune(backbone, data, seed=seed, verbose=0)[0]
    model = ftk.add_head(backbone, "multiclass", 10, dropout=row.get("dropout", 0.0))
    if row.get("depth"):
        model = ftk.inject_stochastic_depth(model, row["depth"], seed=seed)
    ftk.freeze_layers(model)
    for layers in ("head", row.get("layers", ".*")):
        ftk.unfreeze_layers(model, layers)
    ftk.compile_for_task(model, learning_rate=row.get("rate", 1e-4), **row.get("compile", {}))
    if row.get("penalty"):
        ftk.inject_regularizer(model, **row["penalty"])
    options: dict[str, Any] = {"mix": keras.layers.MixUp(0.2, seed=seed)} if row.get("mix") else {}
    if row.get("stop"):
        stop = ftk.callbacks.EarlyStopping(monitor="val_loss", patience=3)
        options = {"callbacks": [stop], "validation_data": held_out}
    ftk.fit(model, *data, epochs=EPOCHS, batch_size=16, seed=seed, verbose=0, **options)
    return model


def main() -> None:
    """Prints a row for each measure."""
    logging.getLogger("finetunekit").setLevel(logging.ERROR)
    (x, y), held_out, test = read("train"), read("val"), read("test")
    print("| measure | train | test | each |\n|---|---|---|---|")
    for name in sys.argv[1:] or list(ROWS):
        row = ROWS[name]

        def run(seed: int, row: dict[str, Any] = row) -> dict[str, float]:
            draw = np.random.default_rng(seed)
            few = np.concatenate([draw.permutation(np.flatnonzero(y == c))[:EACH] for c in set(y)])
            model = trained((x[few], y[few]), held_out, row, seed)
            found = {"train": accuracy(model, (x[few], y[few])), "test": accuracy(model, test)}
            keras.utils.clear_session()
            return found

        found = ftk.repeat(run, SEEDS, verbose=0)
        each = ", ".join(f"{value:.1%}" for value in found.values("test"))
        spread = 100 * found.std["test"]
        print(
            f"| {name} | {found.mean['train']:.1%} | {found.mean['test']:.1%} ± {spread:.1f} "
            f"| {each} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
