"""A filter of system calls for the decoder, in classic BPF: no file is opened any more, nothing
is connected, executed, forked or looked into. See seccomp(2); Linux on x86-64 and ARM64."""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
import sys

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
"""Offsets in struct seccomp_data, little endian."""
_CLONE_THREAD = 0x10000
_X32_CALLS = 0x40000000
_CLONE3 = 435

_COMMON = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
    "pidfd_open": 434, "openat2": 437, "pidfd_getfd": 438,
}  # fmt: skip
_X86_64 = _COMMON | {
    "open": 2, "socket": 41, "connect": 42, "accept": 43, "sendto": 44, "sendmsg": 46,
    "bind": 49, "listen": 50, "socketpair": 53, "fork": 57, "vfork": 58, "execve": 59,
    "kill": 62, "truncate": 76, "rename": 82, "mkdir": 83, "rmdir": 84, "creat": 85,
    "link": 86, "unlink": 87, "symlink": 88, "chmod": 90, "chown": 92, "lchown": 94,
    "ptrace": 101, "setuid": 105, "mknod": 133, "pivot_root": 155, "setrlimit": 160,
    "chroot": 161, "mount": 165, "init_module": 175, "setxattr": 188, "add_key": 248,
    "request_key": 249, "keyctl": 250, "openat": 257, "mkdirat": 258, "mknodat": 259,
    "fchownat": 260, "unlinkat": 263, "renameat": 264, "linkat": 265, "symlinkat": 266,
    "fchmodat": 268, "unshare": 272, "accept4": 288, "perf_event_open": 298,
    "prlimit64": 302, "open_by_handle_at": 304, "sendmmsg": 307, "setns": 308,
    "process_vm_readv": 310, "process_vm_writev": 311, "finit_module": 313,
    "renameat2": 316, "memfd_create": 319, "bpf": 321, "execveat": 322, "userfaultfd": 323,
}  # fmt: skip
_ARM64 = _COMMON | {
    "setxattr": 5, "mknodat": 33, "mkdirat": 34, "unlinkat": 35, "symlinkat": 36,
    "linkat": 37, "renameat": 38, "mount": 40, "pivot_root": 41, "truncate": 45,
    "chroot": 51, "fchmodat": 53, "fchownat": 54, "openat": 56, "unshare": 97,
    "init_module": 105, "ptrace": 117, "kill": 129, "setuid": 146, "setrlimit": 164,
    "socket": 198, "socketpair": 199, "bind": 200, "listen": 201, "accept": 202,
    "connect": 203, "sendto": 206, "sendmsg": 211, "add_key": 217, "request_key": 218,
    "keyctl": 219, "execve": 221, "perf_event_open": 241, "accept4": 242, "prlimit64": 261,
    "open_by_handle_at": 265, "setns": 268, "sendmmsg": 269, "process_vm_readv": 270,
    "process_vm_writev": 271, "finit_module": 273, "renameat2": 276, "memfd_create": 279,
    "bpf": 280, "execveat": 281, "userfaultfd": 282,
}  # fmt: skip
_MACHINES = {"x86_64": (0xC000003E, 56, _X86_64), "aarch64": (0xC00000B7, 220, _ARM64)}
"""Audit architecture, number of clone, refused calls."""


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def refuse_calls() -> bool:
    """Installs the filter for this thread and those it starts, for good.

    Returns:
        False where there is none for this machine, or the kernel refuses it.
    """
    machine = platform.machine()
    if sys.platform != "linux" or machine not in _MACHINES:
        return False
    code = _filter(machine)
    program = _Program(len(code) // 8, code)
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    return bool(prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0) == 0)


def _filter(machine: str) -> bytes:
    architecture, clone, refused = _MACHINES[machine]
    no = _REFUSE | errno.EPERM
    code = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, no),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if machine == "x86_64":
        code += [(_AT_LEAST, 0, 1, _X32_CALLS), (_RETURN, 0, 0, no)]
    for number in refused.values():
        code += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, no)]
    code += [
        # The C library then falls back to clone, whose flags can be looked at.
        (_EQUAL, 0, 1, _CLONE3),
        (_RETURN, 0, 0, _REFUSE | errno.ENOSYS),
        (_EQUAL, 1, 0, clone),
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_ANY_BIT, 0, 1, _CLONE_THREAD),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, no),
    ]
    return b"".join(struct.pack("<HBBI", *step) for step in code)
