# SPDX-License-Identifier: BSD-2-Clause
"""The library's system calls, in docs/library.md: update-syscalls.py [--write] SOURCE-ROOT PAGE LAYER...

The first two tables are the rows that files have beside their code (USES_SYSCALLS, src/base/syscalls.h); the third is what
no row has, from the functions of the C library that each layer's archive uses. A function that is not in CALLS or NONE
below is an error: it has to be thought of."""
import difflib
import glob
import os
import re
import subprocess
import sys

BEGIN, END = "<!-- system calls: begin -->\n", "<!-- system calls: end -->\n"

# Functions of the C library that make a system call of another name, or several.
CALLS = {
    "close": "", "epoll_wait": "epoll_wait", "eventfd": "eventfd2", "fcntl": "fcntl", "fopen": "openat", "fclose": "", "fgets": "read", "fscanf": "read",
    "fstat": "fstat", "fstatat": "newfstatat", "getline": "read", "getrlimit": "", "lstat": "newfstatat", "nanosleep": "clock_nanosleep",
    "open": "openat", "pread": "pread64", "preadv64v2": "preadv2", "preadv2": "preadv2", "pwrite": "pwrite64", "qsort": "sysinfo",
    "setrlimit": "prlimit64", "usleep": "clock_nanosleep", "uname": "uname",
}
SAME = """accept4 bind connect epoll_create1 epoll_ctl ftruncate getrandom getsockopt ioctl listen madvise memfd_create mprotect
    mremap munmap poll recvmsg sched_yield sendmsg shutdown socket socketpair statx timer_create timerfd_create
    timerfd_settime timer_delete timer_settime unlink fstatfs mkdir rmdir setsockopt fallocate read write dup dup2 pipe2"""
CALLS.update({name: name for name in SAME.split()})
# No system call, or only those of the C library's own table: memory, threads, signals, clocks.
NONE = set("""abort bcmp calloc clock_gettime free getenv getpagesize getpid malloc memchr memcmp memcpy memmove memset mmap
    posix_memalign qsort_r raise realloc reallocarray sigaction sigaddset sigdelset sigemptyset sigfillset signal snprintf sprintf
    sscanf stpcpy strchr strcmp strcpy strcspn strdup strerror strlen strncmp strrchr strstr strtol strtoul strtoull sysconf
    tdelete tdestroy tfind tsearch twalk twalk_r vsnprintf feof ferror strnlen strspn strtok_r bsearch strcasecmp""".split())


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def without_comments(text):
    return re.sub(r"/\*.*?\*/", "", text, flags=re.S)


def rows_in(text):
    """(call, condition) of each row."""
    for macro, arguments in re.findall(r"\b(SYSCALL(?:_\w+)?)\(?((?<=\()[^()]*(?:\([^()]*\)[^()]*)*)?", without_comments(text)):
        if macro in ("SYSCALL_ROWS", "SYSCALL_OWN_PID"):
            continue
        parts = [part.strip() for part in arguments.split(",")]
        if macro == "SYSCALL_FCNTL":
            yield "fcntl", parts[0]
        elif macro == "SYSCALL_SET_FLAGS":
            yield "fcntl", "F_SETFL without O_ASYNC"
        elif macro in ("SYSCALL_AT", "SYSCALL_BETWEEN"):
            yield parts[0], "on a descriptor, not AT_FDCWD"
        elif macro == "SYSCALL_WITH":
            yield parts[0], condition(parts)
        else:
            yield parts[0], ""


def condition(parts):
    name, place, bits, value = parts[:4]
    if bits == "PROT_EXEC" and value == "0":
        return "without PROT_EXEC"
    if (name, bits) == ("clone", "CLONE_THREAD"):
        return "with CLONE_THREAD"
    return "on this process" if value in ("0", "SYSCALL_OWN_PID") else f"argument {place} is {value}"


def collect(rows):
    """{call: conditions}; a row without a condition allows all."""
    calls = {}
    for call, only in rows:
        calls.setdefault(call, []).append(only)
    return {call: "" if "" in found else ", ".join(sorted(set(found))) for call, found in calls.items()}


def blocks(text):
    """The rows that a file declares, without the macros' definitions."""
    return " ".join(re.findall(r"^(?:USES_SYSCALLS\(|SYSCALL_ROWS \w+\[\] = \{|static const struct syscall_row own_threads).*?;$",
                               without_comments(text), re.M | re.S))


