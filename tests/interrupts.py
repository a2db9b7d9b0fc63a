"""Ctrl-C at any moment: KeyboardInterrupt raised where the interpreter looks for signals.

CPython handles them when a function is entered, after a call into C, and on a jump backward: at each of these places in the
code of this package an interrupt may come.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ACTORS = str(Path(__file__).parent.parent / "actors")
LOOKS = {"RESUME", "CALL", "CALL_FUNCTION_EX", "JUMP_BACKWARD"}


class Interrupts:
    """In the `call`-th call, from 0, the `place`-th look for signals in actors/ finds one.

    Attributes:
        reached: whether there were so many calls.
        came: whether there were so many looks in it.
        where: the line at which it came.
    """

    def __init__(self, call: int, place: int) -> None:
        self._calls_left, self._left = call, place
        self.reached = False
        self.came = False
        self.where = ""
        self._before: dict[FrameType, int] = {}
        self._looks: dict[CodeType, set[int]] = {}

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call `function`; raises KeyboardInterrupt if its time has come."""
        self._calls_left -= 1
        if self._calls_left != -1:
            return function(*args, **kwargs)
        self.reached = True
        sys.settrace(self._enter)
        try:
            return function(*args, **kwargs)
        finally:
            sys.settrace(None)

    def _enter(self, frame: FrameType, event: str, _: Any) -> Any:
        if self.came or not frame.f_code.co_filename.startswith(ACTORS):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        self._before[frame] = -1
        return self._step

    def _step(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "opcode" and not self.came:
            before, self._before[frame] = self._before[frame], frame.f_lasti
            if before in self._places(frame.f_code):
                self._left -= 1
                if self._left < 0:
                    self.came = True
                    self.where = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
                    raise KeyboardInterrupt
        return self._step

    def _places(self, code: CodeType) -> set[int]:
        if code not in self._looks:
            self._looks[code] = {i.offset for i in dis.get_instructions(code) if i.opname in LOOKS}
        return self._looks[code]


def everywhere(story: Callable[[Interrupts], None], stride: int = 1) -> int:
    """Tell `story` with an interrupt at every `stride`-th look of every call that it makes; how often that was."""
    told = 0
    for call in count():
        for place in count(call % stride, stride):
            interrupts = Interrupts(call, place)
            try:
                story(interrupts)
            except Exception as error:
                error.add_note(f"interrupted in call {call}, look {place}: {interrupts.where}")
                raise
            told += interrupts.came
            if not interrupts.came:
                break
        if not interrupts.reached:
            return told
    raise AssertionError("no end of calls")
