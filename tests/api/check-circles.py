# SPDX-License-Identifier: BSD-2-Clause
"""tools/check-circles refuses files that call each other: check-circles.py SOURCE_DIR COMPILER... Small trees are
compiled for it."""
import json
import os
import subprocess
import sys
import tempfile

tool = os.path.join(sys.argv[1], "tools", "check-circles")
compiler = sys.argv[2:]

# What a tree has, and the files that are to be named as a circle: none where that is what is expected.
TREES = {
    "one way": (
        {
            "x/a.c": "int b(void); int a(void); int a(void) { return b(); }",
            "x/b.c": "int b(void); int b(void) { return 0; }",
        },
        [],
    ),
    "two": (
        {
            "x/a.c": "int b(void); int a(void); int a(void) { return b(); }",
            "x/b.c": "int a(void); int b(void); int b(void) { return a(); }",
            "x/c.c": "int a(void); int c(void); int c(void) { return a(); }",
        },
        ["x/a.c", "x/b.c"],
    ),
    "three, by way of a table": (
        {
            "x/a.c": "int b(void); int (*const all[])(void) = {b};",
            "y/b.c": "int c(void); int b(void); int b(void) { return c(); }",
            "z/c.c": "extern int (*const all[])(void); int c(void); int c(void) { return all[0](); }",
        },
        ["x/a.c", "y/b.c", "z/c.c"],
    ),
    "the same name in two programs": (
        {
            "x/a.c": "int b(void); int a(void); int a(void) { return b(); }",
            "x/b.c": "int b(void); int b(void) { return 0; }",
            "y/b.c": "int a(void); int b(void); int b(void) { return a(); }",
        },
        [],
    ),
    "of tests": (
        {
            "tests/a.c": "int b(void); int a(void); int a(void) { return b(); }",
            "tests/b.c": "int a(void); int b(void); int b(void) { return a(); }",
            "x/c.c": "int c;",
        },
        [],
    ),
    "nothing": ({}, None),
}


def plant(root, files):
    commands = []
    for path, text in files.items():
        target = os.path.join(os.path.dirname(path) + ".p", os.path.basename(path) + ".o")
        for name in (path, target):
            os.makedirs(os.path.join(root, os.path.dirname(name)), exist_ok=True)
        with open(os.path.join(root, path), "w", encoding="ascii") as file:
            file.write(text)
        subprocess.check_call([*compiler, "-O2", "-c", path, "-o", target], cwd=root)
        commands.append({"directory": root, "file": path, "output": target})
    with open(os.path.join(root, "compile_commands.json"), "w", encoding="ascii") as file:
        json.dump(commands, file)


failures = 0
for tree, (planted, circle) in TREES.items():
    with tempfile.TemporaryDirectory() as folder:
        plant(folder, planted)
        result = subprocess.run([sys.executable, tool, folder, folder], capture_output=True, text=True, check=False)
    told = [line.split()[4:] for line in result.stdout.splitlines() if line.startswith("they call each other:")]
    if result.returncode != (circle != []) or told != ([circle] if circle else []):
        print(f"{tree}: exit status {result.returncode}, {result.stdout}{result.stderr}")
        failures += 1
print(f"{len(TREES)} trees, {failures} of them taken for something else")
sys.exit(1 if failures else 0)
