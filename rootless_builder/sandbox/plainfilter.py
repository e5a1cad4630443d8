"""The filter for hosts where no supervisor can run and the user allows owners to be lost: it answers 0, no more.

    chown, set*id, setgroups, capset        0, and nothing happens: all files are root's, every process is root
    mknod of a device                       0, and no node is made; FIFOs and sockets are the kernel's as ever

A program that looks whether it became another user sees that it did not (apt: -o APT::Sandbox::User=root).
"""

import os
import stat
import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from ..errors import OwnershipError
from . import linux

LOAD, AND, JUMP, JUMP_EQUAL, RETURN = 0x20, 0x54, 0x05, 0x15, 0x06  # BPF_LD|W|ABS, BPF_ALU|AND|K, BPF_JMP|JA, …|JEQ|K
ALLOW, ANSWER_ZERO = 0x7FFF0000, 0x00050000  # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO with errno 0
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data


class Calls(NamedTuple):
    """audit: AUDIT_ARCH_*. zero: numbers answered 0. mknod: number → which argument is the mode."""

    audit: int
    zero: tuple[int, ...]
    mknod: tuple[tuple[int, int], ...]


# chown lchown fchown fchownat, set{u,g,reu,reg,resu,resg,fsu,fsg}id, setgroups, capset; i386 has those of 16 bits, too.
X86_64 = Calls(0xC000003E, (92, 94, 93, 260, 105, 106, 113, 114, 117, 119, 122, 123, 116, 126), ((133, 1), (259, 2)))
I386 = Calls(0x40000003, (182, 16, 95, 212, 198, 207, 298, 23, 46, 70, 71, 164, 170, 138, 139, 81, 213, 214, 203, 204,
                          208, 210, 215, 216, 206, 185), ((14, 1), (297, 2)))
AARCH64 = Calls(0xC00000B7, (55, 54, 146, 144, 145, 143, 147, 149, 151, 152, 159, 91), ((33, 2),))
MACHINES: Mapping[str, tuple[Calls, ...]] = MappingProxyType({"x86_64": (X86_64, I386), "aarch64": (AARCH64,)})


def program(machine: str) -> bytes:
    """struct sock_filter, one after the other. KeyError for a machine whose calls we do not know."""
    code = [_line(LOAD, ARCHITECTURE)]
    for calls in MACHINES[machine]:
        block = [_line(LOAD, NUMBER)]
        for number in calls.zero:
            block += [_line(JUMP_EQUAL, number, 0, 1), _line(RETURN, ANSWER_ZERO)]
        for number, argument in calls.mknod:
            block += [_line(JUMP_EQUAL, number, 0, 6), _line(LOAD, ARGUMENTS + 8 * argument), _line(AND, 0o170000),
                      _line(JUMP_EQUAL, stat.S_IFCHR, 1, 0), _line(JUMP_EQUAL, stat.S_IFBLK, 0, 1),
                      _line(RETURN, ANSWER_ZERO), _line(LOAD, NUMBER)]
        block.append(_line(RETURN, ALLOW))
        code += [_line(JUMP_EQUAL, calls.audit, 1, 0), _line(JUMP, len(block)), *block]
    return b"".join([*code, _line(RETURN, ALLOW)])


def _line(code: int, value: int, if_so: int = 0, if_not: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_so, if_not, value)


def install() -> None:
    """Filters the calling thread and all it will start. Needs the user namespace's CAP_SYS_ADMIN.

    Errors: OwnershipError.
    """
    machine = os.uname().machine
    try:
        linux.set_seccomp_filter(program(machine))
    except KeyError:
        raise OwnershipError(f"cannot pretend that owners are kept: the calls of {machine} are not known",
                             hint="use --userns=subuid, or --userns=host as root") from None
    except OSError as error:
        raise OwnershipError(f"cannot pretend that owners are kept: seccomp: {error.strerror}",
                             hint="use --userns=subuid, or --userns=host as root") from None
