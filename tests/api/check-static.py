# SPDX-License-Identifier: BSD-2-Clause
"""The static library shows what the shared one does, whatever names a program has of its own, and calls nothing that is a
program's: check-static.py LIBRARY MAP COMPILER PROGRAM PROGRAM-LIBRARY LAYER..."""
import os
import re
import subprocess
import sys
import tempfile

library, version_map, compiler, program, program_library, *layers = sys.argv[1:]

# An answer, a message or the end of the process is for the program to decide on.
FORBIDDEN = r"_?_?(?:exit|_exit|_Exit|quick_exit|abort|stdin|stdout|stderr|v?f?printf|f?puts|perror|v?errx?|v?warnx?|v?syslog|__assert_fail)(?:_chk)?"


def symbols(kind, *files):
    """Names; with "__" begins what a compiler's sanitizer adds."""
    out = subprocess.run(["nm", "-g", kind, *files], capture_output=True, text=True, check=True).stdout
    return {line.split()[-1] for line in out.splitlines() if re.match(r"[0-9a-f ]{16} \w ", line)}


def define(names, path):
    """All of these as a program's own functions."""
    with open(path, "w") as file:
        file.writelines(f"int {name}(void);\nint {name}(void)\n{{\n        return 1;\n}}\n" for name in sorted(names))


def run(names):
    whole = open(library, "rb").read()
    flags = ["-fsanitize=address,undefined"] if b"__asan_init" in whole else []
    flags += ["-fsanitize=thread"] if b"__tsan_init" in whole else []
    include = [f"-I{folder}/include" for folder in (os.path.join(os.path.dirname(version_map), ".."), os.path.dirname(library) or ".")]
    with tempfile.TemporaryDirectory() as folder:
        define(names, f"{folder}/names.c")
        command = [compiler, "-D_GNU_SOURCE", "-fno-builtin", "-g", *flags, *include, program, f"{folder}/names.c", library]
        subprocess.run([*command, "-pthread", "-o", f"{folder}/program"], check=True)
        return subprocess.run([f"{folder}/program"], timeout=120).returncode


want = set(re.findall(r"^\s+(oriel_\w+);", open(version_map).read(), re.M))
seen, needed = symbols("--defined-only", library), symbols("--undefined-only", library)
inner = {name for name in symbols("--defined-only", *layers) if not name.startswith(("oriel_", "__"))}
wrong = [f"hidden, or unknown to {version_map}: {name}" for name in want ^ {name for name in seen if not name.startswith("__")}]
wrong += [f"a program's business: {name}" for name in needed if re.fullmatch(FORBIDDEN, name)]
wrong += [f"of program/: {name}" for name in needed & symbols("--defined-only", program_library)]
print(f"{len(seen)} symbols seen, {len(inner)} names given to the program, {len(needed)} needed")
print("\n".join(sorted(wrong)))
sys.exit(0 if want and len(inner) > 100 and needed and not wrong and run(inner) == 0 else 1)
