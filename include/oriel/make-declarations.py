# SPDX-License-Identifier: BSD-2-Clause
"""One header for generators of bindings that read C declarations and no preprocessor's language, such as Python's cffi:
make-declarations.py OUTPUT COMPILER... -- HEADER...

The compiler preprocesses the public headers; what is kept is what they declare, and the kernel's and the C library's structs
that these declarations contain. Attributes go, and macros that are plain numbers stay, as #define NAME NUMBER."""
import os
import re
import subprocess
import sys
import tempfile

# Structs of others that the headers have by value, by the files that define them.
FOREIGN = ("linux/vhost_types.h",)
# Where a C library has this one differs, and what it is does not.
IOVEC = "struct iovec {\n        void *iov_base;\n        size_t iov_len;\n};\n\n"
HEAD = """/* SPDX-License-Identifier: BSD-2-Clause */
/* What the headers of liboriel declare, without the preprocessor's language, for generators of bindings. Made from these
 * headers; C programs include oriel/NAME.h. */
"""


def preprocessed(compiler, headers):
    with tempfile.NamedTemporaryFile("w", suffix=".c") as source:
        source.write("".join(f'#include "{os.path.abspath(header)}"\n' for header in headers))
        source.flush()
        run = lambda *options: subprocess.run([*compiler, *options, source.name], check=True, stdout=subprocess.PIPE, text=True).stdout
        folder = os.path.dirname(os.path.dirname(os.path.abspath(headers[0])))
        built = os.path.dirname(os.path.dirname(os.path.abspath(headers[-1])))
        include = ["-I" + folder, "-I" + built]
        return run("-E", *include), run("-E", "-dM", *include)


def kept(text):
    """The lines of the public headers, and of FOREIGN's."""
    lines, keep = [], False
    for line in text.splitlines():
        marker = re.match(r'# \d+ "([^"]*)"', line)
        if marker:
            name = marker.group(1)
            keep = "/oriel/" in name and name.endswith(".h") or name.endswith(FOREIGN)
        elif keep and not line.startswith("#"):
            lines.append(line)
    return "\n".join(lines)


def without_attributes(text):
    # A generator lays structs out by the rules of C alone.
    assert not re.search(r"__attribute__\s*\(\([^)]*(packed|aligned)", text)
    text = re.sub(r"__attribute__\s*\(\(.*?\)\)\s*", "", text, flags=re.S)
    text = re.sub(r"\b__extension__\b\s*|_Static_assert\s*\([^;]*;", "", text)
    text = re.sub(r"\b__(u|s)(8|16|32|64)\b", lambda m: f"{'u' if m.group(1) == 'u' else ''}int{m.group(2)}_t", text)
    text = re.sub(r"\b__virtio(16|32|64)\b", r"uint\1_t", text)
    return re.sub(r"\n(\s*\n)+", "\n\n", text).strip() + "\n"


def numbers(macros):
    """Those of ours that are plain numbers. A suffix is the compiler's business."""
    found = re.findall(r"^#define (ORIEL_\w+) \(?(0x[0-9a-fA-F]+|\d+)[uUlL]*\)?$", macros, re.M)
    return "".join(f"#define {name} {value}\n" for name, value in sorted(found))


def main(output, *arguments):
    at = arguments.index("--")
    text, macros = preprocessed(list(arguments[:at]), list(arguments[at + 1:]))
    with open(output, "w", encoding="utf-8") as file:
        file.write(HEAD + "\n" + IOVEC + without_attributes(kept(text)) + "\n" + numbers(macros))


main(*sys.argv[1:])
