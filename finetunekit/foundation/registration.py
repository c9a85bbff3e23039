"""Registration of our serializable objects with Keras, as soon as Keras is imported.

`import finetunekit` promises that files with our layers and functions open with
`keras.saving.load_model`. Since the package does not import Keras, the registering modules are
imported right after Keras is, if it is not there yet.
"""

import importlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

_WITHOUT_KERAS = {
    "finetunekit.__main__",
    "finetunekit.foundation",
    "finetunekit.foundation.lazy",
    "finetunekit.foundation.messages",
    "finetunekit.foundation.native_messages",
    "finetunekit.foundation.registration",
}
REGISTERING = (
    "finetunekit.backbones.keras2.objects",
    "finetunekit.backbones.saved_model.layer",
    "finetunekit.models.head_metrics",
)
"""The modules that use `keras.saving.register_keras_serializable`."""


def register_with_keras() -> None:
    """Imports the registering modules now if Keras is there, else right after it is imported."""
    if "keras" in sys.modules:
        _register()
    elif not any(isinstance(finder, _AfterKeras) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AfterKeras())


def _register() -> None:
    for name in REGISTERING:
        importlib.import_module(name)


class _AfterKeras(importlib.abc.MetaPathFinder):
    """Waits for the import of Keras, takes itself out of the way, and registers after it.

    Where a module of ours is imported first, it is that module's import that is waited for: the
    registering modules must not meet one of ours that is half imported.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        ours = fullname.startswith("finetunekit.") and fullname not in _WITHOUT_KERAS
        if fullname != "keras" and not ours:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(importlib.abc.Loader):
    """Another loader, and what is done after it."""

    def __init__(self, inner: importlib.abc.Loader) -> None:
        self._inner = inner

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._inner.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._inner
        self._inner.exec_module(module)
        _register()
