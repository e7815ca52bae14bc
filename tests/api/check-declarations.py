# SPDX-License-Identifier: BSD-2-Clause
"""The header for generators of bindings, read by Python's cffi: check-declarations.py HEADER LIBRARY ROOT BUILD COMPILER...

Each struct has the size that the C compiler gives it, and a back-end in Python serves a driver in Python. Exits with 77
where there is no cffi."""
import os
import re
import select
import socket
import subprocess
import sys
import tempfile
import threading

try:
    import cffi
except ImportError:
    print("there is no cffi (Debian: python3-cffi)")
    sys.exit(77)

header, library, root, build, *compiler = sys.argv[1:]
with open(header, encoding="utf-8") as file:
    text = file.read()
ffi = cffi.FFI()
ffi.cdef(text)
oriel = ffi.dlopen(os.path.abspath(library))


def check_sizes():
    structs = sorted(set(re.findall(r"^struct (\w+) \{", text, re.M)))
    assert len(structs) > 20, structs
    includes = "".join(f"#include <oriel/{name}>\n" for name in sorted(os.listdir(os.path.join(root, "include", "oriel")))
                       if name.endswith(".h"))
    lines = "".join(f'        printf("{name} %zu\\n", sizeof(struct {name}));\n' for name in structs)
    with tempfile.TemporaryDirectory() as folder:
        program = os.path.join(folder, "sizes")
        with open(program + ".c", "w", encoding="utf-8") as source:
            source.write(f"{includes}#include <stdio.h>\n#include <sys/uio.h>\nint main(void)\n{{\n{lines}        return 0;\n}}\n")
        subprocess.run([*compiler, "-D_GNU_SOURCE", f"-I{root}/include", f"-I{build}/include", "-o", program, program + ".c"],
                       check=True)
        for line in subprocess.run([program], check=True, capture_output=True, text=True).stdout.splitlines():
            name, size = line.split()
            assert ffi.sizeof(f"struct {name}") == int(size), (name, ffi.sizeof(f"struct {name}"), size)
    return len(structs)


def serve(backend):
    while oriel.oriel_backend_get_fd(backend) >= 0:
        select.select([oriel.oriel_backend_get_fd(backend)], [], [])
        oriel.oriel_backend_dispatch(backend)


def check_session():
    started = []

    @ffi.callback("int(void *, struct oriel_backend_queue *)")
    def start(_, queue):
        started.append(oriel.oriel_backend_queue_index(queue))
        return 0

    @ffi.callback("void(void *, struct oriel_backend_queue *)")
    def stop(_, queue):
        started.remove(oriel.oriel_backend_queue_index(queue))

    ops = ffi.new("struct oriel_backend_ops *", {"struct_size": ffi.sizeof("struct oriel_backend_ops"), "start": start, "stop": stop})
    options = ffi.new("struct oriel_backend_options *",
                      {"struct_size": ffi.sizeof("struct oriel_backend_options"), "ops": ops, "device_features": 1 << 32, "queues": 2})
    backend, driver = ffi.new("struct oriel_backend **"), ffi.new("struct oriel_driver **")
    assert oriel.oriel_backend_new(options, backend) == 0
    ours, theirs = socket.socketpair()
    assert oriel.oriel_backend_attach(backend[0], ours.detach()) == 0
    thread = threading.Thread(target=serve, args=[backend[0]])
    thread.start()
    options = ffi.new("struct oriel_driver_options *", {"struct_size": ffi.sizeof("struct oriel_driver_options"), "queues": 2})
    assert oriel.oriel_driver_new(options, theirs.detach(), driver) == 0
    assert sorted(started) == [0, 1] and oriel.oriel_driver_queue_count(driver[0]) == 2
    oriel.oriel_driver_free(driver[0])
    thread.join()
    assert not started
    oriel.oriel_backend_free(backend[0])
    assert ffi.string(oriel.oriel_error_text(-121)).decode() == "the other end refused the request"


print(check_sizes(), "structs")
check_session()
