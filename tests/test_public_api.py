"""`finetunekit/__init__.py` is the whole public surface, and importing it costs nothing."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

import finetunekit

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
start = time.process_time()
import finetunekit
seconds = time.process_time() - start
packages = sorted({name.split(".")[0] for name in set(sys.modules) - before})
known = sorted(name for name in keras.saving.get_custom_objects() if "finetunekit>" in name)
print(json.dumps([seconds, packages, known]))
"""


def names_for_type_checkers(package: ModuleType) -> set[str]:
    """The names that a package imports under TYPE_CHECKING."""
    tree = ast.parse(Path(str(package.__file__)).read_text("utf-8"))
    blocks = [node for node in tree.body if isinstance(node, ast.If)]
    imports = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.name for node in imports for alias in node.names}


@pytest.mark.parametrize("package", [finetunekit, finetunekit.callbacks], ids=lambda p: p.__name__)
def test_every_public_name_is_sorted_typed_and_there(package: ModuleType) -> None:
    assert package.__all__ == sorted(package.__all__)
    assert set(package.__all__) == names_for_type_checkers(package)
    assert set(package.__all__) <= set(dir(package))
    for name in package.__all__:
        value = getattr(package, name)
        assert value is getattr(package, name)
        assert isinstance(value, ModuleType) or value.__name__ == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'finetunekit' has no attribute 'fine_toon'"):
        finetunekit.fine_toon  # noqa: B018


def test_the_command_line_answers_without_tensorflow() -> None:
    fastest = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        command = [sys.executable, "-m", "finetunekit", "--help"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        fastest = min(fastest, time.perf_counter() - start)
        assert "quickstart" in done.stdout
        assert done.stderr == ""
        if fastest < 0.5:
            return
    pytest.fail(f"`python -m finetunekit --help` takes {fastest:.2f} s")


@pytest.mark.slow
@pytest.mark.parametrize(
    "first",
    [
        "import finetunekit, keras",
        "import finetunekit; finetunekit.load",
        "from finetunekit.models import metadata",
    ],
)
def test_keras_knows_our_objects_whatever_is_imported_first(first: str) -> None:
    code = (
        f"{first}\nimport keras\n"
        "known = keras.saving.get_custom_objects()\n"
        "print(sorted(name for name in known if name.startswith('finetunekit>')))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    assert "finetunekit>SavedModelLayer" in out.splitlines()[-1]
    assert "finetunekit>" in out.replace("finetunekit>SavedModelLayer", "")


def test_the_version_has_a_place_in_the_changelog() -> None:
    version = importlib.metadata.version("finetunekit")
    changelog = (Path(__file__).parents[1] / "CHANGELOG.md").read_text("utf-8")
    assert f"\n## [{version}]" in changelog
    assert getattr(finetunekit, "__version__", version) == version


def import_once() -> tuple[float, set[str], list[str]]:
    """Import finetunekit after keras in a fresh process.

    Returns:
        The seconds, the new packages, and the objects of ours that Keras knows.
    """
    out = subprocess.run(
        [sys.executable, "-c", MEASURE], check=True, capture_output=True, text=True
    ).stdout
    seconds, packages, known = json.loads(out.splitlines()[-1])
    return seconds, set(packages), known


def test_importing_is_fast_brings_no_extra_and_tells_keras() -> None:
    fastest = float("inf")
    for _ in range(3):
        seconds, packages, known = import_once()
        assert "finetunekit" in packages
        assert "finetunekit>SavedModelLayer" in known
        assert len(known) > 1
        assert not packages & NOT_AT_IMPORT
        fastest = min(fastest, seconds)
        if fastest < 0.3:
            return
    pytest.fail(
        f"`import finetunekit` takes {fastest:.2f} s of processor time after `import keras`"
    )
