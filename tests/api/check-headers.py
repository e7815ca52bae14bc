# SPDX-License-Identifier: BSD-2-Clause
"""Each public header compiles alone, as C and as C++."""
import subprocess
import sys

include, headers = sys.argv[1], sys.argv[2:]
LANGUAGES = [["gcc", "-x", "c", "-std=c11"], ["clang", "-x", "c", "-std=c17"], ["g++", "-x", "c++", "-std=c++17"]]
failures = 0

for header in headers:
    for language in LANGUAGES:
        command = [*language, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", "-I", include, "-include", header]
        failures += subprocess.run([*command, "/dev/null"]).returncode != 0
print(f"{len(headers)} headers, {failures} failures")
sys.exit(1 if failures or not headers else 0)
