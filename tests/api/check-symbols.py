# SPDX-License-Identifier: BSD-2-Clause
"""Every function that the public headers declare is in the shared library and can be linked, and nothing else is seen."""
import os
import re
import subprocess
import sys
import tempfile

library, compiler, headers = sys.argv[1], sys.argv[2], sys.argv[3:]


def declared():
    names = set()
    for header in headers:
        text = re.sub(r"/\*.*?\*/", "", open(header).read(), flags=re.S)
        text = re.sub(r"^#.*$", "", text, flags=re.M)
        # Function pointers in ops tables are (*name): only names before a bracket at the start of a declaration count.
        names |= set(re.findall(r"^[a-z][\w\s\*]*?\b(oriel_\w+)\(", text, flags=re.M))
    return names


def exported():
    out = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True).stdout
    return {line.split()[-1].split("@")[0] for line in out.splitlines() if line.split()[1] in "TDRB"}


def links(names):
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "all.c")
        with open(source, "w") as file:
            file.writelines(f"#include <oriel/{os.path.basename(header)}>\n" for header in headers)
            file.write("void *const all[] = {\n")
            file.writelines(f"        (void *){name},\n" for name in sorted(names))
            file.write("};\nint main(void) { return all[0] == 0; }\n")
        include = os.path.dirname(os.path.dirname(headers[0]))
        flags = ["-fsanitize=address"] if b"__asan_init" in open(library, "rb").read() else []
        flags += ["-fsanitize=thread"] if b"__tsan_init" in open(library, "rb").read() else []
        return subprocess.run([compiler, "-I", include, source, library, *flags, "-o", os.path.join(folder, "all")]).returncode == 0


want, have = declared(), exported() - {"ORIEL_0"}
print(f"{len(want)} functions declared, {len(have)} symbols seen")
for name in sorted(want - have):
    print(f"declared, but not in the library: {name}")
for name in sorted(have - want):
    print(f"in the library, but not declared: {name}")
sys.exit(0 if want and want == have and links(want) else 1)
