"""Where in a state dict a known architecture stands: behind prefixes such as `model.backbone.`."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from finetunekit.foundation.messages import listed, plural

_DEEPEST = 8
_IN_A_HEAD = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
State = dict[str, np.ndarray]


class Unclear(Exception):
    """Why it is not clear which part is meant; a sentence about the file."""


@dataclass(frozen=True)
class Located:
    """A part of a state dict.

    Args:
        state: Its tensors, with the prefix taken off.
        prefix: What was taken off.
        left: The keys of the other tensors.
    """

    state: State
    prefix: str = ""
    left: tuple[str, ...] = ()

    @property
    def notes(self) -> list[str]:
        """A line on what was left out."""
        if not self.left:
            return []
        return [
            f"{plural(len(self.left), 'tensor')} outside {self.prefix!r}: {listed(self.left, 3)}"
        ]


def locate(state: State, recognises: Callable[[State], bool], key: str = "") -> Located:
    """The part of a state dict that is of a known architecture; all of it, if none is.

    Args:
        state: The state dict.
        recognises: Whether keys are those of a known architecture.
        key: Where the state dict stands in its file, for messages.

    Raises:
        Unclear: If there are several such parts, or what is left is more than a head.
    """
    parts = _parts(state)
    found = [prefix for prefix in parts if recognises(parts[prefix])]
    found = [one for one in found if not any(one != o and one.startswith(o) for o in found)]
    if not found or found == [""]:
        return Located(state)
    names = [f"{key}.{prefix}".strip(".") for prefix in found]
    if len(found) > 1:
        raise Unclear(
            f"holds more than one model of a known architecture: {listed(names, 8)}. Choose one, "
            f"as in `state_dict={names[0]!r}`"
        )
    left = tuple(k for k in state if not k.startswith(found[0]))
    if not all(_is_of_a_head(state, k) for k in left):
        raise Unclear(
            f"holds a known architecture under {names[0]!r}, and besides {listed(left, 3)}, which "
            "is more than a head: the part may compute differently inside of the whole, with "
            f"dilated strides. If it does not, load it with `state_dict={names[0]!r}`"
        )
    return Located(parts[found[0]], found[0].rstrip("."), left)


def _parts(state: State) -> dict[str, State]:
    """Prefix -> the tensors behind it, their keys without it."""
    parts: dict[str, State] = {"": state}
    for key, array in state.items():
        words = key.split(".")[: _DEEPEST + 1]
        for number in range(1, len(words)):
            prefix = "".join(f"{word}." for word in words[:number])
            parts.setdefault(prefix, {})[key.removeprefix(prefix)] = array
    return parts


def _is_of_a_head(state: State, key: str) -> bool:
    return key.rpartition(".")[2] in _IN_A_HEAD and state[key].ndim <= 2
