"""Does L2-SP help with few samples? `python benchmarks/anchors.py [task ...]`.

Three tasks from the folder in FINETUNEKIT_DATA, as in `choosing.py`. Ten samples of each class,
drawn again for each of five seeds; everything but BatchNormalization trains for ten epochs, without
penalty, with L2 and with L2-SP of several strengths (L2-SP with L2 of 1e-4 on the head).
"""

import logging
import sys

import keras
import numpy as np

import finetunekit as ftk
from choosing import SIDE, Data, cells, fsdd, grocery10

EACH, EPOCHS, SEEDS = 10, 10, 5
WAYS: dict[str, dict[str, float]] = {
    "none": {},
    "L2 1e-4": {"l2": 1e-4},
    "L2 1e-3": {"l2": 1e-3},
    "L2-SP 1e-3": {"l2_sp": 1e-3, "l2": 1e-4},
    "L2-SP 1e-2": {"l2_sp": 1e-2, "l2": 1e-4},
    "L2-SP 1e-1": {"l2_sp": 1e-1, "l2": 1e-4},
}


def accuracy(data: Data, penalty: dict[str, float], seed: int) -> float:
    """Test accuracy after training on a few samples of each class."""
    x, y, x_test, y_test = data
    draw = np.random.default_rng(seed)
    rows = [draw.permutation(np.flatnonzero(y == label))[:EACH] for label in np.unique(y)]
    few = np.concatenate(rows)
    keras.utils.set_random_seed(seed)
    backbone = ftk.load_backbone("builtin:mobilenet_v2", input_shape=(SIDE, SIDE, 3))
    model = ftk.add_head(backbone, "multiclass", int(y.max()) + 1)
    ftk.freeze_layers(model)
    ftk.unfreeze_layers(model)
    ftk.compile_for_task(model, learning_rate=1e-4)
    if penalty:
        ftk.inject_regularizer(model, **penalty)
    ftk.fit(model, x[few], y[few], epochs=EPOCHS, seed=seed, batch_size=16, verbose=0)
    found = model.predict(x_test, verbose=0).argmax(axis=-1)
    keras.utils.clear_session()
    return float(np.mean(found == y_test))


def main() -> None:
    """Prints a row for each task and way."""
    logging.getLogger("finetunekit").setLevel(logging.ERROR)
    tasks = {"grocery10": grocery10, "bccd": cells, "fsdd": fsdd}
    print(
        "| task | penalty | mean test accuracy | standard deviation | each |\n|---|---|---|---|---|"
    )
    for name in sys.argv[1:] or list(tasks):
        data = tasks[name]()
        for way, penalty in WAYS.items():
            scores = [accuracy(data, penalty, seed) for seed in range(SEEDS)]
            each = ", ".join(f"{score:.1%}" for score in scores)
            spread = np.std(scores, ddof=1)
            print(f"| {name} | {way} | {np.mean(scores):.1%} | {spread:.1%} | {each} |", flush=True)


if __name__ == "__main__":
    main()
