#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The samples, built as a user of the installed library builds them, against each other:
test.py BUILD LIBRARY ORIEL GLIB COMPILER...

They are built of what is installed alone, with each kind of library that is. `oriel probe` is tried on one of them where there
is an ORIEL, glib.c where there is a with-glib."""
import contextlib
import glob
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time

build, library, oriel, with_glib, *compiler = sys.argv[1:]
PAGE = 4096
# Of another machine than this one, by what Meson interprets its programs with.
WRAPPER = shlex.split(os.environ.get("MESON_EXE_WRAPPER", ""))


def pkg_config(root, *arguments):
    """As on the machine that the library is installed on, but below @root."""
    paths = os.path.dirname(installed(root, "oriel.pc")[0])
    package = arguments[-1]
    environment = dict(os.environ, PKG_CONFIG_PATH=paths, PKG_CONFIG_SYSROOT_DIR=root if package == "oriel" else "")
    return subprocess.run(["pkg-config", *arguments], env=environment, capture_output=True, text=True, check=True).stdout.split()


def installed(root, name):
    return sorted(glob.glob(f"{root}/**/{name}", recursive=True))


def sanitizers():
    """What a program has to be built with besides: a library of a sanitizer's build needs its runtime."""
    whole = open(library, "rb").read()
    return ["-fsanitize=address,undefined"] * (b"__asan_init" in whole) + ["-fsanitize=thread"] * (b"__tsan_init" in whole)


def build_samples(root):
    """Each sample NAME as root/KIND/NAME, for each KIND of library that is installed: shared, and static where the C library
    can be that too."""
    subprocess.run(["meson", "install", "-C", build, "--no-rebuild", "--destdir", root], stdout=subprocess.DEVNULL, check=True)
    kinds = {"shared": installed(root, "liboriel.so"), "static": installed(root, "liboriel.a") and not sanitizers()}
    kinds = [kind for kind, is_there in kinds.items() if is_there]
    for kind in kinds:
        os.mkdir(os.path.join(root, kind))
        for source in installed(root, "samples/*.c"):
            build_sample(root, kind, source)
    return kinds


def build_sample(root, kind, source):
    name = os.path.basename(source)[:-2]
    if name == "glib" and (with_glib != "with-glib" or kind == "static"):
        return
    flags = pkg_config(root, *(["--static"] if kind == "static" else []), "--cflags", "--libs", "oriel")
    flags += ["-static"] if kind == "static" else [f"-Wl,-rpath,{flag[2:]}" for flag in flags if flag.startswith("-L")]
    flags += pkg_config(root, "--cflags", "--libs", "glib-2.0") if name == "glib" else []
    command = [*compiler, "-std=gnu17", "-Wall", "-Wextra", "-Werror", *sanitizers(), source]
    subprocess.run([*command, "-o", f"{root}/{kind}/{name}", *flags], check=True)


def is_listened_on(path):
    """A socket has its name for a moment before it listens."""
    with open("/proc/net/unix") as sockets:
        rows = [line.split() for line in sockets]
    return any(row[3] == "00010000" and row[7:] == [path] for row in rows)


@contextlib.contextmanager
def serve(root, kind, name, *arguments):
    """A back-end that waits on the socket, whose path is given, and has to end well with its front-end."""
    path = os.path.join(root, "socket")
    process = subprocess.Popen([*WRAPPER, f"{root}/{kind}/{name}", path, *arguments])
    try:
        end = time.monotonic() + 60
        while not is_listened_on(path) and process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        yield path
        status = process.wait(timeout=60)
        assert status == 0, f"{name} ended with {status}"
    finally:
        process.kill()
        process.wait()
    os.unlink(path)


def run(*command, **options):
    result = subprocess.run(command, capture_output=True, timeout=120, **options)
    assert result.returncode == 0, result
    return result.stdout


def run_sample(root, kind, name, *arguments, **options):
    return run(*WRAPPER, f"{root}/{kind}/{name}", *arguments, **options)


def try_file(root, kind):
    text = b"seen through the window\n"
    with open(f"{root}/file", "wb") as file:
        file.write(text)
    with serve(root, kind, "backend", f"{root}/file") as path:
        assert run_sample(root, kind, "frontend", path) == text
    if not os.path.exists(oriel):
        print("SKIP oriel probe: the library is built alone")
        return
    with serve(root, kind, "backend", f"{root}/file") as path:
        found = json.loads(run(oriel, "probe", "--json", path))
        assert found["shmem"] == [{"shmid": 0, "size": 2 << 20}], found


def try_echo(root, kind):
    """More than are on their way at once."""
    text = b"".join(b"line %d\n" % number for number in range(1000))
    with serve(root, kind, "echo") as path:
        assert run_sample(root, kind, "epoll", path, input=text) == text


def try_windows(root, kind):
    if not os.path.exists(f"{root}/shared/glib"):
        print("SKIP glib.c and windows.c: there is no glib-2.0")
        return
    pages = b"".join(bytes([number]) * PAGE for number in range(65, 65 + 57))
    with open(f"{root}/pages", "wb") as file:
        file.write(pages)
    with serve(root, kind, "windows", f"{root}/pages") as path:
        assert run_sample(root, "shared", "glib", path, "57") == pages


with tempfile.TemporaryDirectory() as root:
    kinds = build_samples(root)
    for kind in kinds:
        try_file(root, kind)
        try_echo(root, kind)
        try_windows(root, kind)
        print(f"ok {kind}")
    sys.exit(0 if kinds else 1)
