"""`trainable_summary`: which layers of a model train, block by block or layer by layer."""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

import keras

from finetunekit.foundation import arguments, html, keras_internals
from finetunekit.foundation.messages import plural
from finetunekit.models import graph

_FEW = 30  # Lines that a person reads: longer tables are of blocks.
# The part of a name up to its first number, where words follow: `block_1` of `block_1_expand_BN`,
# and nothing of `conv2d_8`, which Keras numbered.
_BLOCK = re.compile(r"(.*?\d[a-z]?)(?=[_./].*[A-Za-z])")


@dataclass(frozen=True)
class SummaryRow:
    """One layer with weights, or some in a row, and how many of their parameters train.

    Args:
        path: The path of the layer, or what a block of layers has in common.
        type: The class of the layer, or how many layers a block has.
        parameters: The number of parameters.
        trainable: How many of them train.
        block: The block that the layer belongs to.
    """

    path: str
    type: str
    parameters: int
    trainable: int
    block: str = ""

    @property
    def trains(self) -> str:
        """`yes`, `no`, or how many parameters do."""
        if not self.trainable:
            return "no"
        return "yes" if self.trainable == self.parameters else f"{self.trainable:,}"


@dataclass(frozen=True, repr=False)
class TrainableSummary:
    """Which layers of a model train, as `trainable_summary` returns it; prints as a table.

    A model of many layers prints as blocks; `all_layers()` is the table of each.

    Args:
        rows: One entry for each layer with weights.

    Example:
        ```python
        import finetunekit as ftk

        summary = ftk.trainable_summary(ftk.load_backbone("pretrained_model.h5"))
        print(summary.trainable, summary.parameters)
        ```
    """

    rows: tuple[SummaryRow, ...]

    @property
    def parameters(self) -> int:
        """All parameters."""
        return sum(row.parameters for row in self.rows)

    @property
    def trainable(self) -> int:
        """The parameters that train."""
        return sum(row.trainable for row in self.rows)

    @property
    def blocks(self) -> tuple[SummaryRow, ...]:
        """The layers of each block as one row; of many alike, those from the first to the last."""
        groups = [list(rows) for _, rows in itertools.groupby(self.rows, lambda row: row.block)]
        if len(groups) > _FEW:
            joined = itertools.groupby(groups, _share)
            groups = [list(itertools.chain(*together)) for _, together in joined]
        return tuple(map(_joined, groups))

    def all_layers(self) -> str:
        """The table with a line for each layer."""
        return self._table(self.rows)

    def __str__(self) -> str:
        """The table, of blocks if the layers are many."""
        return self._table(self.rows if len(self.rows) <= _FEW else self.blocks)

    def __repr__(self) -> str:
        return f"<TrainableSummary: {self._total()}>"

    def _repr_html_(self) -> str:
        if len(self.rows) <= _FEW:
            return html.view(self._total(), _html(self.rows))
        every = html.folded(f"all {len(self.rows)} layers", _html(self.rows))
        return html.view(self._total(), _html(self.blocks), every)

    def _total(self) -> str:
        share = self.trainable / self.parameters if self.parameters else 0.0
        return f"{self.trainable:,} of {self.parameters:,} parameters train ({share:.1%})"

    def _table(self, rows: Sequence[SummaryRow]) -> str:
        width = max([len(row.path) for row in rows] + [len("layer")])
        kind = max([len(row.type) for row in rows] + [len("type")])
        lines = [f"{'layer':<{width}}  {'type':<{kind}}  {'parameters':>11}  trains"]
        lines += [
            f"{row.path:<{width}}  {row.type:<{kind}}  {row.parameters:>11,}  {row.trains}"
            for row in rows
        ]
        return "\n".join([*lines, self._total()])


def trainable_summary(model: keras.Model) -> TrainableSummary:
    """Shows which layers train, through nested models; changes nothing.

    Args:
        model: A Keras model of any kind.

    Returns:
        A summary that prints as a table: one row for each layer that owns weights, or for each
        block of a model of many layers.

    Raises:
        TypeError: If it is not a Keras model.

    Example:
        ```python
        import finetunekit as ftk

        backbone = ftk.load_backbone("pretrained_model.h5")
        print(ftk.trainable_summary(ftk.freeze_layers(backbone, 4)))
        ```
    """
    arguments.check_model(model, kind=keras.layers.Layer)
    training = {id(variable) for variable in model.trainable_variables}
    rows = []
    for place in graph.leaves(model):
        own = keras_internals.own_weights(place.layer)
        trains = sum(graph.size(variable) for variable in own if id(variable) in training)
        rows.append(
            SummaryRow(
                place.path,
                type(place.layer).__name__,
                graph.parameter_count(place.layer),
                trains,
                _block(place),
            )
        )
    return TrainableSummary(tuple(rows))


def _block(place: graph.Place) -> str:
    """What the layers of a block have in common: models around it, and its numbered name."""
    around = place.ancestors[1:]  # The first is the model itself.
    models = sum(isinstance(layer, keras.Model) for layer in around)
    parts = place.path.split("/")
    inner = "/".join(parts[models:])
    found = _BLOCK.match(inner)
    name = found.group(1) if found else inner.split("/")[0]
    return "/".join([*parts[:models], name])


def _share(group: list[SummaryRow]) -> tuple[str, bool]:
    """What blocks have in common that are put together: the model, and whether they train."""
    return group[0].block.rpartition("/")[0], any(row.trainable for row in group)


def _joined(group: list[SummaryRow]) -> SummaryRow:
    """A block, or some, as one row."""
    if len(group) == 1:
        return group[0]
    first, last = group[0].block, group[-1].block
    return SummaryRow(
        first if first == last else f"{first} ... {last.rpartition('/')[2]}",
        plural(len(group), "layer"),
        sum(row.parameters for row in group),
        sum(row.trainable for row in group),
        first,
    )


def _html(rows: Sequence[SummaryRow]) -> str:
    cells = [(row.path, row.type, f"{row.parameters:,}", row.trains) for row in rows]
    return html.table(("layer", "type", "parameters", "trains"), cells)