def print_rows(calls, files=None):
    lines = ["| call | only | named in |", "| --- | --- | --- |"] if files else ["| call | only |", "| --- | --- |"]
    for call in sorted(calls):
        lines.append(f"| `{call}` | {calls[call]} |" + (f" {files[call]} |" if files else ""))
    return "\n".join(lines)


def own_rows(root):
    rows, files = [], {}
    for path in sorted(glob.glob(os.path.join(root, "src", "**", "*.c"), recursive=True)):
        for row in rows_in(blocks(read(path))):
            rows.append(row)
            files.setdefault(row[0], []).append(os.path.relpath(path, os.path.join(root, "src")))
    return collect(rows), {call: ", ".join(f"`{path}`" for path in dict.fromkeys(paths)) for call, paths in files.items()}


def raw_calls(root, layer):
    text = "".join(read(path) for path in sorted(glob.glob(os.path.join(root, "src", layer, "*.c"))) if "/test-" not in path)
    return re.findall(r"\bsyscall\((?:SYS|__NR)_(\w+)", text), re.findall(r"\bioctl\([^,;]+, (\w+)", text)


def used_by(root, archive, wrong):
    """The system calls that a layer's archive makes, by the functions that it uses and has not itself."""
    layer = re.search(r"liboriel_(\w+)\.a$", archive).group(1)
    listing = subprocess.run(["nm", "--undefined-only", archive], capture_output=True, text=True, check=True).stdout
    named, requests = raw_calls(root, layer)
    calls = set(named)
    for name in set(re.findall(r"^\s+U (\w+)$", listing, re.M)) - DEFINED:
        plain = re.sub(r"^__isoc\d+_", "", name[:-2] if name.endswith("64") and name != "preadv64v2" else name)
        if plain == "ioctl":
            calls |= {f"ioctl ({request})" for request in requests}
        elif plain in CALLS:
            calls |= set(CALLS[plain].split())
        elif not (plain in NONE or plain == "syscall" or plain.startswith(("pthread_", "__", "_"))):
            wrong.append(f"{layer}: {name}(): CALLS or NONE of update-syscalls.py have to name it")
    return layer, calls


def print_others(root, archives, known, wrong):
    lines = ["| layer | system calls |", "| --- | --- |"]
    for archive in archives:
        layer, calls = used_by(root, archive, wrong)
        others = sorted(call for call in calls if call not in known)
        if others:
            lines.append(f"| `src/{layer}/` | " + ", ".join(f"`{call}`" for call in others) + " |")
    return "\n".join(lines)


write = "--write" in sys.argv
root, page, *archives = [argument for argument in sys.argv[1:] if argument != "--write"]
DEFINED = set(re.findall(r"^[0-9a-f]+ [A-Z] (\w+)$", subprocess.run(["nm", "--defined-only", *archives], capture_output=True,
                                                                       text=True, check=True).stdout, re.M))
wrong = []
own, files = own_rows(root)
library = collect(row for path in ("daemon/daemon.c", "seccomp/filter.c") for row in rows_in(blocks(read(os.path.join(root, path)))))
generated = "\n\n".join(["Of a back-end that serves:", print_rows(own, files), "Of the C library and of threads:",
                         print_rows({call: only for call, only in library.items() if call not in own}),
                         "Of the rest, which no row names:", print_others(root, archives, set(own) | set(library), wrong)])
if wrong:
    sys.exit("\n".join(wrong))

text = read(page)
if text.count(BEGIN) != 1 or text.count(END) != 1:
    sys.exit(f"{page}: one line {BEGIN.strip()} and one line {END.strip()} are needed")
before, rest = text.split(BEGIN)
old, after = rest.split(END)
new = f"\n{generated}\n\n"
if write and old != new:
    with open(page, "w", encoding="utf-8") as file:
        file.write(before + BEGIN + new + END + after)
    print(f"{page}: the system calls were updated")
elif old != new:
    sys.stdout.writelines(difflib.unified_diff(old.splitlines(True), new.splitlines(True), "library.md", "the code"))
    sys.exit(f"{page} differs from the code's rows: run ninja -C build update-syscalls")
else:
    print(f"{len(own)} calls in rows, {len(library)} of the C library")
