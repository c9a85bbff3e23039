"""A check of code objects by what this very Python knows about its instructions."""

import dis
from types import CodeType
from typing import Any

_ENDS = {
    "RETURN_VALUE",
    "RETURN_CONST",
    "RAISE_VARARGS",
    "RERAISE",
    "INTERPRETER_EXIT",
    "JUMP_FORWARD",
    "JUMP_BACKWARD",
    "JUMP_BACKWARD_NO_INTERRUPT",
}


def runs_here(code: CodeType) -> bool:
    """Whether its instructions, and those of the functions inside, are sound for this Python.

    Each must be known, its argument must lie within its table, the units between instructions
    must be empty, jumps must lead to instructions, and no way through them may take more from the
    stack than is there or put more on it than the code declares.
    """
    try:
        sound = _sound(code)
    except (ValueError, IndexError, KeyError, TypeError):
        return False
    return sound and all(runs_here(c) for c in code.co_consts if isinstance(c, CodeType))


def _sound(code: CodeType) -> bool:
    steps = list(dis.get_instructions(code))
    if not steps or "RESUME" not in {step.opname for step in steps}:
        return False
    known = {name for name in dis.opmap if not name.startswith(("INSTRUMENTED", "CACHE"))}
    places = {step.offset: number for number, step in enumerate(steps)}
    ends = [*(step.offset for step in steps[1:]), len(code.co_code)]
    for step, end in zip(steps, ends, strict=True):
        empty = code.co_code[step.offset + 2 : end]
        if step.opname not in known or any(empty):
            return False
        if _jumps(step) and step.argval not in places:
            return False
    return _stack_holds(code, steps, places)


def _jumps(step: dis.Instruction) -> bool:
    return step.opcode in dis.hasjrel or step.opcode in dis.hasjabs


def _stack_holds(code: CodeType, steps: list[Any], places: dict[int, int]) -> bool:
    """Follows every way through the instructions, except into handlers of exceptions."""
    depths: dict[int, int] = {}
    waiting = [(0, 0)]
    while waiting:
        number, depth = waiting.pop()
        if number >= len(steps) or not 0 <= depth <= code.co_stacksize:
            return False
        if number in depths:
            if depths[number] != depth:
                return False
            continue
        depths[number] = depth
        step = steps[number]
        argument = step.arg if step.opcode >= dis.HAVE_ARGUMENT else None
        if step.opname == "RETURN_GENERATOR":  # Its caller resumes it with a value.
            waiting.append((number + 1, depth + 1))
            continue
        if _jumps(step):
            after = depth + dis.stack_effect(step.opcode, argument, jump=True)
            waiting.append((places[step.argval], after))
        if step.opname not in _ENDS:
            after = depth + dis.stack_effect(step.opcode, argument, jump=False)
            waiting.append((number + 1, after))
        elif depth < 1 and step.opname == "RETURN_VALUE":
            return False
    return True
