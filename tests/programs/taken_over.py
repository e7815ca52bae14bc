# SPDX-License-Identifier: BSD-2-Clause
"""A process that somebody has taken over: system calls that are made in it, by its main thread, with its filter, rights
and descriptors (ptrace(2), x86-64)."""
import ctypes
import errno
import os
import platform
import signal
import struct

AVAILABLE = platform.machine() == "x86_64" and os.geteuid() == 0

PTRACE_CONT, PTRACE_SINGLESTEP, PTRACE_GETREGS, PTRACE_SETREGS, PTRACE_DETACH = 7, 9, 12, 13, 17
PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207
WALL = 0x40000000
# struct user_regs_struct
REGISTERS = ("r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base ds es fs "
             "gs").split()
ARGUMENTS = "rdi rsi rdx r10 r8 r9".split()
NUMBERS = {
    "mmap": 9, "mprotect": 10, "ioctl": 16, "getpid": 39, "socket": 41, "connect": 42, "sendto": 44, "sendmsg": 46, "bind": 49,
    "socketpair": 53, "clone": 56, "fork": 57, "execve": 59, "kill": 62, "fcntl": 72, "rename": 82, "unlink": 87, "ptrace": 101,
    "setuid": 105, "capset": 126, "chroot": 161, "mount": 165, "init_module": 175, "tkill": 200, "tgkill": 234, "openat": 257,
    "mknodat": 259, "unlinkat": 263, "unshare": 272, "prlimit64": 302, "setns": 308, "process_vm_readv": 310, "memfd_create": 319,
    "bpf": 321, "execveat": 322, "userfaultfd": 323, "pkey_mprotect": 329, "io_uring_setup": 425, "open_tree": 428,
    "pidfd_open": 434, "clone3": 435, "openat2": 437, "pidfd_getfd": 438, "fchmodat2": 452,
}
SYSCALL = b"\x0f\x05"
KILLED = "killed"

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.restype = ctypes.c_long
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def ptrace(request, pid, data=None):
    if libc.ptrace(request, pid, None, data) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class TakenOver:
    """Until the with block ends. The process is taken over where it has just made a system call, or waits in one."""

    def __init__(self, pid):
        self.pid = pid
        self.dead = False

    def __enter__(self):
        ptrace(PTRACE_SEIZE, self.pid)
        while True:
            ptrace(PTRACE_INTERRUPT, self.pid)
            self.wait()
            self.before = self.get_registers()
            if self.read(self.before["rip"] - len(SYSCALL), len(SYSCALL)) == SYSCALL:
                return self
            ptrace(PTRACE_CONT, self.pid)

    def __exit__(self, *_):
        if not self.dead:
            self.set_registers(self.before)
            ptrace(PTRACE_DETACH, self.pid)

    def wait(self):
        status = os.waitpid(self.pid, WALL)[1]
        self.dead = not os.WIFSTOPPED(status)
        return status

    def get_registers(self):
        data = ctypes.create_string_buffer(8 * len(REGISTERS))
        ptrace(PTRACE_GETREGS, self.pid, ctypes.addressof(data))
        return dict(zip(REGISTERS, struct.unpack(f"<{len(REGISTERS)}Q", data.raw)))

    def set_registers(self, registers):
        data = ctypes.create_string_buffer(struct.pack(f"<{len(REGISTERS)}Q", *(registers[name] for name in REGISTERS)))
        ptrace(PTRACE_SETREGS, self.pid, ctypes.addressof(data))

    def read(self, at, size):
        with open(f"/proc/{self.pid}/mem", "rb", buffering=0) as memory:
            memory.seek(at)
            return memory.read(size)

    def place(self, data, at):
        with open(f"/proc/{self.pid}/mem", "r+b", buffering=0) as memory:
            memory.seek(at)
            memory.write(data)
        return at

    def call(self, name, *arguments):
        """Its result, or the name of its error, or KILLED. Strings and bytes are put below the stack."""
        at = self.before["rsp"] - 64 * 1024
        registers = dict(self.before, orig_rax=2**64 - 1, rax=NUMBERS[name], rip=self.before["rip"] - len(SYSCALL))
        for register, argument in zip(ARGUMENTS, arguments):
            if isinstance(argument, str):
                argument = argument.encode() + b"\0"
            if isinstance(argument, bytes):
                self.place(argument, at)
                argument, at = at, at + len(argument) + 16
            registers[register] = argument % 2**64
        self.set_registers(registers)
        ptrace(PTRACE_SINGLESTEP, self.pid)
        status = self.wait()
        if self.dead:
            return KILLED if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGSYS else f"status {status}"
        result = ctypes.c_int64(self.get_registers()["rax"]).value
        return errno.errorcode.get(-result, result) if -4096 < result < 0 else result
