"""Which small faults do the tests not notice? Puts them in one at a time and runs the tests.

    python tools/mutation.py finetunekit/optimizers tests/optimizers --sample 40

A fault is a comparison turned, `and` made `or`, a sign, a `not` or a statement dropped, a number
off by one. Everything happens in a temporary copy. TensorFlow is imported once; each run of the
tests is a fork of that process, ended after `--timeout` seconds, which counts as noticed.
"""

import argparse
import ast
import contextlib
import copy
import functools
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
_SWAPS: dict[type, type] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
}
Edit = Callable[[], None]


def faults(tree: ast.AST) -> Iterator[tuple[int, str, Edit]]:
    """The faults that can be put into a tree: line, words, and how to put it in."""
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Compare) and type(node.ops[0]) in _SWAPS:
            swap = _SWAPS[type(node.ops[0])]()
            yield line, "comparison", functools.partial(node.ops.__setitem__, 0, swap)
        if isinstance(node, (ast.BinOp, ast.BoolOp)) and type(node.op) in _SWAPS:
            swap = _SWAPS[type(node.op)]()
            yield line, "operator", functools.partial(setattr, node, "op", swap)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
            yield line, "not or minus dropped", functools.partial(_become, node, node.operand)
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, (int, float))
            and not isinstance(node.value, bool)
        ):
            yield line, "number", functools.partial(setattr, node, "value", node.value + 1)
        if isinstance(node, ast.Constant) and isinstance(node.value, bool):
            yield line, "bool", functools.partial(setattr, node, "value", not node.value)
        if isinstance(node, (ast.AugAssign, ast.Assign, ast.Expr)) and not _is_text(node):
            if not isinstance(node, ast.Assign) or isinstance(node.targets[0], ast.Attribute):
                yield line, "statement dropped", functools.partial(_become, node, ast.Pass())


def _become(node: ast.AST, other: ast.AST) -> None:
    """Makes a node another one, in its place."""
    place = {k: v for k, v in vars(node).items() if k in ("lineno", "col_offset")}
    node.__class__ = other.__class__
    vars(node).clear()
    vars(node).update(vars(other) | place)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def noticed(folder: Path, tests: list[str], timeout: float) -> bool:
    """Whether the tests fail in the copy, or take too long."""
    child = os.fork()
    if child == 0:
        os.setsid()
        os.chdir(folder)
        sys.path.insert(0, str(folder))
        with open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), 1)
            os.dup2(nothing.fileno(), 2)
        import pytest

        os._exit(int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", *tests])))
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status != 0
        time.sleep(0.1)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def main() -> int:
    """Prints each fault that went unnoticed, and the share of those that were noticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("module", help="a file or folder of the package")
    parser.add_argument("tests", nargs="+", help="what to run, as for pytest")
    parser.add_argument("--sample", type=int, default=0, help="how many faults; 0 for all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timeout", type=float, default=300.0)
    given = parser.parse_args()
    import keras  # noqa: F401  # Once, for all runs.

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("finetunekit", "tests", "docs"):
            shutil.copytree(ROOT / part, folder / part)
        for part in ("pyproject.toml", "setup.cfg", "README.md"):
            shutil.copy(ROOT / part, folder)
        if noticed(folder, given.tests, given.timeout):
            print("the tests fail without any fault")
            return 1
        target = folder / given.module
        paths = sorted(target.rglob("*.py")) if target.is_dir() else [target]
        found = [(p, n) for p in paths for n, _ in enumerate(faults(ast.parse(p.read_text())))]
        if given.sample and given.sample < len(found):
            found = sorted(random.Random(given.seed).sample(found, given.sample))
        missed = sum(not _tried(folder, path, number, given) for path, number in found)
        print(f"{len(found) - missed} of {len(found)} faults noticed")
    return 0


def _tried(folder: Path, path: Path, number: int, given: argparse.Namespace) -> bool:
    text = path.read_text()
    tree = ast.parse(text)
    line, what, edit = list(faults(tree))[number]
    before = copy.deepcopy(tree)
    edit()
    path.write_text(ast.unparse(ast.fix_missing_locations(tree)))
    try:
        seen = noticed(folder, given.tests, given.timeout)
    finally:
        path.write_text(text)
    if not seen:
        old, new = (ast.unparse(t).splitlines() for t in (before, tree))
        pairs = [f"{a.strip()}  ->  {b.strip()}" for a, b in zip(old, new, strict=False) if a != b]
        print(f"{path.relative_to(folder)}:{line}: {what}: {pairs[0] if pairs else ''}", flush=True)
    return seen


if __name__ == "__main__":
    sys.exit(main())
