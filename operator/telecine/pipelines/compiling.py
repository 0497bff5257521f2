"""Whether a handler is Python. It is compiled, never executed, and not where the operator runs.

A compiler takes minutes and hundreds of MiB for some texts of less than one MiB, and lets no other
thread run meanwhile; so a process of its own does it, within limits.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import NamedTuple

SECONDS = 10
"""Of the processor, and twice that by the clock."""
MEMORY = 256 << 20
"""Bytes of address space."""

_PROGRAM = """
import json, resource, sys, warnings
seconds, memory, name = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
for what, most in (("CORE", 0), ("CPU", seconds), ("AS", memory)):
    resource.setrlimit(getattr(resource, "RLIMIT_" + what), (most, most))
warnings.simplefilter("ignore")
fault = None
try:
    compile(sys.stdin.buffer.read(), name, "exec", dont_inherit=True)
except SyntaxError as error:
    fault = (error.msg, error.lineno)
except MemoryError:
    fault = ("it is nested too deeply, or takes too much memory to compile", None)
except (ValueError, RecursionError, OverflowError) as error:
    fault = (str(error) or type(error).__name__, None)
print(json.dumps(fault))
"""


class Fault(NamedTuple):
    reason: str
    line: int | None
    """None: not of one line, as bytes in no encoding."""


def fault_of(code: bytes, name: str) -> Fault | None:
    """Why the bytes are no Python, or None."""
    line = [sys.executable, "-I", "-S", "-c", _PROGRAM, str(SECONDS), str(MEMORY), name]
    try:
        done = subprocess.run(line, input=code, capture_output=True, timeout=2 * SECONDS)
    except subprocess.TimeoutExpired:
        return _too_long()
    if done.returncode != 0:
        return _too_long()
    told = json.loads(done.stdout)
    return None if told is None else Fault(str(told[0]), told[1])


def _too_long() -> Fault:
    return Fault(
        f"it takes more than {SECONDS} s or {MEMORY >> 20} MiB to compile: move data out of it, "
        "or parts of it into modules",
        None,
    )
