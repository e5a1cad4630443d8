"""The filter for hosts where no supervisor can run and the user allows owners to be lost: it answers 0, no more.

    chown                                   0, and nothing happens: all files are root's
    mknod of a device                       0, and no node is made; FIFOs and sockets are the kernel's as ever
    set*id, setgroups, capset               0: every process stays root

A program that looks whether it became another user sees that it did not (apt: -o APT::Sandbox::User=root). Where the
command is traced (tracing.py), the tracer answers the first two, and notes them.
"""

import os
import stat
import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from ..errors import OwnershipError
from .plan import CAUSE, Op, Step, failure

LOAD, AND, JUMP, JUMP_EQUAL, RETURN = 0x20, 0x54, 0x05, 0x15, 0x06  # BPF_LD|W|ABS, BPF_ALU|AND|K, BPF_JMP|JA, …|JEQ|K
ALLOW, ANSWER_ZERO, TRACE = 0x7FFF0000, 0x00050000, 0x7FF00000  # SECCOMP_RET_ALLOW, …_ERRNO with errno 0, …_TRACE
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
CHOWN, FCHOWN, FCHOWNAT, MKNOD, MKNODAT = range(5)  # what a call's arguments are; 16 bits wide or more


class Calls(NamedTuple):
    """audit: AUDIT_ARCH_*. owners, nodes: (number, kind). ids: numbers of calls that change a process's own."""

    audit: int
    owners: tuple[tuple[int, int], ...]
    nodes: tuple[tuple[int, int], ...]
    ids: tuple[int, ...]


# chown lchown fchown fchownat; mknod mknodat; set{u,g,reu,reg,resu,resg,fsu,fsg}id, setgroups, capset; i386 has those
# of 16 bits, too.
X86_64 = Calls(0xC000003E, ((92, CHOWN), (94, CHOWN), (93, FCHOWN), (260, FCHOWNAT)), ((133, MKNOD), (259, MKNODAT)),
               (105, 106, 113, 114, 117, 119, 122, 123, 116, 126))
I386 = Calls(0x40000003, ((182, CHOWN), (16, CHOWN), (95, FCHOWN), (212, CHOWN), (198, CHOWN), (207, FCHOWN),
                          (298, FCHOWNAT)), ((14, MKNOD), (297, MKNODAT)),
             (23, 46, 70, 71, 164, 170, 138, 139, 81, 213, 214, 203, 204, 208, 210, 215, 216, 206, 185))
AARCH64 = Calls(0xC00000B7, ((55, FCHOWN), (54, FCHOWNAT)), ((33, MKNODAT),),
                (146, 144, 145, 143, 147, 149, 151, 152, 159, 91))
MACHINES: Mapping[str, tuple[Calls, ...]] = MappingProxyType({"x86_64": (X86_64, I386), "aarch64": (AARCH64,)})


def call_of(audit: int, number: int) -> int:
    """Its kind. KeyError for a call that the filter lets pass."""
    [calls] = [calls for calls in (X86_64, I386, AARCH64) if calls.audit == audit]
    return dict((*calls.owners, *calls.nodes))[number]


def program(machine: str, *, traced: bool = False) -> bytes:
    """struct sock_filter, one after the other. KeyError for a machine whose calls we do not know."""
    code = [_line(LOAD, ARCHITECTURE)]
    lost = TRACE if traced else ANSWER_ZERO
    for calls in MACHINES[machine]:
        block = [_line(LOAD, NUMBER)]
        answers = (*((number, lost) for number, _ in calls.owners), *((number, ANSWER_ZERO) for number in calls.ids))
        for number, answer in answers:
            block += [_line(JUMP_EQUAL, number, 0, 1), _line(RETURN, answer)]
        for number, kind in calls.nodes:
            mode = 1 if kind == MKNOD else 2
            block += [_line(JUMP_EQUAL, number, 0, 6), _line(LOAD, ARGUMENTS + 8 * mode), _line(AND, 0o170000),
                      _line(JUMP_EQUAL, stat.S_IFCHR, 1, 0), _line(JUMP_EQUAL, stat.S_IFBLK, 0, 1),
                      _line(RETURN, lost), _line(LOAD, NUMBER)]
        block.append(_line(RETURN, ALLOW))
        code += [_line(JUMP_EQUAL, calls.audit, 1, 0), _line(JUMP, len(block)), *block]
    return b"".join([*code, _line(RETURN, ALLOW)])


def _line(code: int, value: int, if_so: int = 0, if_not: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_so, if_not, value)


def step(*, gated: bool = False) -> Step:
    """Filters the command's process and all it will start. Needs the user namespace's CAP_SYS_ADMIN.

    gated: what loses an owner stops for the tracer, if there is one: without one it would be "no such call".

    Errors: OwnershipError.
    """
    machine = os.uname().machine
    if machine not in MACHINES:
        raise OwnershipError(f"cannot pretend that owners are kept: the calls of {machine} are not known",
                             hint="use --userns=subuid, or --userns=host as root")
    if gated:
        return Step(op=Op.GATE, failures=(_REFUSED,))
    return Step(op=Op.FILTER, data=program(machine), failures=(_REFUSED,))


_REFUSED = failure(OwnershipError(f"cannot pretend that owners are kept: seccomp: {CAUSE}",
                                  hint="use --userns=subuid, or --userns=host as root"))
