"""The house of docs/design.md, kept by reading the source: who may import whom, and habits."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parents[1] / "finetunekit"

# Files whose job is TensorFlow, and which therefore may import it (late, inside a function).
MAY_IMPORT_TENSORFLOW: frozenset[str] = frozenset(
    {
        "backbones/keras2/objects.py",
        "backbones/saved_model/endpoints.py",
        "backbones/saved_model/folder.py",
        "backbones/saved_model/layer.py",
        "backbones/saved_model/safety.py",
        "caching/engines.py",
        "caching/identity.py",
        "training/cached/redirect.py",
        "training/cached/samples.py",
        "training/explain.py",
        "training/fused_adam.py",
        "training/tail.py",
    }
)

# Imported by nobody at module level: they cost seconds, or are extras.
LATE_ONLY = {
    "PIL",
    "ai_edge_litert",
    "keras_hub",
    "matplotlib",
    "skimage",
    "tensorflow",
    "tensorflow_hub",
    "tf_keras",
}

GROUND = {
    "_keras",
    "_keras_optimizers",
    "archive",
    "budget",
    "compiled",
    "counterparts",
    "graph",
    "hashing",
    "inputs",
    "messages",
    "metadata",
    "paths",
    "plots",
    "selection",
    "smoothing",
    "step_sizes",
    "text",
    "zips",
}
ROOMS = {
    "backbones",
    "caching",
    "freezing",
    "optimizers",
    "peft",
    "regularization",
    "saving",
    "tasks",
}
ROOM_ON_ROOM = {("peft", "freezing")}
FIRST_FLOOR = {"choosing", "training"}
TOP = {"__main__", "data", "quickstart", "reports", "tuning"}
ROOT = "__init__"  # finetunekit/__init__.py: imports everything, imported by the top floor only

MAY_PRINT = {"__main__", "quickstart"}
LONGEST_MODULE = 400


class Module(NamedTuple):
    """A source file: its path inside the package, its dotted name, its room, its text and tree."""

    path: str
    name: str
    room: str
    text: str
    tree: ast.Module


def read_module(path: str, text: str) -> Module:
    """Parse one file; `path` is relative to the package, as in `backbones/contract.py`."""
    parts = Path(path).with_suffix("").parts
    inner = parts[:-1] if parts[-1] == "__init__" else parts
    return Module(path, ".".join(("finetunekit", *inner)), parts[0], text, ast.parse(text))


def read_package() -> dict[str, Module]:
    """Return every module of the package by its dotted name."""
    paths = sorted(PACKAGE.rglob("*.py"))
    modules = [read_module(str(p.relative_to(PACKAGE)), p.read_text("utf-8")) for p in paths]
    return {module.name: module for module in modules}


MODULES = read_package()
OWN_PRIVATE_MODULES = {part for name in MODULES for part in name.split(".") if part[0] == "_"}


def imports(module: Module, nodes: Iterator[ast.AST]) -> Iterator[tuple[str, int]]:
    """Yield the full dotted name of everything imported in `nodes`, and the line."""
    package = module.name if module.path.endswith("__init__.py") else module.name.rpartition(".")[0]
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *filter(None, [node.module])])
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func).rpartition(".")[2]
            if called in {"import_module", "__import__"} and isinstance(node.args[0], ast.Constant):
                yield str(node.args[0].value), node.lineno


def top_level(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that run when a module is imported: not those inside functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        yield child
        yield from top_level(child)


def own_module(imported: str) -> str | None:
    """Return the module of ours that an imported name lives in, None for a name of others."""
    if imported.split(".")[0] != "finetunekit":
        return None
    while imported not in MODULES and "." in imported:
        imported = imported.rpartition(".")[0]
    return imported


def room_of(module: str) -> str:
    """Return the room of one of our modules: `finetunekit.peft.lora` is in `peft`."""
    return [*module.split("."), ROOT][1]


def may_import(room: str, other: str) -> bool:
    """The import direction."""
    if room in {other, ROOT}:
        return True
    if room in GROUND:
        return other in GROUND
    if room in ROOMS:
        return other in GROUND or (room, other) in ROOM_ON_ROOM
    if room in FIRST_FLOOR:
        return other in GROUND | ROOMS
    if room == "callbacks":
        return other in GROUND | ROOMS | {"training"}
    return True  # the top floor


def private_uses(module: Module) -> Iterator[tuple[str, int]]:
    """Yield what only `_keras.py` may do: touch a private name of somebody else."""
    for number, line in enumerate(module.text.splitlines(), start=1):
        if "keras.src" in line:
            yield "keras.src", number
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            owner = ast.unparse(node.value)
            if owner not in {"self", "cls", "super()"} and node.attr not in OWN_PRIVATE_MODULES:
                yield f"{owner}.{node.attr}", node.lineno
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {
            "getattr",
            "hasattr",
            "setattr",
            "delattr",
        }:
            name = node.args[1] if len(node.args) > 1 else None
            if isinstance(name, ast.Constant) and is_private(str(name.value)):
                yield ast.unparse(node), node.lineno
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                if is_private(alias.name) and (node.module or "").split(".")[0] != "finetunekit":
                    yield f"{node.module}.{alias.name}", node.lineno


def is_private(name: str) -> bool:
    """Tell whether a name starts with one underscore and is no method of named tuples."""
    public = {"_asdict", "_fields", "_field_defaults", "_make", "_replace"}
    return name.startswith("_") and not name.startswith("__") and name not in public


def offences(rule: Callable[[Module], Iterator[tuple[str, int]]]) -> list[str]:
    """Apply a rule to all modules; return what offends, with its place."""
    found = ((module.path, *offence) for module in MODULES.values() for offence in rule(module))
    return [f"finetunekit/{path}:{line}: {what}" for path, what, line in found]


def test_the_package_is_read() -> None:
    assert {"finetunekit", "finetunekit.selection", "finetunekit.backbones"} <= set(MODULES)


def test_every_room_is_in_the_design() -> None:
    known = GROUND | ROOMS | FIRST_FLOOR | TOP | {"callbacks", ROOT}
    assert {module.room for module in MODULES.values()} <= known


def test_import_direction() -> None:
    def rule(module: Module) -> Iterator[tuple[str, int]]:
        for imported, line in imports(module, ast.walk(module.tree)):
            other = own_module(imported)
            if other is not None and not may_import(module.room, room_of(other)):
                yield f"{module.room} imports {room_of(other)}: {imported}", line

    assert not offences(rule)


def test_no_circle_at_module_level() -> None:
    edges = {
        name: {own_module(imported) for imported, _ in imports(module, top_level(module.tree))}
        - {None, name}
        for name, module in MODULES.items()
    }
    while leaves := {name for name, others in edges.items() if not others & set(edges)}:
        edges = {name: others for name, others in edges.items() if name not in leaves}
    circles = {name: sorted(others & set(edges)) for name, others in edges.items()}
    assert not circles


def test_tensorflow_only_where_allowed_and_never_at_module_level() -> None:
    importers = set()

    def anywhere(module: Module) -> Iterator[tuple[str, int]]:
        for imported, line in imports(module, ast.walk(module.tree)):
            if imported.split(".")[0] == "tensorflow":
                importers.add(module.path)
                if module.path not in MAY_IMPORT_TENSORFLOW:
                    yield "imports tensorflow", line

    def early(module: Module) -> Iterator[tuple[str, int]]:
        for imported, line in imports(module, top_level(module.tree)):
            if imported.split(".")[0] in LATE_ONLY:
                yield f"imports {imported} at module level", line

    assert not offences(anywhere)
    assert not offences(early)
    assert importers == MAY_IMPORT_TENSORFLOW, "the list names files that need it no more"


def test_private_names_of_others_only_in_the_keras_modules() -> None:
    assert not offences(lambda m: iter(()) if m.room.startswith("_keras") else private_uses(m))


def test_modules_say_what_they_are_for_and_stay_small() -> None:
    def rule(module: Module) -> Iterator[tuple[str, int]]:
        if not ast.get_docstring(module.tree):
            yield "has no docstring", 1
        lines = module.text.count("\n")
        if lines >= LONGEST_MODULE:
            yield f"{lines} lines: is it two modules?", lines

    assert not offences(rule)


def test_habits() -> None:
    def rule(module: Module) -> Iterator[tuple[str, int]]:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Assert):
                yield "assert: raise an error that says what to do", node.lineno
            if isinstance(node, ast.ExceptHandler) and node.type is None:
                yield "bare except: name the error", node.lineno
            if (
                isinstance(node, ast.Call)
                and ast.unparse(node.func) == "print"
                and module.room not in MAY_PRINT
            ):
                yield "print: use logging", node.lineno

    assert not offences(rule)


@pytest.mark.parametrize(
    ("room", "other", "allowed"),
    [
        ("selection", "graph", True),
        ("selection", "freezing", False),
        ("graph", "training", False),
        ("metadata", ROOT, False),
        ("freezing", "selection", True),
        ("freezing", "tasks", False),
        ("peft", "freezing", True),
        ("freezing", "peft", False),
        ("saving", "backbones", False),
        ("backbones", "saving", False),
        ("tasks", "training", False),
        ("saving", "callbacks", False),
        ("training", "caching", True),
        ("training", "callbacks", False),
        ("training", ROOT, False),
        ("callbacks", "training", True),
        ("callbacks", "reports", False),
        ("quickstart", ROOT, True),
        ("reports", "training", True),
        (ROOT, "peft", True),
    ],
)
def test_the_direction_itself(room: str, other: str, allowed: bool) -> None:
    assert may_import(room, other) is allowed


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("self._mine; cls._mine; super()._mine; x.__class__; t._replace(a=1)", []),
        ("import finetunekit; finetunekit._keras.nodes(model)", []),
        ("from finetunekit import _keras", []),
        ("model._nodes", ["model._nodes"]),
        ("self.layer._nodes", ["self.layer._nodes"]),
        ("getattr(model, '_nodes')", ["getattr(model, '_nodes')"]),
        ("from keras.saving import _secret", ["keras.saving._secret"]),
        ("from keras.src import backend", ["keras.src"]),
    ],
)
def test_private_uses_are_seen(code: str, found: list[str]) -> None:
    module = read_module("tasks/example.py", code)
    assert [what for what, _ in private_uses(module)] == found


@pytest.mark.parametrize(
    ("path", "code", "names"),
    [
        ("a.py", "import tensorflow as tf", ["tensorflow"]),
        ("a.py", "from finetunekit.peft import lora", ["finetunekit.peft.lora"]),
        ("peft/lora.py", "from . import adapters", ["finetunekit.peft.adapters"]),
        ("peft/lora.py", "from ..freezing import freeze", ["finetunekit.freezing.freeze"]),
        ("peft/__init__.py", "from .lora import add", ["finetunekit.peft.lora.add"]),
        ("a.py", "importlib.import_module('tensorflow')", ["tensorflow"]),
    ],
)
def test_imports_are_seen(path: str, code: str, names: list[str]) -> None:
    module = read_module(path, code)
    assert [name for name, _ in imports(module, ast.walk(module.tree))] == names
