# SPDX-License-Identifier: BSD-2-Clause
"""Compare the tables of docs/protocol.md with what generate-tables prints, or, with --write, put them there."""
import difflib
import subprocess
import sys

BEGIN, END = "<!-- tables: begin -->\n", "<!-- tables: end -->\n"

write = "--write" in sys.argv
generator, path = [argument for argument in sys.argv[1:] if argument != "--write"]
generated = subprocess.run([generator], capture_output=True, text=True, check=True).stdout
text = open(path, encoding="utf-8").read()
if text.count(BEGIN) != 1 or text.count(END) != 1:
    sys.exit(f"{path}: one line {BEGIN.strip()} and one line {END.strip()} are needed")
before, rest = text.split(BEGIN)
old, after = rest.split(END)
new = f"\n{generated}\n"

if write and old != new:
    open(path, "w", encoding="utf-8").write(before + BEGIN + new + END + after)
    print(f"{path}: the tables were updated")
elif old != new:
    sys.stdout.writelines(difflib.unified_diff(old.splitlines(True), new.splitlines(True), "protocol.md", "the code"))
    sys.exit(f"{path} differs from the code's tables: run ninja -C build update-tables")
else:
    print(f"{len(old.splitlines())} lines, as the code has them")
