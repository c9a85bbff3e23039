"""What every test starts from: one backend, a clean Keras state, fixed seeds."""

from __future__ import annotations

import gc
import logging
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import pytest


@pytest.fixture(autouse=True)
def fresh_keras() -> Iterator[None]:
    """No test sees the layer names, the dtype policy or the random numbers of another."""
    keras.config.set_dtype_policy("float32")
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    logging.getLogger("finetunekit").setLevel(logging.INFO)  # A page of the docs quiets it.
    yield
    # An iterator of tf.data that the garbage collector finds late waits up to a minute for its
    # tuning thread. Frozen, what is left is not gone through again after each test.
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder with real data and models, for tests marked `real`."""
    folder = os.environ.get("FINETUNEKIT_DATA")
    if not folder:
        pytest.skip("FINETUNEKIT_DATA names no folder with real data")
    path = Path(folder).resolve()
    if not path.is_dir():
        pytest.fail(f"FINETUNEKIT_DATA names a folder that does not exist: {path}")
    return path


@pytest.fixture(scope="session")
def groceries(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs of ten kinds of groceries, in train, val and test."""
    folder = tmp_path_factory.mktemp("grocery10")
    with zipfile.ZipFile(data_folder / "data" / "grocery10" / "grocery10.zip") as file:
        file.extractall(folder)
    return folder
