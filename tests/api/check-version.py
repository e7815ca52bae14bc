# SPDX-License-Identifier: BSD-2-Clause
"""All programs say one version, with the commit that they were built of: check-version.py SOURCE VERSION COMMIT.C PROGRAM...

The version is a semantic one, which NEWS.md tells of, and the Debian package has."""
import os
import re
import subprocess
import sys

source, version, commit_source, *programs = sys.argv[1:]


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def check_commit(commit):
    """Where git knows, it is one of the tree's commits; else it may be unknown."""
    git = ["git", "-C", source, "cat-file", "-e"]
    if os.path.exists(f"{source}/.git") and subprocess.run([*git, "HEAD"], capture_output=True).returncode == 0:
        assert re.fullmatch("[0-9a-f]{12}(, modified)?", commit), f"a checkout, and the commit is '{commit}'"
        output(*git, commit[:12] + "^{commit}")


assert re.fullmatch(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)", version), f"{version} is no semantic version"
heads = re.findall(r"^## (.*)$", read(f"{source}/NEWS.md"), re.M)
assert version in heads[:2] and set(heads[:heads.index(version)]) <= {"Not released yet"}, f"NEWS.md is about {heads[:2]}"
packaged = re.match(r"oriel \((.*)-\d+\)", read(f"{source}/debian/changelog")).group(1)
assert packaged == version, f"debian/changelog is about {packaged}"
commit = re.search(r'options_commit\[\] = "(.*)"', read(commit_source)).group(1)
check_commit(commit)
expected = f"{version} ({commit})" if commit else version
commands = re.findall(r"^  (\w+) ", output(programs[0], "--help"), re.M)
assert commands, "oriel --help names no command"
for command in [[program] for program in programs] + [[programs[0], name] for name in commands]:
    said, name = output(*command, "--version"), " ".join([os.path.basename(command[0]), *command[1:]])
    assert said == f"{name} {expected}\n", f"{name}: '{said}', and not {expected}"
print(f"{len(programs)} programs and {len(commands)} commands: {expected}")
