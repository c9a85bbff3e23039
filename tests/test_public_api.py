"""`finetunekit/__init__.py` is the whole public surface, and importing it costs nothing."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import finetunekit

PUBLIC_SUBMODULES = {"callbacks"}

# Nothing of these may come with `import finetunekit`: tensorflow_hub is imported when a handle is
# loaded, an extra where it is used. (A module that Keras itself imports does not count.)
NOT_AT_IMPORT = {
    "IPython",
    "PIL",
    "keras_hub",
    "matplotlib",
    "pandas",
    "pkg_resources",
    "scipy",
    "skimage",
    "sklearn",
    "tensorflow_hub",
    "tf_keras",
    "torch",
    "transformers",
}

MEASURE = """
import json, sys, time
import keras
before = set(sys.modules)
start = time.perf_counter()
import finetunekit
seconds = time.perf_counter() - start
print(json.dumps([seconds, sorted({name.split(".")[0] for name in set(sys.modules) - before})]))
"""


def test_all_is_exactly_the_public_names_sorted() -> None:
    public = [
        name
        for name, value in vars(finetunekit).items()
        if not name.startswith("_")
        and (not isinstance(value, ModuleType) or name in PUBLIC_SUBMODULES)
    ]
    assert finetunekit.__all__ == sorted(public)


@pytest.mark.parametrize("module", sorted(PUBLIC_SUBMODULES))
def test_all_of_a_public_submodule_is_its_public_names_sorted(module: str) -> None:
    shelf = getattr(finetunekit, module)
    public = [
        name
        for name, value in vars(shelf).items()
        if not name.startswith("_") and getattr(value, "__module__", "").startswith("finetunekit")
    ]
    assert shelf.__all__ == sorted(public)


def test_the_version_has_a_place_in_the_changelog() -> None:
    version = importlib.metadata.version("finetunekit")
    changelog = (Path(__file__).parents[1] / "CHANGELOG.md").read_text("utf-8")
    assert f"\n## [{version}]" in changelog
    assert getattr(finetunekit, "__version__", version) == version


def import_once() -> tuple[float, set[str]]:
    """Import finetunekit after keras in a fresh process: the seconds, and the new packages."""
    out = subprocess.run(
        [sys.executable, "-c", MEASURE], check=True, capture_output=True, text=True
    ).stdout
    seconds, packages = json.loads(out.splitlines()[-1])
    return seconds, set(packages)


def test_importing_is_fast_and_brings_no_extra() -> None:
    fastest = float("inf")
    for _ in range(3):
        seconds, packages = import_once()
        assert "finetunekit" in packages
        assert not packages & NOT_AT_IMPORT
        fastest = min(fastest, seconds)
        if fastest < 0.3:
            return
    pytest.fail(f"`import finetunekit` takes {fastest:.2f} s after `import keras`")
