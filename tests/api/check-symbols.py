# SPDX-License-Identifier: BSD-2-Clause
"""The functions that the public headers declare, those that the map names, and those seen in the shared library are the
same; and all can be linked: check-symbols.py LIBRARY MAP COMPILER HEADER..."""
import os
import re
import subprocess
import sys
import tempfile

library, version_map, compiler, *headers = sys.argv[1:]


def declared():
    names = set()
    for header in headers:
        text = re.sub(r"/\*.*?\*/", "", open(header).read(), flags=re.S)
        text = re.sub(r"^#.*$", "", text, flags=re.M)
        # Function pointers in ops tables are (*name): only names before a bracket at the start of a declaration count.
        names |= set(re.findall(r"^[a-z][\w\s\*]*?\b(oriel_\w+)\(", text, flags=re.M))
    return names


def mapped():
    """Each name with its version. What is not a plain name, as a pattern, is none that a header declares."""
    text = re.sub(r"/\*.*?\*/", "", open(version_map).read(), flags=re.S)
    return {name: version for version, body in re.findall(r"(\w[\w.]*)\s*\{(.*?)\}", text, flags=re.S)
            for name in re.findall(r"[^\s;]+(?=;)", body.split("local:")[0].replace("global:", ""))}


def exported():
    """Each name with its version."""
    out = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True).stdout
    names = [line.split()[-1] for line in out.splitlines() if line.split()[1] in "TDRB"]
    return dict(name.replace("@@", "@").split("@", 1) if "@" in name else (name, "") for name in names)


def links(names):
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "all.c")
        with open(source, "w") as file:
            file.writelines(f"#include <oriel/{os.path.basename(header)}>\n" for header in headers)
            file.write("void *const all[] = {\n")
            file.writelines(f"        (void *){name},\n" for name in sorted(names))
            file.write("};\nint main(void) { return all[0] == 0; }\n")
        folders = [f"-I{os.path.dirname(os.path.dirname(header))}" for header in headers]
        flags = ["-fsanitize=address"] if b"__asan_init" in open(library, "rb").read() else []
        flags += ["-fsanitize=thread"] if b"__tsan_init" in open(library, "rb").read() else []
        return subprocess.run([compiler, *folders, source, library, *flags, "-o", os.path.join(folder, "all")]).returncode == 0


want, names, have = declared(), mapped(), exported()
print(f"{len(want)} functions declared, {len(names)} in the map, {len(have)} symbols seen")
wrong = [f"declared, but not in {version_map}: {name}" for name in want - set(names)]
wrong += [f"in {version_map}, but not declared: {name}" for name in set(names) - want]
wrong += [f"declared, but not in the library: {name}" for name in want - set(have)]
wrong += [f"in the library, but not declared: {name}" for name in set(have) - want]
wrong += [f"of {have[name]} in the library, of {names[name]} in {version_map}: {name}" for name in set(names) & set(have)
          if names[name] != have[name]]
print("\n".join(sorted(wrong)))
sys.exit(0 if want and not wrong and links(want) else 1)
