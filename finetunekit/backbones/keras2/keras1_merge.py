"""Merge layers of Keras 1, and chains that begin with one, which were graphs in truth."""

from typing import Any

from finetunekit.backbones.keras2.context import Context

_Config = dict[str, Any]

_MODES = {
    "ave": "Average",
    "concat": "Concatenate",
    "dot": "Dot",
    "max": "Maximum",
    "mul": "Multiply",
    "sum": "Add",
}


def layer(stored: _Config, context: Context) -> _Config:
    """Class and config of the layer that does today what a Merge did.

    Raises:
        ValueError: If there is none, and no function was given for it.
    """
    name, mode = str(stored.get("name")), stored.get("mode")
    given = context.custom_objects.get(name)
    if given is None and stored.get("mode_type", "raw") == "function":
        given = context.find(str(mode))
    if given is not None:
        config = {"name": name, "function": mode, "arguments": stored.get("arguments") or {}}
        return {"class_name": "Lambda", "config": config}
    if stored.get("mode_type", "raw") != "raw" or mode not in _MODES:
        raise context.error(
            f"layer {name!r} is a Merge of the mode {mode if mode == 'cos' else 'of a function'!r},"
            " which Keras 3 has nothing for",
            f"Give a function of the list of tensors: custom_objects={{{name!r}: function}}.",
        )
    config = {"name": name}
    if mode == "concat":
        config["axis"] = stored.get("concat_axis", -1)
    if mode == "dot":
        axes = stored.get("dot_axes", -1)
        config["axes"] = tuple(axes) if isinstance(axes, list) else axes
    context.convert(f"{name}: Merge became {_MODES[mode]}")
    return {"class_name": _MODES[mode], "config": config}


def graph(name: str, entries: list[_Config], context: Context) -> _Config:
    """A chain that begins with a Merge as the graph that it is.

    The layers of its branches stand beside each other, as their weights do in the file.

    Raises:
        ValueError: If a branch has no input.
    """
    nodes = _Nodes(context)
    merge, *rest = entries
    end = nodes.merged(merge)
    for entry in rest:
        end = nodes.called(entry, [end])
    return {
        "name": name,
        "layers": list(nodes.layers.values()),
        "input_layers": nodes.inputs,
        "output_layers": [end],
    }


class _Nodes:
    """The layers of a graph that is being put together, with their calls."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.layers: dict[str, _Config] = {}
        self.inputs: list[list[Any]] = []

    def merged(self, entry: _Config) -> list[Any]:
        """A Merge of branches; the reference to its output."""
        stored = dict(entry["config"])
        ends = [self._branch(branch) for branch in stored.pop("layers")]
        return self.called({"class_name": "Merge", "config": stored}, ends)

    def called(self, entry: _Config, ends: list[list[Any]]) -> list[Any]:
        """A layer called on these outputs; the reference to its own."""
        stored = entry["config"]
        name = stored.get("name") if isinstance(stored, dict) else None
        name = str(entry.get("name") or name or f"{entry['class_name'].lower()}_{len(self.layers)}")
        made = self.layers.setdefault(name, {**entry, "name": name, "inbound_nodes": []})
        made["inbound_nodes"].append([list(end) for end in ends])
        return [name, len(made["inbound_nodes"]) - 1, 0]

    def _branch(self, entry: _Config) -> list[Any]:
        stored = entry["config"]
        if entry["class_name"] == "Sequential":
            entries = stored["layers"] if isinstance(stored, dict) else stored
            first, *rest = entries
            end = self.merged(first) if first["class_name"] == "Merge" else self._start(first)
            for layer_entry in rest:
                end = self.called(layer_entry, [end])
            return end
        if entry["class_name"] in ("Model", "Container"):
            return self._inlined(stored)
        return self._start(entry)

    def _start(self, entry: _Config) -> list[Any]:
        """The first layer of a branch, behind an input of its own."""
        stored = entry["config"]
        shape = stored.get("batch_input_shape") if isinstance(stored, dict) else None
        if shape is None:
            raise self.context.error(
                f"a branch of a Merge begins with {entry['class_name']} without an input shape",
                "Build the model in Keras 3 and load the weights: `ftk.load_weights(model, path)`.",
            )
        is_input = entry["class_name"] == "InputLayer"
        name = stored["name"] if is_input else f"{stored['name']}_input"
        config = {
            "name": name,
            "batch_input_shape": shape,
            "input_dtype": stored.get("input_dtype"),
        }
        made: _Config = {"class_name": "InputLayer", "config": config, "name": name}
        if name not in self.layers:
            self.layers[name] = {**made, "inbound_nodes": []}
            self.inputs.append([name, 0, 0])
        return [name, 0, 0] if is_input else self.called(entry, [[name, 0, 0]])

    def _inlined(self, stored: _Config) -> list[Any]:
        """The layers of a model, which had one output."""
        for entry in stored["layers"]:
            self.layers.setdefault(entry["name"], entry)
        self.inputs += [end for end in stored["input_layers"] if end not in self.inputs]
        return list(stored["output_layers"][0])
