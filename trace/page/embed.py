# SPDX-License-Identifier: BSD-2-Clause
"""Make the two halves of the page, before and after the records, into C: embed.py PAGE.html OUT.c

A line of the page that is only "@NAME@" stands for the file NAME beside it, "@records@" for the records."""
import os
import re
import sys

page, out = sys.argv[1:]


def include(match):
    with open(os.path.join(os.path.dirname(page), match.group(1)), encoding="utf-8") as file:
        return file.read()


with open(page, encoding="utf-8") as file:
    text = re.sub(r"^@([\w.-]+\.\w+)@\n", include, file.read(), flags=re.M)
halves = text.split("@records@\n")
assert len(halves) == 2, "the page has one line @records@"

with open(out, "w", encoding="ascii") as file:
    for name, half in zip(("page_head", "page_foot"), halves):
        data = half.encode() + b"\0"
        file.write(f"extern const char {name}[];\nconst char {name}[] = {{\n")
        for at in range(0, len(data), 24):
            file.write(" ".join(f"'\\x{byte:02x}'," for byte in data[at:at + 24]) + "\n")
        file.write("};\n")
