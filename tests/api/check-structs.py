# SPDX-License-Identifier: BSD-2-Clause
"""Programs of an earlier and of a later version, with this library: check-structs.py LIBRARY COMPILER PROGRAM HEADER...

The headers are changed in a copy: each struct that may grow is cut down to what its first release needs, or has a field more.
Every other visible struct has to be in the list of those that can't grow."""
import errno
import os
import re
import subprocess
import sys
import tempfile

library, compiler, program, *headers = sys.argv[1:]

# The first field that a program of the first release may do without, or that came later; None: there is none. Never to
# be changed: programs that were built with so short a struct are out there.
CUT = {
    "oriel_backend_ops": "set_features",
    "oriel_backend_options": "shmem_sizes",
    "oriel_driver_options": "log",
    "oriel_frontend_ops": "mapped",
    "oriel_frontend_options": "ops",
    "oriel_log": "userdata",
    "oriel_mapping_info": "fd_offset",
    "oriel_placement_ops": "removed",
    "oriel_region_options": "userdata",
    "oriel_ring": "log_used",
    "oriel_worker_options": "quick_us",
}
# They say in the header why they can't change; the rows of tables are made by the library alone.
FIXED = {"oriel_range", "oriel_memory_region", "oriel_fault", "oriel_buffer", "oriel_bounds"}
ROWS = {"oriel_message_row", "oriel_dialect"}
failures = 0


def expect(true, text):
    global failures
    if not true:
        print(text)
        failures += 1


def texts():
    return {os.path.basename(header): open(header).read() for header in headers}


def structs(text):
    return re.findall(r"^struct (\w+) \{\n(.*?)^\};", text, re.M | re.S)


def check_all_listed():
    found = {name: body for text in texts().values() for name, body in structs(text)}
    sized = {name for name, body in found.items() if body.lstrip().startswith("size_t struct_size;")}
    others = {name for name in found if not name.startswith("oriel_wire_")} - sized
    expect(sized == set(CUT), f"not in the test, or without a struct_size: {sorted(sized ^ set(CUT))}")
    expect(others == FIXED | ROWS, f"neither a struct_size nor in the list of what can't grow: {sorted(others ^ FIXED ^ ROWS)}")


def cut(name, body):
    """Without the field and all that follows, and without the macros that speak of them."""
    lines = body.splitlines(keepends=True)
    at = next(i for i, line in enumerate(lines) if re.search(rf"\b{CUT[name]}\b\)?[;(]", line) and not line.lstrip().startswith("/*"))
    return re.sub(r"/\*(?!.*\*/).*\Z", "", "".join(lines[:at]), flags=re.S)


def grow(_name, body):
    return body + "        uint64_t later;\n"


def write_headers(folder, change):
    os.makedirs(os.path.join(folder, "oriel"))
    for header, text in texts().items():
        for name, body in structs(text):
            if CUT.get(name):
                text = text.replace(f"struct {name} {{\n{body}}};", f"struct {name} {{\n{change(name, body)}}};")
            elif name in CUT and change is grow:
                text = text.replace(f"struct {name} {{\n{body}}};", f"struct {name} {{\n{grow(name, body)}}};")
        with open(os.path.join(folder, "oriel", header), "w") as file:
            file.write(text.replace("#include <stddef.h>", "#include <stddef.h>\n#include <stdint.h>"))


def run(change, *flags):
    """The rows that the program prints: name, size, results."""
    with tempfile.TemporaryDirectory() as folder:
        write_headers(folder, change)
        whole = open(library, "rb").read()
        flags += ("-fsanitize=address",) if b"__asan_init" in whole else ()
        flags += ("-fsanitize=thread",) if b"__tsan_init" in whole else ()
        command = [compiler, "-D_GNU_SOURCE", "-Wall", "-Werror", "-g", *flags, "-I", folder, program, library, "-pthread"]
        subprocess.run([*command, f"-Wl,-rpath,{os.path.dirname(os.path.abspath(library))}", "-o", f"{folder}/program"], check=True)
        done = subprocess.run([f"{folder}/program"], capture_output=True, text=True, timeout=120)
        expect(done.returncode == 0, f"the program ended with {done.returncode}: {done.stdout}{done.stderr}")
        lines = [line.split() for line in re.findall(r"^oriel_\w+(?: -?\d+){6}$", done.stdout, re.M)]
        return {line[0]: [int(number) for number in line[1:]] for line in lines}


check_all_listed()
shorter, longer = run(cut), run(grow, "-DGROWN")
invalid = [-errno.EINVAL] * 3
for name in sorted(CUT):
    print(name, shorter.get(name), longer.get(name))
    unknown = 0 if name == "oriel_mapping_info" else -errno.E2BIG
    expect(name in shorter and shorter[name][1:] == [0, 0, *invalid], f"{name}, an earlier version's: not taken as it should")
    expect(name in longer and longer[name][1:] == [0, unknown, *invalid], f"{name}, a later version's: not taken as it should")
    expect(name in shorter and name in longer and shorter[name][0] == longer[name][0],
           f"{name}: its least size is not that of the struct cut before {CUT[name]}, or has padding in it")
print(f"{failures} failures")
sys.exit(1 if failures else 0)
