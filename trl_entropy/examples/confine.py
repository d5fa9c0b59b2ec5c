"""What the system forbids a process that runs code nobody has read: files, processes, signals, sockets.

On Linux by Landlock, seccomp and resource limits, without privileges and inside a container; elsewhere by resource
limits alone. Standard library only: a bare interpreter imports this.
"""

import ctypes
import errno
import os
import platform
import resource
import signal
import sys
from collections.abc import Iterable


_LANDLOCK = (444, 445, 446)  # create_ruleset, add_rule, restrict_self: the same numbers on every machine
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}  # how many kinds of access a version of Landlock knows; 16 from version 5
_READ_FILE, _READ_FOLDER, _WRITE_FILE = 4, 8, 2
_SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo", "/etc/localtime", "/dev/urandom")
_CLONE3, _THREAD = 435, 0x10000
_MACHINES = {"x86_64": (0xC000003E, 56), "aarch64": (0xC00000B7, 220)}  # its name in the kernel, and its clone
_REFUSED = {  # system calls by their numbers on the two machines
    "fork": (57,), "vfork": (58,), "execve": (59, 221), "execveat": (322, 281), "setpgid": (109, 154),
    "setsid": (112, 157), "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "ptrace": (101, 117), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "prlimit64": (302, 261), "setpriority": (141, 140),
    "sched_setaffinity": (203, 122), "sched_setscheduler": (144, 119), "socket": (41, 198), "shmget": (29, 194),
    "semget": (64, 190), "msgget": (68, 186), "memfd_create": (319, 279), "unshare": (272, 97), "setns": (308, 268),
    "mount": (165, 40), "add_key": (248, 217), "keyctl": (250, 219), "bpf": (321, 280), "perf_event_open": (298, 241),
    "pidfd_send_signal": (424, 424), "io_uring_setup": (425, 425), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
}  # fmt: skip


def unavailable() -> str | None:
    """What of the confinement this system lacks, or `None`."""
    if sys.platform != "linux":
        return f"{sys.platform} has neither Landlock nor seccomp"
    if platform.machine() not in _MACHINES:
        return f"the system calls of {platform.machine()} are not listed"
    kernel = ctypes.CDLL(None)
    if kernel.syscall(_LANDLOCK[0], None, ctypes.c_size_t(0), 1) < 1:
        return "this kernel has no Landlock (Linux 5.13 has, where it is switched on)"
    return None if kernel.prctl(21, 0, 0, 0, 0) >= 0 else "this kernel has no seccomp"


def confine(seconds: float, megabytes: int) -> None:
    """Bind this process and its threads for good.

    Args:
        seconds: processor time.
        megabytes: address space; not enforced on macOS, which has no working limit.

    No file is written. On Linux nothing is read but the standard library and the working folder, `/proc` included; no
    process is started, signalled or traced, no program and no socket opened, and the parent's end is this one's.

    Raises:
        OSError: the system refuses.
    """
    limits = {resource.RLIMIT_CPU: int(seconds) + 1, resource.RLIMIT_NOFILE: 64}
    limits |= dict.fromkeys((resource.RLIMIT_FSIZE, resource.RLIMIT_CORE), 0)
    if sys.platform == "linux":
        limits[resource.RLIMIT_AS] = megabytes << 20
    for limit, value in limits.items():
        most = resource.getrlimit(limit)[1]
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(limit, (value, value))
    if unavailable() is None:
        kernel = ctypes.CDLL(None, use_errno=True)
        _done(kernel.prctl(1, signal.SIGKILL, 0, 0, 0))  # PR_SET_PDEATHSIG
        _done(kernel.prctl(38, 1, 0, 0, 0))  # PR_SET_NO_NEW_PRIVS, which the two below require
        _read_only(kernel, [*sys.path, *_SYSTEM, os.path.join(sys.base_prefix, "lib"), os.getcwd()])
        _refuse_calls(kernel)


def _read_only(kernel: ctypes.CDLL, paths: Iterable[str]) -> None:
    version = kernel.syscall(_LANDLOCK[0], None, ctypes.c_size_t(0), 1)
    # Files; from version 6, nothing else is connected or signalled either, in whatever roundabout way
    handled = (ctypes.c_uint64 * 3)((1 << _RIGHTS.get(version, 16)) - 1, 0, 3)
    rules = _done(kernel.syscall(_LANDLOCK[0], handled, ctypes.c_size_t(24 if version >= 6 else 8), 0))
    for path in filter(os.path.exists, (*paths, os.devnull)):
        allowed = _READ_FILE | (_READ_FOLDER if os.path.isdir(path) else 0)
        allowed |= _WRITE_FILE if path == os.devnull else 0
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
        rule = allowed.to_bytes(8, sys.byteorder) + parent.to_bytes(4, sys.byteorder)
        _done(kernel.syscall(_LANDLOCK[1], rules, 1, rule, 0))
        os.close(parent)
    _done(kernel.syscall(_LANDLOCK[2], rules, 0))
    os.close(rules)


def _refuse_calls(kernel: ctypes.CDLL) -> None:
    """A filter in the kernel's own code, (operation, jump if true, jump if false, number) an instruction."""
    architecture, clone = _MACHINES[platform.machine()]
    column = list(_MACHINES).index(platform.machine())
    load, equal, at_least, any_bit, end = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, kill, refuse, absent = 0x7FFF0000, 0x80000000, 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
    code = [(load, 0, 0, 4), (equal, 1, 0, architecture), (end, 0, 0, kill), (load, 0, 0, 0)]
    code += [(at_least, 0, 1, 0x40000000), (end, 0, 0, refuse)]  # the second table of x86's calls
    for numbers in _REFUSED.values():
        for number in numbers[column : column + 1]:
            code += [(equal, 0, 1, number), (end, 0, 0, refuse)]
    code += [(equal, 0, 1, _CLONE3), (end, 0, 0, absent)]  # the C library then uses clone, whose flags can be read
    code += [(equal, 0, 3, clone), (load, 0, 0, 16), (any_bit, 1, 0, _THREAD), (end, 0, 0, refuse), (end, 0, 0, allow)]

    class Instruction(ctypes.Structure):
        _fields_ = (("op", ctypes.c_ushort), ("yes", ctypes.c_ubyte), ("no", ctypes.c_ubyte), ("k", ctypes.c_uint))

    class Program(ctypes.Structure):
        _fields_ = (("size", ctypes.c_ushort), ("code", ctypes.c_void_p))

    instructions = (Instruction * len(code))(*(Instruction(*line) for line in code))
    program = Program(len(code), ctypes.addressof(instructions))
    _done(kernel.prctl(22, 2, ctypes.byref(program), 0, 0))  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER


def _done(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
