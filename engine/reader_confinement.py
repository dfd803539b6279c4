"""Inside the reader process: what it takes from itself for good before it opens a hostile file.

Limits on memory, computing, file sizes and core dumps (setrlimit), and a seccomp filter without which a file that takes
the decoder over could talk to the network. Neither needs a privilege. The filter is Linux's own (seccomp(2)) and is
written out here for x86-64 and arm64; on other machines the reader has the limits, and FFmpeg and Pillow are opened
such that they use no protocol at all. What the filter does not take away: reading files that the server's user may
read. The answer is a few numbers and a picture or video, and the output is bounded.
"""

from __future__ import annotations

import ctypes
import errno
import math
import platform
import resource
import struct

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # classic BPF: ld abs, jeq, jge, ret
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050000 | errno.EPERM
_X32_CALLS = 0x40000000
# Architecture as the kernel's audit names it, and the numbers of the calls that are refused.
_MACHINES: dict[str, tuple[int, dict[str, int]]] = {
    "x86_64": (
        0xC000003E,
        dict(socket=41, connect=42, accept=43, sendto=44, recvfrom=45, sendmsg=46, recvmsg=47, bind=49, listen=50)
        | dict(socketpair=53, accept4=288, recvmmsg=299, sendmmsg=307, io_uring_setup=425, bpf=321)
        | dict(fork=57, vfork=58, execve=59, execveat=322, setpgid=109, setsid=112, unshare=272, setns=308, mount=165)
        | dict(kill=62, tkill=200, tgkill=234, rt_sigqueueinfo=129, rt_tgsigqueueinfo=297, pidfd_send_signal=424)
        | dict(ptrace=101, process_vm_readv=310, process_vm_writev=311, pidfd_open=434, pidfd_getfd=438)
        | dict(perf_event_open=298, userfaultfd=323, add_key=248, request_key=249, keyctl=250),
    ),
    "aarch64": (
        0xC00000B7,
        dict(socket=198, connect=203, accept=202, sendto=206, recvfrom=207, sendmsg=211, recvmsg=212, bind=200)
        | dict(listen=201, socketpair=199, accept4=242, recvmmsg=243, sendmmsg=269, io_uring_setup=425, bpf=280)
        | dict(execve=221, execveat=281, setpgid=154, setsid=157, unshare=97, setns=268, mount=40)
        | dict(kill=129, tkill=130, tgkill=131, rt_sigqueueinfo=138, rt_tgsigqueueinfo=240, pidfd_send_signal=424)
        | dict(ptrace=117, process_vm_readv=270, process_vm_writev=271, pidfd_open=434, pidfd_getfd=438)
        | dict(perf_event_open=241, userfaultfd=282, add_key=217, request_key=218, keyctl=219),
    ),
}


def accept_limits(memory_bytes: int, seconds: float, file_bytes: int) -> None:
    """No way back from these, not even for code that a file smuggled in."""
    computing = math.ceil(seconds)
    for kind, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, computing),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (limit, limit))


def leave_network() -> bool:
    """Have the kernel refuse (EPERM) sockets, other programs, signals and looks into other processes, for all threads
    that this one starts. False where the machine is not known or the kernel has no such filter."""
    known = _MACHINES.get(platform.machine())
    if known is None or struct.calcsize("P") != 8:
        return False
    program = _filter(known[0], sorted(known[1].values()))
    instructions = ctypes.create_string_buffer(program, len(program))
    described = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(instructions))
    control = ctypes.CDLL(None).prctl
    control.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong]
    if control(_PR_SET_NO_NEW_PRIVS, 1, None, 0, 0):
        return False
    pointer = ctypes.create_string_buffer(described, len(described))
    return bool(control(_PR_SET_SECCOMP, _MODE_FILTER, pointer, 0, 0) == 0)


def _filter(architecture: int, refused: list[int]) -> bytes:
    """The filter as classic BPF: calls of another architecture kill, those listed and the x32 form are refused."""
    lines = [
        (_LOAD, 0, 0, 4),  # seccomp_data.arch
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),  # seccomp_data.nr
        (_AT_LEAST, len(refused) + 1, 0, _X32_CALLS),
        *((_EQUAL, len(refused) - place, 0, number) for place, number in enumerate(refused)),  # to the last line
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
    return b"".join(struct.pack("HBBI", *line) for line in lines)
