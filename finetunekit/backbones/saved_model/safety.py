"""The safe mode of SavedModels: the graph is read, without running it, for forbidden ops.

A SavedModel is a program: its graph can write files and open connections. Only ops known to be
harmless are accepted. Nothing here guards against a graph that only wastes time or memory.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from finetunekit.backbones.saved_model import harmless_ops
from finetunekit.backbones.saved_model.written import called
from finetunekit.foundation.messages import listed

_ASSETS_COLLECTION = "saved_model_assets"
_LARGEST_CONSTANT = 2**29  # Numbers; one that is written out in full cannot hold more.


def check(saved_model: Any, path: str) -> None:
    """Raises for a SavedModel, given as protobuf message, that holds other than harmless ops.

    Raises:
        ValueError: With the names of these ops.
    """
    refused: set[str] = set()
    for meta_graph in saved_model.meta_graphs:
        _check_assets(meta_graph, path)
        try:
            refused |= _Reader(meta_graph).refused()
        except (IndexError, RecursionError) as error:  # Inputs or objects that are not there.
            raise ValueError(
                "`path` is a SavedModel whose graph is incomplete: it is corrupt or malicious. "
                f"Copy it again. Received: path={path!r}"
            ) from error
    if refused:
        raise ValueError(
            "`path` is a SavedModel with ops that safe mode does not accept, since they can reach "
            f"files, other programs or the network, or are not known: {listed(sorted(refused))}. "
            "None of it was run. If you trust its author, load it with safe_mode=False. "
            f"Received: path={path!r}, safe_mode=True"
        )


def _check_assets(meta_graph: Any, path: str) -> None:
    for asset in _assets(meta_graph):
        parts = asset.filename.replace("\\", "/").split("/")
        if not asset.filename or ".." in parts or parts[0] == "" or ":" in asset.filename:
            raise ValueError(
                "`path` is a SavedModel with an asset outside its own folder, "
                f"{asset.filename!r}. It is malicious or damaged. Received: path={path!r}"
            )


def _assets(meta_graph: Any) -> list[Any]:
    """The asset files, wherever they are listed: TensorFlow 1 used a collection."""
    assets = list(meta_graph.asset_file_def)
    if _ASSETS_COLLECTION in meta_graph.collection_def:
        for packed in meta_graph.collection_def[_ASSETS_COLLECTION].any_list.value:
            assets.append(_unpacked(packed))
    return assets


def _unpacked(packed: Any) -> Any:
    """The asset; one without a name, which is refused, if it cannot be read."""
    from tensorflow.core.protobuf import meta_graph_pb2

    asset = meta_graph_pb2.AssetFileDef()
    try:
        packed.Unpack(asset)
    except Exception:  # Which class it is differs between versions of protobuf.
        asset.Clear()
    return asset


@dataclass
class _Reader:
    """One graph with its functions, and which of them a user of the model can reach."""

    meta_graph: Any
    library: dict[str, Any] = field(init=False)
    nodes: dict[str, Any] = field(init=False)
    assets: list[Any] = field(init=False)

    def __post_init__(self) -> None:
        self.assets = _assets(self.meta_graph)
        graph = self.meta_graph.graph_def
        self.library = {function.signature.name: function for function in graph.library.function}
        self.nodes = {node.name: node for node in graph.node}

    def refused(self) -> set[str]:
        """The ops that are not accepted where they stand."""
        strict, strict_functions = self._reached(self._entries())
        strict_functions |= self._functions_from(set(self._concrete()))
        restore = self.meta_graph.saver_def.restore_op_name
        reading, reading_functions = self._reached([restore] if restore else [])
        found: set[str] = set()
        for name, node in self.nodes.items():
            allowed = self._allowed(name in strict, name in reading)
            found |= self._refused_nodes([node], allowed, set())
        for name, function in self.library.items():
            allowed = self._allowed(name in strict_functions, name in reading_functions)
            given: set[str] = set()
            reads = any(node.op in harmless_ops.TABLE_FILE_OPS for node in function.node_def)
            if reads and self._given_assets(name):
                given = {argument.name for argument in function.signature.input_arg}
            found |= self._refused_nodes(function.node_def, allowed, given)
        return found

    @staticmethod
    def _allowed(strict: bool, reading: bool) -> frozenset[str]:
        """Checkpoint ops stand in the saver's own functions, and those that read at loading."""
        if strict:
            return harmless_ops.HARMLESS
        if reading:
            return harmless_ops.HARMLESS | harmless_ops.CHECKPOINT_READERS
        return harmless_ops.HARMLESS | harmless_ops.CHECKPOINT_OPS

    def _refused_nodes(
        self, nodes: Iterable[Any], allowed: frozenset[str], given: set[str]
    ) -> set[str]:
        found = set()
        own_files = given | {_node_name(asset.tensor_info.name) for asset in self.assets}
        for node in nodes:
            if node.op in harmless_ops.TABLE_FILE_OPS:
                if node.input[1].split(":")[0] not in own_files:
                    found.add(node.op)
            elif node.op not in allowed and node.op not in self.library:
                found.add(node.op)
            elif node.op == "Const" and _constant_size(node) > _LARGEST_CONSTANT:
                found.add("Const that exceeds its size limit")
        return found

    def _given_assets(self, name: str) -> bool:
        """Whether the strings a function gets can only be paths of the SavedModel's assets.

        Then all it gets are objects of the SavedModel that are no constants, or what a function
        of this kind has got itself and passes on.
        """
        concrete = self._concrete().get(name)
        callers = self._callers(name)
        if concrete is not None:
            objects = self.meta_graph.object_graph_def.nodes
            kinds = {objects[bound].WhichOneof("kind") for bound in concrete.bound_inputs}
            arguments = len(self.library[name].signature.input_arg)
            if "constant" in kinds or arguments != len(concrete.bound_inputs):
                return False
        elif not callers or name in {caller for caller, _ in callers}:
            return False
        return all(
            {_node_name(source) for source in node.input if source[0] != "^"}
            <= {argument.name for argument in self.library[caller].signature.input_arg}
            and self._given_assets(caller)
            for caller, node in callers
        )

    def _callers(self, name: str) -> list[tuple[str, Any]]:
        """The functions that call this one, each with the node that does."""
        return [
            (caller, node)
            for caller, function in self.library.items()
            for node in function.node_def
            if name in called(node, self.library)
        ]

    def _concrete(self) -> dict[str, Any]:
        return dict(self.meta_graph.object_graph_def.concrete_functions)

    def _entries(self) -> list[str]:
        """The nodes of the main graph that loading or calling can run, but for restoring."""
        entries = []
        for signature in self.meta_graph.signature_def.values():
            for info in signature.outputs.values():
                entries += list(_tensor_names(info))
        for collection in self.meta_graph.collection_def.values():
            entries += list(collection.node_list.value)
        return entries

    def _reached(self, entries: Iterable[str]) -> tuple[set[str], set[str]]:
        """The nodes that the entries need, and the functions that these run."""
        seen: set[str] = set()
        waiting = [_node_name(entry) for entry in entries]
        while waiting:
            name = waiting.pop()
            if name in seen or name not in self.nodes:
                continue
            seen.add(name)
            waiting += [_node_name(source) for source in self.nodes[name].input]
        run = {f for name in seen for f in called(self.nodes[name], self.library)}
        return seen, self._functions_from(run)

    def _functions_from(self, names: set[str]) -> set[str]:
        """The functions and all that they call."""
        seen: set[str] = set()
        waiting = [name for name in names if name in self.library]
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            for node in self.library[name].node_def:
                waiting += called(node, self.library)
        return seen


def _tensor_names(info: Any) -> Iterator[str]:
    kind = info.WhichOneof("encoding")
    if kind == "name":
        yield info.name
    elif kind == "coo_sparse":
        sparse = info.coo_sparse
        yield from (
            sparse.values_tensor_name,
            sparse.indices_tensor_name,
            sparse.dense_shape_tensor_name,
        )
    elif kind == "composite_tensor":
        for component in info.composite_tensor.components:
            yield from _tensor_names(component)


def _node_name(tensor: str) -> str:
    return tensor.lstrip("^").split(":")[0]


def _constant_size(node: Any) -> int:
    size = 1
    for dimension in node.attr["value"].tensor.tensor_shape.dim:
        size *= max(dimension.size, 0)
    return size
