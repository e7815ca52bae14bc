# SPDX-License-Identifier: BSD-2-Clause
"""The samples, built as a user of the installed library builds them, against each other: test.py BUILD COMPILER ORIEL.

`oriel probe` is tried on one of them too. glib.c is built where GLib is."""
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time

build, compiler, oriel = sys.argv[1:]
folder = os.path.dirname(os.path.abspath(__file__))
PAGE = 4096


def pkg_config(root, *arguments):
    """As on the machine that the library is installed on, but below @root."""
    paths = subprocess.run(["find", root, "-name", "oriel.pc", "-printf", "%h"], capture_output=True, text=True, check=True).stdout
    package = arguments[-1]
    environment = dict(os.environ, PKG_CONFIG_PATH=paths, PKG_CONFIG_SYSROOT_DIR=root if package == "oriel" else "")
    return subprocess.run(["pkg-config", *arguments], env=environment, capture_output=True, text=True, check=True).stdout.split()


def has_glib():
    return subprocess.run(["pkg-config", "--exists", "glib-2.0"]).returncode == 0


def build_samples(root):
    """Each sample NAME as root/NAME, with the shared library, and as root/static/NAME where the C library can be too."""
    subprocess.run(["meson", "install", "-C", build, "--no-rebuild", "--tags", "devel,runtime", "--destdir", root],
                   stdout=subprocess.DEVNULL, check=True)
    shared, static = pkg_config(root, "--cflags", "--libs", "oriel"), pkg_config(root, "--static", "--cflags", "--libs", "oriel")
    paths = [f"-Wl,-rpath,{flag[2:]}" for flag in shared if flag.startswith("-L")]
    whole = open(os.path.join(build, "liboriel.so"), "rb").read()
    sanitized = ["-fsanitize=address,undefined"] if b"__asan_init" in whole else []
    sanitized += ["-fsanitize=thread"] if b"__tsan_init" in whole else []
    names = sorted(name[:-2] for name in os.listdir(folder) if name.endswith(".c"))
    os.mkdir(os.path.join(root, "static"))
    for name in [name for name in names if name != "glib" or has_glib()]:
        other = pkg_config(root, "--cflags", "--libs", "glib-2.0") if name == "glib" else []
        command = [compiler, "-std=gnu17", "-Wall", "-Wextra", "-Werror", *sanitized, os.path.join(folder, f"{name}.c")]
        subprocess.run([*command, "-o", f"{root}/{name}", *shared, *paths, *other], check=True)
        if not sanitized and name != "glib":
            subprocess.run([*command, "-static", "-o", f"{root}/static/{name}", *static], check=True)
    return ["", "static/"] if not sanitized else [""]


def is_listened_on(path):
    """A socket has its name for a moment before it listens."""
    with open("/proc/net/unix") as sockets:
        rows = [line.split() for line in sockets]
    return any(row[3] == "00010000" and row[7:] == [path] for row in rows)


@contextlib.contextmanager
def serve(root, *command):
    """A back-end that waits on the socket, whose path is given, and has to end well with its front-end."""
    path = os.path.join(root, "socket")
    process = subprocess.Popen([f"{root}/{command[0]}", path, *command[1:]])
    try:
        end = time.monotonic() + 60
        while not is_listened_on(path) and process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        yield path
        status = process.wait(timeout=60)
        assert status == 0, f"{command[0]} ended with {status}"
    finally:
        process.kill()
        process.wait()
    os.unlink(path)


def run(*command, **options):
    result = subprocess.run(command, capture_output=True, timeout=120, **options)
    assert result.returncode == 0, result
    return result.stdout


def try_file(root, kind):
    text = b"seen through the window\n"
    with open(f"{root}/file", "wb") as file:
        file.write(text)
    with serve(root, f"{kind}backend", f"{root}/file") as path:
        assert run(f"{root}/{kind}frontend", path) == text
    with serve(root, f"{kind}backend", f"{root}/file") as path:
        found = json.loads(run(oriel, "probe", "--json", path))
        assert found["shmem"] == [{"shmid": 0, "size": 2 << 20}], found


def try_echo(root, kind):
    """More than are on their way at once."""
    text = b"".join(b"line %d\n" % number for number in range(1000))
    with serve(root, f"{kind}echo") as path:
        assert run(f"{root}/{kind}epoll", path, input=text) == text


def try_windows(root, kind):
    if not os.path.exists(f"{root}/glib"):
        print("SKIP glib.c and windows.c: there is no glib-2.0")
        return
    pages = b"".join(bytes([number]) * PAGE for number in range(65, 65 + 57))
    with open(f"{root}/pages", "wb") as file:
        file.write(pages)
    with serve(root, f"{kind}windows", f"{root}/pages") as path:
        assert run(f"{root}/glib", path, "57") == pages


with tempfile.TemporaryDirectory() as root:
    for kind in build_samples(root):
        try_file(root, kind)
        try_echo(root, kind)
        try_windows(root, kind)
        print(f"ok {kind}")
