"""The documentation keeps its word: its code runs, its links lead somewhere, no name is missing."""

from __future__ import annotations

import inspect
import json
import linecache
import re
import shutil
import textwrap
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest

import finetunekit
import snippets
from parameters import often

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
OFTEN = (PAGES[0], ROOT / "docs/guide/quickstart.md")  # The others take a minute.
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

FENCE = re.compile(r"^(?P<indent> *)(?P<mark>`{3,}|~{3,}) *(?P<info>[^`\n]*)$")
LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?(?P<target>[^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)


class Block(NamedTuple):
    """A fenced block of Python: its text, and the line of the page that the text starts on."""

    text: str
    line: int


def read_page(text: str) -> tuple[str, list[Block]]:
    """Split a Markdown text into its prose, without inline code, and its blocks of Python."""
    prose, blocks = [], []
    lines = text.splitlines()
    opening: re.Match[str] | None = None
    start = 0
    for number, line in enumerate(lines, start=1):
        fence = FENCE.match(line)
        if opening is None:
            opening, start = fence, number
            if fence is None:
                prose.append(re.sub(r"`[^`]*`", "", line))
        elif fence and not fence["info"] and fence["mark"].startswith(opening["mark"]):
            if opening["info"].split()[:1] in (["python"], ["py"], ["python3"]):
                block = textwrap.dedent("\n".join(lines[start : number - 1]))
                blocks.append(Block(block, start + 1))
            opening = None
    if opening is not None:
        raise ValueError(f"the block that begins in line {start} has no end")
    return "\n".join(prose), blocks


def run(block: Block, namespace: dict[str, Any], place: str) -> None:
    """Run a block; when it fails, fail with the place, the line, and the error."""
    lines = [""] * (block.line - 1) + block.text.splitlines()
    source = "\n".join(lines) + "\n"
    # So that tracebacks, and functions that look for their source, find the block's lines.
    linecache.cache[place] = (len(source), None, source.splitlines(keepends=True), place)
    try:
        exec(compile(source, place, "exec", dont_inherit=True), namespace)
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        inside = [frame.lineno for frame in frames if frame.filename == place]
        line = inside[-1] if inside else getattr(error, "lineno", None)
        code = lines[line - 1].strip() if line else ""
        message = f"{place}, line {line}: {code}\n{type(error).__name__}: {error}"
        raise AssertionError(message) from error


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """What the blocks may use, made once."""
    folder = tmp_path_factory.mktemp("prepared")
    return folder, snippets.prepare(folder)


@pytest.fixture
def namespace(
    prepared: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """A working folder and names of the test's own, as `snippets.prepare` gives them."""
    folder, names = prepared
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return {name: value.copy() for name, value in names.items()} | {"__name__": "snippet"}


@pytest.mark.parametrize("page", often(PAGES, OFTEN), ids=lambda page: str(page.relative_to(ROOT)))
def test_the_code_of_a_page_runs(page: Path, namespace: dict[str, Any]) -> None:
    for number, block in enumerate(read_page(page.read_text("utf-8"))[1], start=1):
        run(block, namespace, f"{page.relative_to(ROOT)}, block {number}")


def public_objects() -> Iterator[tuple[str, Any]]:
    """Yield the dotted name and the object of everything public, members of classes included."""

    def members(prefix: str, container: Any, names: list[str]) -> Iterator[tuple[str, Any]]:
        for name in names:
            value = getattr(container, name)
            yield f"{prefix}.{name}", value
            if isinstance(value, ModuleType):
                yield from members(f"{prefix}.{name}", value, value.__all__)
            elif inspect.isclass(value):
                own = [key for key in vars(value) if not key.startswith("_")]
                yield from members(f"{prefix}.{name}", value, own)

    yield "finetunekit", finetunekit
    yield from members("finetunekit", finetunekit, finetunekit.__all__)


def public_names() -> list[str]:
    """Return the dotted names of what finetunekit exports, its public submodules' names too."""
    names = []
    for name in finetunekit.__all__:
        value = getattr(finetunekit, name)
        if isinstance(value, ModuleType):
            names += [f"finetunekit.{name}.{inner}" for inner in value.__all__]
        else:
            names.append(f"finetunekit.{name}")
    return names


# What stands in our own code: a docstring that is inherited from Keras is Keras' to keep.
DOCSTRINGS = {
    name: inspect.cleandoc(value.__doc__ or "")
    for name, value in public_objects()
    if isinstance(value, ModuleType | property)
    or getattr(value, "__module__", "").startswith("finetunekit")
}


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n, text in DOCSTRINGS.items() if read_page(text)[1]])
def test_the_code_of_a_docstring_runs(name: str, namespace: dict[str, Any]) -> None:
    usual = {"ftk": finetunekit, "keras": keras, "np": np}
    for number, block in enumerate(read_page(DOCSTRINGS[name])[1], start=1):
        run(block, namespace | usual, f"docstring of {name}, block {number}")


@pytest.mark.parametrize("name", public_names())
def test_a_public_name_has_a_docstring_and_an_entry_in_the_reference(name: str) -> None:
    assert DOCSTRINGS.get(name), f"{name} has no docstring"
    reference = (ROOT / "docs" / "api.md").read_text("utf-8")
    assert re.search(rf"^::: {re.escape(name)}$", reference, re.MULTILINE), (
        f"docs/api.md has no entry `::: {name}`"
    )


def test_the_reference_has_no_entry_for_a_name_that_is_not_public() -> None:
    entries = re.findall(r"^::: (\S+)$", (ROOT / "docs" / "api.md").read_text("utf-8"), re.M)
    assert sorted(entries) == sorted(set(entries) & set(public_names()))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_of_a_page_lead_to_files(page: Path) -> None:
    targets = [link["target"] for link in LINK.finditer(read_page(page.read_text("utf-8"))[0])]
    files = [t.split("#")[0] for t in targets if not t.startswith("#") and not ELSEWHERE.match(t)]
    missing = [file for file in files if not (page.parent / file).exists()]
    assert not missing, f"{page.relative_to(ROOT)} links to files that do not exist: {missing}"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.name)
def test_a_notebook_is_stored_without_outputs(notebook: Path) -> None:
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    assert cells
    filled = [
        number
        for number, cell in enumerate(cells)
        if cell.get("outputs") or cell.get("execution_count") is not None
    ]
    assert not filled, f"{notebook.name}: cells {filled} are stored with outputs"
