# SPDX-License-Identifier: BSD-2-Clause
"""Every function of the C library that oriel-fs uses is one whose system calls its filter lets through: check-syscalls.py
SOURCE_DIR ORIEL_FS. What a function calls is said here, as glibc has it; a function that is not here has to be thought of."""
import glob
import os
import re
import subprocess
import sys

source, program = sys.argv[1:]

# No system calls, or those that syscalls.c lets through for the C library itself (memory, threads, signals, clocks).
NONE = """
    __ctype_b_loc __ctype_toupper_loc __cxa_finalize __errno_location __gmon_start__ __libc_start_main __tls_get_addr
    _ITM_deregisterTMCloneTable _ITM_registerTMCloneTable __stack_chk_fail _exit calloc clock_gettime close ferror fflush fprintf
    free getenv getopt_long getpid getrandom getrlimit malloc malloc_trim memchr memcmp memcpy memmove memset mmap munmap optarg optind
    printf __register_atfork pthread_atfork pthread_once pthread_cond_broadcast pthread_cond_destroy pthread_cond_init pthread_cond_clockwait pthread_cond_timedwait pthread_cond_wait pthread_condattr_destroy pthread_condattr_init pthread_condattr_setclock pthread_create pthread_join pthread_tryjoin_np
    pthread_mutex_destroy pthread_mutex_init pthread_mutex_lock pthread_mutex_timedlock pthread_mutex_trylock pthread_mutex_unlock pthread_self
    dirname pthread_rwlock_destroy pthread_rwlock_init pthread_rwlock_rdlock pthread_rwlock_unlock pthread_rwlock_wrlock pthread_sigmask
    puts read reallocarray sched_yield sigaction sigaddset sigdelset sigemptyset sigfillset signal sigprocmask snprintf stderr
    stdout strchr strcmp strcspn strdup strerror strlen strncmp strtol strtoul strtoull sysconf tdelete tdestroy tfind tsearch usleep
    vsnprintf write __libc_current_sigrtmax __libc_current_sigrtmin
"""
# What compilers make of others.
NONE += " bcmp dl_iterate_phdr fputc fputs fwrite putchar stpcpy strcat strcpy strncasecmp strrchr strnlen "
# Used only before the filter is set, or by the process that has none.
BEFORE = """
    asprintf bind capng_apply capng_clear capng_get_caps_process capng_have_capability capng_name_to_capability capng_update chdir chmod
    chroot closedir connect dirfd dprintf execvp fork getegid geteuid getgrnam kill lchown listen mount opendir pipe2 prctl readdir realpath
    seccomp_attr_set seccomp_init seccomp_load seccomp_release seccomp_rule_add seccomp_rule_add_array setgroups setresgid setresuid setrlimit mkdtemp rmdir signalfd socket umount2 unlink
    uname waitpid __isoc99_sscanf __isoc23_sscanf fopen fclose __isoc99_fscanf __isoc23_fscanf
"""
# Of what oriel-fs never offers: PAGEFAULT (src/backend/postcopy.c).
BEFORE += " ioctl "
# By the process that logs, too.
BEFORE += " access close_range dup2 fdopen fgets openlog syslog "
# By other names than their own.
CALLS = {
    "eventfd": "eventfd2", "fcntl": "FCNTL", "fstat": "newfstatat fstat", "fstatat": "newfstatat", "futimens": "utimensat", "lstat": "newfstatat", "open": "openat",
    "getdents": "getdents64", "pread": "pread64", "preadv64v2": "preadv2", "pwritev64v2": "pwritev2", "qsort": "sysinfo", "renameat2": "renameat renameat2",
    "syscall": "preadv2 io_setup io_submit io_getevents io_destroy openat2 capget capset setgroups",
}


def names(text):
    return set(text.split())


allowed = set()
for path in [path for folder in ("src", "program", "seccomp", "daemon", "devices/fs")
             for path in glob.glob(os.path.join(source, folder, "**", "*.c"), recursive=True)]:
    with open(path) as file:
        text = file.read()
        allowed |= {"FCNTL"} & set(re.findall("SYSCALL_(FCNTL)", text))
        allowed |= set(re.findall(r"\bSYSCALL(?:_\w+)?\((\w+)", text))

listing = subprocess.run(["nm", "-D", "--undefined-only", program], capture_output=True, text=True, check=True).stdout
wrong = 0
for line in listing.splitlines():
    name = line.split()[-1].split("@")[0]
    # With 64 bits for offsets and times, as always here.
    name = name[:-2] if name.endswith("64") and not name.startswith("_") else name
    if name in names(NONE) | names(BEFORE):
        continue
    for call in CALLS.get(name, name).split():
        if call not in allowed:
            print(f"{name}(): no file of oriel-fs names the system call {call} (USES_SYSCALLS), or this script does not know it")
            wrong += 1
print(f"{len(listing.splitlines())} functions, {wrong} of them wrong")
sys.exit(1 if wrong or not allowed else 0)
