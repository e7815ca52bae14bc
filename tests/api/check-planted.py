# SPDX-License-Identifier: BSD-2-Clause
"""tools/check-layers refuses a wrong include wherever it is: check-planted.py SOURCE_DIR. Each folder of the table gets
one of each kind of folder that it may not include, in a copy of the tree."""
import importlib.machinery
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile

source = sys.argv[1]
tool = os.path.join(source, "tools", "check-layers")


def load():
    loader = importlib.machinery.SourceFileLoader("check_layers", tool)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("check_layers", loader))
    loader.exec_module(module)
    return module


def check(root):
    result = subprocess.run([sys.executable, tool, root], capture_output=True, text=True, check=False)
    return result.returncode, result.stdout


layers = load()
failures = 0
planted = 0
with tempfile.TemporaryDirectory() as root:
    first = {}
    for path in layers.sources(source):
        os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
        shutil.copy(os.path.join(source, path), os.path.join(root, path))
        first.setdefault(layers.folder_of(path[len("src/"):] if path.startswith("src/") else path), path)
    if check(root)[0] != 0:
        sys.exit("the tree as it is is refused")
    if set(first) != set(layers.ALLOWED):
        sys.exit(f"folders without files, or files without a folder: {set(first) ^ set(layers.ALLOWED)}")
    for folder, path in first.items():
        refused = sorted(set(layers.ALLOWED) - set(layers.ALLOWED[folder]) - {folder}) + ["nowhere"]
        with open(os.path.join(root, path)) as file:
            before = file.read()
        with open(os.path.join(root, path), "a") as file:
            file.writelines(f'#include "{target}/planted.h"\n' for target in refused)
        status, said = check(root)
        missed = [target for target in refused if f"{folder} may not include {target}/planted.h" not in said]
        planted += len(refused)
        if status == 0 or missed:
            print(f"{path}: not refused: {missed}")
            failures += 1
        with open(os.path.join(root, path), "w") as file:
            file.write(before)
print(f"{planted} wrong includes in {len(first)} folders, {failures} folders let some pass")
sys.exit(1 if failures or not planted else 0)
