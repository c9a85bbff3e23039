"""The house of docs/design.md, kept by reading the source: who may import whom, and habits."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parents[1] / "finetunekit"

# Files whose job is TensorFlow, and which therefore may import it (late, inside a function).
MAY_IMPORT_TENSORFLOW: frozenset[str] = frozenset(
    {
        "backbones/saved_model/endpoints.py",
        "backbones/saved_model/folder.py",
        "backbones/saved_model/layer.py",
        "backbones/saved_model/safety.py",
        "caching/engines.py",
        "caching/identity.py",
        "caching/litert.py",
        "data/checked_batches.py",
        "resuming/random_states.py",
        "execution/fused_adam.py",
        "execution/readers.py",
        "execution/ready_samples.py",
        "execution/tail.py",
        "foundation/keras_internals.py",
        "models/lambdas.py",
        "training/estimate.py",
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

# The floors of the house, from the ground up: a room may stand on any room of a lower floor.
FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"foundation"}),
    frozenset({"models", "text"}),
    frozenset(
        {"backbones", "caching", "data", "metrics", "optimizers", "peft", "regularization", "tasks"}
    ),
    frozenset({"averaging", "callbacks", "execution", "resuming", "training"}),
    frozenset(
        {"__main__", "choosing", "evaluation", "examples", "quickstart", "reports", "tuning"}
    ),
)
# Inside a floor: which room may stand on which.
BESIDE: frozenset[tuple[str, str]] = frozenset(
    {
        ("models", "text"),  # Inputs are read, which tokenizes texts.
        ("text", "models"),  # A tokenizer belongs to a model.
        ("data", "backbones"),  # Batches are compared with the input contract.
        ("data", "tasks"),  # Labels are read for a task.
        ("tasks", "metrics"),
        ("resuming", "callbacks"),
        ("__main__", "quickstart"),
        ("averaging", "callbacks"),
        ("execution", "averaging"),
        ("execution", "callbacks"),
        ("execution", "resuming"),
        ("training", "averaging"),
        ("training", "callbacks"),
        ("training", "execution"),
        ("training", "resuming"),
        ("tuning", "evaluation"),  # The report of a run holds one of its result.
    }
)
ROOT = "__init__"  # finetunekit/__init__.py: names all, imported by the top floor only

KERAS_MODULES = {"foundation/keras_internals.py", "foundation/keras_optimizers.py"}
SHELVES = {"__init__.py", "callbacks/__init__.py"}  # They name what lives elsewhere.
MAY_PRINT = {"__main__", "quickstart"}
# A callback taken up again gets the values that it had, which are no patch.
# What is traced for a model is kept in the model itself: a table by model would keep it alive.
MAY_PATCH = {"execution/kept_tail.py", "foundation/patches.py", "resuming/training_state.py"}
MAY_CHECK = {"foundation/arguments.py"}
# State that goes with a model, and features that are computed anew when they are gone.
MAY_KEEP_BY_OBJECT = {
    "caching/fingerprint.py",
    "caching/memory_stores.py",
    "caching/prepared_engines.py",
    "models/state_tables.py",
}
# What Keras calls on layers, models, losses and optimizers, and nobody exchanges by assignment.
METHODS = {
    "apply",
    "build",
    "call",
    "make_predict_function",
    "make_test_function",
    "make_train_function",
    "predict_step",
    "test_step",
    "train_step",
    "update_step",
}
# Attributes that hold a function and are made to be assigned to.
SLOTS = {"test_function", "train_function", "schedule"}
LONGEST_MODULE = 400
LONGEST_FUNCTION = 30  # Lines of its body, the docstring left out.
# Longer ones of today, with their lengths: the list may only shrink.
LONGER: dict[str, int] = {
    "backbones/torch_models/__init__.py build": 31,
    "backbones/torch_models/efficientnet.py build": 32,
    "caching/cut.py split_frozen": 38,
    "choosing/catalog.py _rows": 37,
    "data/batch_checks.py loss_doubts": 33,
    "foundation/keras_optimizers.py hook_steps": 43,
    "optimizers/rates.py make_optimizer": 33,
    "tasks/attach.py add_head": 34,
    "training/planning.py plan_fit": 53,  # Half of it hands arguments on by name.
}
# Inside `training`, from the ground up: a module imports those of lower levels only.
TRAINING: tuple[frozenset[str], ...] = (
    frozenset({"compiling", "estimate", "history_plot"}),
    frozenset({"checks", "label_form", "fingerprint", "plan_text", "stage"}),
    frozenset({"running"}),
    frozenset({"plan"}),
    frozenset({"planning"}),
    frozenset({"fitting", "stages", "range_test"}),
    frozenset({"recipes", "repeats"}),
)
TESTS = Path(__file__).parent
NEEDS_TESTS = 60  # Lines from which on a module has a test file of its name.
# Longer modules that have none yet, by folder. Rows are taken away and never added.
WITHOUT_TEST_FILE: dict[str, set[str]] = {
    "": {"__main__"},
    "averaging": {"batch_norm_statistics", "weight_evaluation"},
    "backbones": {
        "feature_levels",
        "hub_checks",
        "input_transforms",
        "report",
        "statistics",
        "weights_keras2",
        "weights_keras3",
        "weights_pairing",
        "weights_torch",
    },
    "backbones/checkpoints": {"pickles", "safetensors", "torch_files"},
    "backbones/handles": {"cache", "download", "unpack"},
    "backbones/keras2": {
        "archive_weights",
        "arguments",
        "context",
        "functions",
        "graphs",
        "layers",
        "nodes",
        "objects",
        "operations",
        "table",
    },
    "backbones/saved_model": {
        "endpoints",
        "folder",
        "groups",
        "harmless_ops",
        "layer",
        "opening",
        "paths",
        "safety",
    },
    "backbones/torch_models": {"builder", "efficientnet", "mobilenet_v2", "resnet", "vgg", "vit"},
    "callbacks": {"nan_diagnosis"},
    "quickstart": {"baselines", "comparison", "examples", "reopen"},
}


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


def running(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes that run at some time: not those for type checkers alone."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")):
            yield child
            yield from running(child)


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


def floor_of(room: str) -> int:
    """The number of the floor that a room is on, 0 for the ground."""
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def may_import(room: str, other: str) -> bool:
    """The import direction."""
    if room in {other, ROOT} or (room, other) in BESIDE:
        return True
    if other == ROOT:
        return floor_of(room) == len(FLOORS) - 1
    return floor_of(other) < floor_of(room)


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
    assert {"finetunekit", "finetunekit.models.selection", "finetunekit.backbones"} <= set(MODULES)


def test_every_room_is_in_the_design() -> None:
    known = frozenset({ROOT}).union(*FLOORS)
    assert {module.room for module in MODULES.values()} <= known


def test_import_direction() -> None:
    def rule(module: Module) -> Iterator[tuple[str, int]]:
        for imported, line in imports(module, ast.walk(module.tree)):
            other = own_module(imported)
            if module.path in SHELVES or other is None:
                continue
            if not may_import(module.room, room_of(other)):
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


def test_directions_inside_training() -> None:
    levels = {name: number for number, names in enumerate(TRAINING) for name in names}
    known = {m.name.rpartition(".")[2] for m in MODULES.values() if m.room == "training"}
    assert known - {"training"} == set(levels)

    def rule(module: Module) -> Iterator[tuple[str, int]]:
        name = Path(module.path).stem
        if module.room != "training" or name == "__init__":
            return
        for imported, line in imports(module, running(module.tree)):
            other = (own_module(imported) or "").removeprefix("finetunekit.training.")
            if other in levels and levels[other] >= levels[name]:
                yield f"{name} imports {other}", line

    assert not offences(rule)


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
    assert not offences(lambda m: iter(()) if m.path in KERAS_MODULES else private_uses(m))


def instance_patches(module: Module) -> Iterator[tuple[str, int]]:
    """Yield what only `patches.py` may do: write past `__setattr__`, exchange a method."""
    defined = {n.name for n in ast.walk(module.tree) if isinstance(n, ast.FunctionDef)}
    for node in ast.walk(module.tree):
        targets = [*getattr(node, "targets", []), getattr(node, "target", None)]
        for target in targets if isinstance(node, ast.Assign | ast.Delete | ast.AugAssign) else []:
            if isinstance(target, ast.Subscript) and is_namespace(target.value):
                yield ast.unparse(target), node.lineno
            elif isinstance(target, ast.Attribute) and target.attr in METHODS:
                if not (isinstance(node, ast.Assign) and ast.unparse(node.value) == "None"):
                    yield ast.unparse(target), node.lineno
            elif (
                isinstance(target, ast.Attribute)
                and target.attr not in SLOTS
                and ast.unparse(target.value) != "self"
            ):
                value = getattr(node, "value", None)
                if isinstance(value, ast.Lambda) or (
                    isinstance(value, ast.Name) and value.id in defined
                ):
                    yield ast.unparse(target), node.lineno
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Attribute) and is_namespace(node.func.value):
            if node.func.attr in {"update", "pop", "setdefault"}:
                yield ast.unparse(node.func), node.lineno
        elif ast.unparse(node.func) in {"setattr", "delattr"} and len(node.args) > 1:
            name, value = node.args[1], node.args[-1]
            if isinstance(value, ast.Lambda) or getattr(name, "value", None) in METHODS:
                yield ast.unparse(node), node.lineno


def is_namespace(node: ast.AST) -> bool:
    """Tell whether an expression is `vars(x)` or `x.__dict__` of an instance."""
    text = ast.unparse(node)
    return text.endswith(".__dict__") or (text.startswith("vars(") and "import_module" not in text)


def test_models_are_checked_by_one_function() -> None:
    def rule(module: Module) -> Iterator[tuple[str, int]]:
        for number, line in enumerate(module.text.splitlines(), start=1):
            text = "must be a keras.Model" in line or "must be True or False" in line
            if text and module.path not in MAY_CHECK:
                yield "a check of an argument: use foundation/arguments.py", number

    assert not offences(rule)


def test_weak_dictionaries_stand_in_one_place() -> None:
    def rule(module: Module) -> Iterator[tuple[str, int]]:
        for number, line in enumerate(module.text.splitlines(), start=1):
            if "WeakKeyDictionary" in line and module.path not in MAY_KEEP_BY_OBJECT:
                yield "state by object: a table of models/state_tables.py, with a facet", number

    assert not offences(rule)


def test_instances_are_patched_in_one_place() -> None:
    def rule(module: Module) -> Iterator[tuple[str, int]]:
        if module.path not in MAY_PATCH:
            yield from instance_patches(module)

    assert not offences(rule)


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("vars(layer)['call'] = f", ["vars(layer)['call']"]),
        ("del vars(layer)['call']", ["vars(layer)['call']"]),
        ("layer.__dict__['call'] = f", ["layer.__dict__['call']"]),
        ("vars(optimizer).pop('apply', None)", ["vars(optimizer).pop"]),
        ("layer.call = f(layer.call)", ["layer.call"]),
        ("del layer.call", ["layer.call"]),
        ("setattr(model, 'train_step', f)", ["setattr(model, 'train_step', f)"]),
        ("model.train_function = lambda i: i", []),
        ("x.other = lambda: 1", ["x.other"]),
        ("def f(): pass\nx.other = f", ["x.other"]),
        ("self.other = f; vars(x).get('call'); layer.trainable = False", []),
    ],
)
def test_patches_of_instances_are_seen(code: str, found: list[str]) -> None:
    assert [what for what, _ in instance_patches(read_module("tasks/a.py", code))] == found


def test_modules_say_what_they_are_for_and_stay_small() -> None:
    def rule(module: Module) -> Iterator[tuple[str, int]]:
        if not ast.get_docstring(module.tree):
            yield "has no docstring", 1
        lines = module.text.count("\n")
        if lines >= LONGEST_MODULE:
            yield f"{lines} lines: is it two modules?", lines

    assert not offences(rule)


def lengths(module: Module) -> dict[str, int]:
    """Path and name of each function -> the lines of its body without the docstring."""
    found = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
            name = f"{module.path} {node.name}"
            found[name] = max(lines, found.get(name, 0))
    return found


def test_functions_stay_short() -> None:
    every = {name: n for module in MODULES.values() for name, n in lengths(module).items()}
    longer = {name: n for name, n in every.items() if n > LONGEST_FUNCTION}
    grown = {name: n for name, n in longer.items() if n > LONGER.get(name, 0)}
    assert not grown, "split them by meaning"
    assert longer == LONGER, "the list names functions that are shorter now"


def test_lengths_leave_docstrings_out() -> None:
    module = read_module("a.py", 'def f():\n    """One.\n\n    Two."""\n    a = 1\n\n    b = 2')
    assert lengths(module) == {"a.py f": 3}


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


def untested(modules: Iterable[Module], test_files: Iterable[Path]) -> dict[str, set[str]]:
    """The longer modules without a test file of their name below their room, by folder."""
    tested = {
        (path.parts[0].removeprefix("test_").removesuffix(".py"), path.stem) for path in test_files
    }
    found: dict[str, set[str]] = {}
    for module in modules:
        # Private names of Keras are tested in tests/test_keras_facts.py.
        if module.text.count("\n") <= NEEDS_TESTS or module.path in SHELVES | KERAS_MODULES:
            continue
        _, *folders, name = module.name.split(".")
        if (module.room, f"test_{name}") not in tested:
            found.setdefault("/".join(folders), set()).add(name)
    return found


def test_modules_have_a_test_file_of_their_name() -> None:
    files = [path.relative_to(TESTS) for path in TESTS.rglob("test_*.py")]
    found = untested(MODULES.values(), files)
    assert found == WITHOUT_TEST_FILE, "write a test file, or take the row away"


@pytest.mark.parametrize(
    ("path", "lines", "files", "found"),
    [
        ("tasks/a.py", 61, [], {"tasks": {"a"}}),
        ("tasks/a.py", 60, [], {}),
        ("tasks/a.py", 61, ["tasks/test_a.py"], {}),
        ("tasks/a.py", 61, ["tasks/deep/test_a.py"], {}),
        ("tasks/a.py", 61, ["data/test_a.py", "test_a.py"], {"tasks": {"a"}}),
        ("tasks/deep/a.py", 61, [], {"tasks/deep": {"a"}}),
        ("tasks/deep/__init__.py", 61, ["tasks/test_deep.py"], {}),
    ],
)
def test_missing_test_files_are_seen(
    path: str, lines: int, files: list[str], found: dict[str, set[str]]
) -> None:
    module = read_module(path, "\n" * lines)
    assert untested([module], map(Path, files)) == found


@pytest.mark.parametrize(
    ("room", "other", "allowed"),
    [
        ("models", "foundation", True),
        ("foundation", "models", False),
        ("models", "tasks", False),
        ("tasks", "models", True),
        ("tasks", "training", False),
        ("tasks", "metrics", True),
        ("metrics", "tasks", False),
        ("backbones", "caching", False),
        ("data", "tasks", True),
        ("tasks", "data", False),
        ("training", "caching", True),
        ("training", "execution", True),
        ("execution", "training", False),
        ("callbacks", "training", False),
        ("training", ROOT, False),
        ("tuning", "training", True),
        ("tuning", "evaluation", True),
        ("evaluation", "tuning", False),
        ("training", "tuning", False),
        ("quickstart", ROOT, True),
        (ROOT, "peft", True),
    ],
)
def test_the_direction_itself(room: str, other: str, allowed: bool) -> None:
    assert may_import(room, other) is allowed


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("self._mine; cls._mine; super()._mine; x.__class__; t._replace(a=1)", []),
        ("import finetunekit; finetunekit.foundation.keras_internals.nodes(model)", []),
        ("from finetunekit.foundation import keras_internals", []),
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
        ("peft/lora.py", "from ..models import freezing", ["finetunekit.models.freezing"]),
        ("peft/__init__.py", "from .lora import add", ["finetunekit.peft.lora.add"]),
        ("a.py", "importlib.import_module('tensorflow')", ["tensorflow"]),
    ],
)
def test_imports_are_seen(path: str, code: str, names: list[str]) -> None:
    module = read_module(path, code)
    assert [name for name, _ in imports(module, ast.walk(module.tree))] == names
