"""Are averaged weights better? `python benchmarks/averaging.py`, on grocery10.

One probe with the built-in MobileNetV2 at 96 pixels, and three runs of the upper half that start
from it, each with a different order of the samples. `interpolate` and `greedy_soup` choose on the
`val` photographs; results are measured on those of `test`.
"""

import io
import logging
import tempfile
from pathlib import Path

import keras
import numpy as np
from PIL import Image

import finetunekit as ftk
from choosing import SIDE, archive, resized

SEEDS = 3


def read(split: str) -> tuple[np.ndarray, np.ndarray]:
    """The photographs of a split."""
    images, names = [], []
    with archive("grocery10") as file:
        for name in sorted(file.namelist()):
            if f"/{split}/" in f"/{name}" and name.endswith((".jpg", ".png")):
                images.append(resized(Image.open(io.BytesIO(file.read(name)))))
                names.append(name.split("/")[-2])
    return np.stack(images), np.unique(names, return_inverse=True)[1]


def accuracy(model: keras.Model, data: tuple[np.ndarray, np.ndarray]) -> float:
    """The accuracy."""
    return float(np.mean(model.predict(data[0], verbose=0).argmax(axis=-1) == data[1]))


def main() -> None:
    """Prints a row for each set of weights."""
    logging.getLogger("finetunekit").setLevel(logging.ERROR)
    train, held_out, test = read("train"), read("val"), read("test")
    keras.utils.set_random_seed(0)
    backbone = ftk.load_backbone("builtin:mobilenet_v2", input_shape=(SIDE, SIDE, 3))
    probe = ftk.add_head(ftk.freeze_layers(backbone), "multiclass", 10)
    ftk.fit(ftk.compile_for_task(probe), *train, epochs=10, seed=0, verbose=0)
    path = Path(tempfile.mkdtemp()) / "probe.keras"
    ftk.save(probe, path, verbose=0)
    print(
        f"| weights | alpha | val, {len(held_out[1])} | test, {len(test[1])} |\n|---|---|---|---|"
    )

    def row(name: str, model: keras.Model, alpha: str = "") -> None:
        print(
            f"| {name} | {alpha} | {accuracy(model, held_out):.1%} | {accuracy(model, test):.1%} |"
        )

    row("probe", probe)
    runs = []
    for seed in range(SEEDS):
        run = ftk.load(path)
        ftk.unfreeze_layers(run, -0.5)
        ftk.compile_for_task(run, learning_rate=1e-4)
        ftk.fit(run, *train, epochs=10, seed=seed, verbose=0)
        runs.append(run)
        row(f"run {seed}", run)
        between, report = ftk.interpolate(probe, run, validation_data=held_out, verbose=0)
        row(f"run {seed}, `interpolate`", between, report.chosen.split()[1])
    soup, report = ftk.greedy_soup(runs, validation_data=held_out, verbose=0)
    row(f"`greedy_soup`, {report.chosen}", soup)


if __name__ == "__main__":
    main()
