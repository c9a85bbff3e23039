"""Public names that are loaded when they are first used (PEP 562)."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def attach(
    package: str, homes: Mapping[str, Sequence[str]], submodules: Sequence[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The `__getattr__` and `__dir__` of a package whose names live in modules below `finetunekit`.

    Args:
        package: The package's own `__name__`.
        homes: Module, without `finetunekit.` -> the names that come from it.
        submodules: Modules of the package that are public themselves.

    Returns:
        Both functions, to be assigned to those names.
    """
    home_of = {name: module for module, names in homes.items() for name in names}

    def find(name: str) -> Any:
        if name in submodules:
            return importlib.import_module(f"{package}.{name}")
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"finetunekit.{home_of[name]}"), name)
        # Kept, so that the next use costs nothing.
        vars(importlib.import_module(package))[name] = value
        return value

    def names() -> list[str]:
        return sorted({*vars(importlib.import_module(package)), *home_of, *submodules})

    return find, names
