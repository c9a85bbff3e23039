"""Attributes of an instance that are exchanged for a time, here and nowhere else.

A patch gives one object another method (or plain attribute) than its class does. Several patches
of one attribute stand on each other and may be undone in any order; whoever has to know what an
object does under them asks `original`, `is_patched` and `patches_of`.

    with patches.patch(layer, "call", lambda own: lambda x: 2 * own(x)):
        ...                       # or keep the Patch, and call `undo` when training ends
"""

from collections.abc import Callable
from typing import Any, Self

# In the instance itself: a patch refers to the instance, so a table of all would keep it alive.
_HELD = "_finetunekit_patches"


class Patch:
    """One exchanged attribute; undone by `undo` or at the end of a `with` block.

    Attributes:
        tag: What the patch is, for those who have to recognise it.
    """

    def __init__(self, instance: Any, name: str, wrap: Callable[[Any], Any], tag: Any) -> None:
        self._instance, self._name, self._wrap, self.tag = instance, name, wrap, tag

    def undo(self) -> None:
        """Takes this patch out; those made before and after it stay. A second time does nothing."""
        stack = _stacks(self._instance).get(self._name)
        if stack is not None and self in stack.patches:
            stack.remove(self)

    def __enter__(self) -> Self:
        """The patch, which acts already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Undoes it."""
        self.undo()

    def over(self, below: Any) -> Any:
        """The attribute with this patch, over what is below it."""
        return self._wrap(below)


def patch(instance: Any, name: str, wrap: Callable[[Any], Any], *, tag: Any = None) -> Patch:
    """Exchanges an attribute of one object, in place.

    It is written past `__setattr__`, which Keras uses to track layers, variables and state.

    Args:
        instance: Any object with a `__dict__`: a layer, variable, model, optimizer, loss.
        name: A method, attribute or property of it; a property is set by its own setter.
        wrap: What the attribute is now (bound, for a method) -> what it becomes. It is called
            again when a patch below it is undone, so it should do nothing else.
        tag: What `patches_of` tells of the patch.

    Returns:
        The patch, to be undone or used as a context manager.

    Raises:
        AttributeError: If the object has no such attribute.
    """
    made = Patch(instance, name, wrap, tag)
    stack = _stacks(instance).get(name) or _Stack(instance, name)
    stack.add(made)
    vars(instance).setdefault(_HELD, _Stacks()).by_name[name] = stack
    return made


def exchange(instance: Any, name: str, value: Any, *, tag: Any = None) -> Patch:
    """Exchanges an attribute for a value that does not depend on what was there; see `patch`."""
    return patch(instance, name, lambda _: value, tag=tag)


def is_patched(instance: Any, name: str) -> bool:
    """Whether an attribute of the object is exchanged now."""
    return name in _stacks(instance)


def original(instance: Any, name: str) -> Any:
    """The attribute under all patches: the class's (bound), or the user's own on the instance."""
    stack = _stacks(instance).get(name)
    return getattr(instance, name) if stack is None else stack.base


def is_users_own(instance: Any, name: str) -> bool:
    """Whether, under all patches, the instance has an attribute that hides the class's."""
    stack = _stacks(instance).get(name)
    return name in vars(instance) if stack is None else stack.is_users_own


def patches_of(instance: Any, name: str) -> list[Patch]:
    """The patches of an attribute, the innermost first."""
    stack = _stacks(instance).get(name)
    return [] if stack is None else list(stack.patches)


class _Stack:
    """The patches of one attribute of one object, and what was there before."""

    def __init__(self, instance: Any, name: str) -> None:
        self._instance, self._name = instance, name
        self.base = getattr(instance, name)
        self.is_users_own = name in vars(instance)
        self._is_property = hasattr(getattr(type(instance), name, None), "__set__")
        self.patches: list[Patch] = []
        self._written: Any = self.base

    def add(self, made: Patch) -> None:
        there = self._read()
        if self.patches and there is not self._written:
            # Somebody has assigned to it meanwhile: that is wrapped, and stays.
            self.patches.append(Patch(self._instance, self._name, lambda _: there, None))
        self._write(made.over(there))
        self.patches.append(made)

    def remove(self, gone: Patch) -> None:
        self.patches.remove(gone)
        ours = self._read() is self._written
        if not self.patches:
            del _stacks(self._instance)[self._name]
        if not ours:
            return  # Somebody else has assigned to it since; theirs stays.
        if self.patches or self.is_users_own or self._is_property:
            value = self.base
            for each in self.patches:
                value = each.over(value)
            self._write(value)
        else:
            del vars(self._instance)[self._name]

    def _read(self) -> Any:
        if self._is_property:
            return getattr(self._instance, self._name)
        return vars(self._instance).get(self._name, self.base)

    def _write(self, value: Any) -> None:
        self._written = value
        if self._is_property:
            setattr(self._instance, self._name, value)
        else:
            vars(self._instance)[self._name] = value


class _Stacks:
    """By attribute; not a dictionary, which Keras would search for layers when it saves."""

    def __init__(self) -> None:
        self.by_name: dict[str, _Stack] = {}


def _stacks(instance: Any) -> dict[str, _Stack]:
    held = vars(instance).get(_HELD)
    return {} if held is None else held.by_name
