# SPDX-License-Identifier: BSD-2-Clause
"""tools/check-abi passes what a release may add, and refuses what would break a program: check-abi.py ROOT LIBRARY.

The dump of the library as it is, changed in one place, takes the last release's part: what is not in it was added."""
import lzma
import os
import re
import shutil
import subprocess
import sys
import tempfile

root, library = sys.argv[1:]
tool = os.path.join(root, "tools", "check-abi")


def without_function(name):
    return lambda text: re.sub(rf" *<elf-symbol name='{name}'.*\n", "", re.sub(rf" *<function-decl name='{name}'(?:.*\n)+? *</function-decl>\n", "", text))


def with_function(name, like):
    """One more, which is gone by now."""
    return lambda text: re.sub(rf"( *<elf-symbol name='){like}('.*\n)", rf"\g<0>\g<1>{name}\g<2>", re.sub(
        rf"( *<function-decl (?:.*\n)+? *</function-decl>\n)", lambda match: match.group(0) + (
            match.group(0).replace(like, name) if f"name='{like}'" in match.group(0) else ""), text))


def struct(name, change):
    return lambda text: re.sub(rf"<class-decl name='{name}' size-in-bits(?:.*\n)+?.*</class-decl>", lambda match: change(match.group(0)), text)


def without_member(name, size):
    return lambda body: re.sub(r"size-in-bits='\d+'", f"size-in-bits='{size}'", re.sub(
        rf" *<data-member [^\n]*\n[^\n]*name='{name}'[^\n]*\n *</data-member>\n", "", body), count=1)


def other_type(body):
    """The second member's for the first's."""
    types = re.findall(r"type-id='(\w+)'", body)
    return body.replace(f"type-id='{types[1]}'", f"type-id='{types[0]}'", 1)


CASES = {
    "nothing": (lambda text: text, True),
    "a function was added": (without_function("oriel_region_count"), True),
    "a struct has grown at its end": (struct("oriel_backend_options", without_member("max_mappings", 640)), True),
    "a function is gone": (with_function("oriel_region_old", "oriel_region_count"), False),
    "a function has another parameter": (lambda text: re.sub(
        r"(<function-decl name='oriel_window_new'.*\n *<parameter type-id=)'\w+'", r"\1'95e97e5e'", text), False),
    "a struct has a field in its middle": (struct("oriel_backend_options", without_member("userdata", 640)), False),
    "a struct has a field in its padding": (struct("oriel_driver_options", without_member("allow_remote_files", 640)), False),
    "a struct has padding in what was added": (struct("oriel_region_options", without_member("allow_remote_files", 384)), False),
    "a struct has a field of another type": (struct("oriel_region_options", other_type), False),
    "a struct without a size has grown": (struct("oriel_range", without_member("size", 64)), False),
    "a constant has another value": (lambda text: text.replace("name='ORIEL_HOLE_SINK' value='1'", "name='ORIEL_HOLE_SINK' value='2'"), False),
}


def run(*arguments):
    return subprocess.run([tool, *arguments], capture_output=True, text=True)


if not shutil.which("abidw"):
    print("SKIP: there is no abidw")
    sys.exit(77)
failures = 0
with tempfile.TemporaryDirectory() as folder:
    made = run("--update", library, f"{folder}/now.xz")
    assert made.returncode == 0, made.stderr
    now = lzma.open(f"{folder}/now.xz", "rt").read()
    assert "name='oriel_backend_options' size-in-bits" in now and "name='oriel_backend' size-in-bits" not in now
    for name, (change, passes) in CASES.items():
        before = change(now)
        with lzma.open(f"{folder}/before.xz", "wt") as file:
            file.write(before)
        result = run(library, f"{folder}/before.xz")
        good = (result.returncode == 0) == passes and (before != now) == (name != "nothing") and "Traceback" not in result.stderr
        failures += not good
        print("ok" if good else "FAIL", name, "" if good else (result.stdout + result.stderr)[-600:])
sys.exit(1 if failures else 0)
