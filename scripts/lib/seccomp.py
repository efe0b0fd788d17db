"""seccomp.py COMMAND …: runs it as containers do that forbid io_uring: its three calls fail with EPERM."""

import ctypes
import os
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
# The same numbers on every machine: io_uring_setup, io_uring_enter, io_uring_register.
CALLS = (425, 426, 427)
# Of linux/bpf_common.h: load a word, jump where equal, return.
LOAD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, EPERM = 0x7FFF0000, 0x00050000 | 1


def forbid():
    """For this process and what it starts."""
    steps = [(LOAD, 0, 0, 0)]
    for index, call in enumerate(CALLS):
        # To the last step.
        steps.append((JUMP_EQUAL, len(CALLS) - index, 0, call))
    steps += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, EPERM)]
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    filter_of = struct.pack("HxxxxxxQ", len(steps), ctypes.addressof(program))
    libc = ctypes.CDLL(None, use_errno=True)
    for words in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filter_of, 0, 0)):
        if libc.prctl(*words):
            raise OSError(ctypes.get_errno(), f"prctl({words[0]})")


if __name__ == "__main__":
    forbid()
    os.execvp(sys.argv[1], sys.argv[1:])
