"""Variables that a call changes: assignments in the graph, through inner functions."""

from collections.abc import Iterable
from typing import Any

_WRITERS = ("Assign", "ResourceScatter", "ResourceApply", "ResourceSparseApply", "ResourceStrided")
# Where the inputs of the called function begin among those of the op.
_FIRST_INPUT = {"If": 1, "StatelessIf": 1, "Case": 1, "StatelessCase": 1}


def written_handles(concrete: Any) -> set[int]:
    """The `id` of each captured handle that the function, or one that it calls, assigns to."""
    definition = concrete.graph.as_graph_def()
    library = {function.signature.name: function for function in definition.library.function}
    inside = {internal.op.name: id(external) for external, internal in concrete.graph.captures}
    found = _written(definition.node, set(inside), library, {})
    return {inside[name] for name in found}


def _written(
    nodes: Iterable[Any], arguments: set[str], library: dict[str, Any], known: dict[str, set[int]]
) -> set[str]:
    """Which of the arguments, by name, end up in an assignment."""
    origin = {name: name for name in arguments}
    found = set()
    for node in nodes:
        inputs = [origin.get(name.split(":")[0]) for name in node.input if name[0] != "^"]
        if node.op == "Identity" and inputs and inputs[0]:
            origin[node.name] = inputs[0]
        elif node.op.startswith(_WRITERS):
            found.add(inputs[0])
        for name in called(node, library):
            first = _FIRST_INPUT.get(node.op, 0)
            for position in _written_positions(name, library, known):
                if first + position < len(inputs):
                    found.add(inputs[first + position])
    return {name for name in found if name}


def _written_positions(name: str, library: dict[str, Any], known: dict[str, set[int]]) -> set[int]:
    if name not in known:
        known[name] = set()  # A function that calls itself ends here.
        function = library[name]
        arguments = [argument.name for argument in function.signature.input_arg]
        found = _written(function.node_def, set(arguments), library, known)
        known[name] = {arguments.index(argument) for argument in found}
    return known[name]


def called(node: Any, library: dict[str, Any]) -> list[str]:
    """The functions of the library that a node runs."""
    found = [node.op] if node.op in library else []
    for value in node.attr.values():
        functions = [value.func, *value.list.func]
        found += [function.name for function in functions if function.name in library]
    return found
