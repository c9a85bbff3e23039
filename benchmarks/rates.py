"""Is the rate that `find_learning_rate` suggests a good one? `python benchmarks/rates.py [task]`.

Three tasks from the folder in FINETUNEKIT_DATA, as in `choosing.py`, each with the head alone
and with the last blocks too. Every rate of a grid trains for five epochs at a constant rate, two
seeds; the best is the one with the lowest loss on held-out samples.
"""

import logging
import sys

import keras
import numpy as np

import finetunekit as ftk
from choosing import SIDE, Data, cells, fsdd, grocery10

GRID = 10 ** np.arange(-5, 0.01, 0.25)
EPOCHS = 5


def made(data: Data, part: str, seed: int) -> keras.Model:
    """A model with a fresh head; `part` says what trains."""
    keras.utils.set_random_seed(seed)
    backbone = ftk.load_backbone("builtin:mobilenet_v2", input_shape=(SIDE, SIDE, 3))
    classes = int(data[1].max()) + 1
    model = ftk.add_head(ftk.freeze_layers(backbone), "multiclass", classes)
    if part != "head":
        ftk.unfreeze_layers(model, ".*block_1[456].*|.*Conv_1.*")
    return ftk.compile_for_task(model, learning_rate=1e-3)


def held_out_loss(data: Data, part: str, rate: float, seed: int) -> float:
    """The loss on the test samples after a few epochs at one rate."""
    model = made(data, part, seed)
    model.optimizer.learning_rate = rate
    try:
        ftk.fit(model, data[0], data[1], epochs=EPOCHS, seed=seed, verbose=0)
    except ValueError:  # Diverged.
        return float("inf")
    loss = model.evaluate(data[2], data[3], verbose=0, return_dict=True)["loss"]
    return loss if np.isfinite(loss) else float("inf")


def main() -> None:
    """Prints a row for each task and part."""
    logging.getLogger("finetunekit").setLevel(logging.WARNING)
    print("| task | trains | suggestion | best of the grid | ratio |\n|---|---|---|---|---|")
    tasks = {"grocery10": grocery10, "bccd": cells, "fsdd": fsdd}
    for name in sys.argv[1:] or list(tasks):
        data = tasks[name]()
        for part in ("head", "last blocks"):
            grid = GRID[GRID >= 1e-4] if part == "head" else GRID[(GRID <= 1e-2)]
            losses = [
                np.mean([held_out_loss(data, part, float(r), seed) for seed in range(2)])
                for r in grid
            ]
            best = float(grid[int(np.argmin(losses))])
            curve = ftk.find_learning_rate(made(data, part, 0), data[0], data[1])
            ratio = max(best / curve.suggestion, curve.suggestion / best)
            print(
                f"| {name} | {part} | {curve.suggestion:.2g} | {best:.2g} | {ratio:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
