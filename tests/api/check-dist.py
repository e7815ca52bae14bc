# SPDX-License-Identifier: BSD-2-Clause
"""`make dist` of one commit is the same everywhere, and whole: check-dist.py SOURCE.

Two clones in folders of other names, with other settings of git, another umask, time zone, language and times of their files.
What comes out knows its commit, also inside another checkout."""
import os
import subprocess
import sys
import tarfile
import tempfile

SKIPPED = 77
ELSEWHERE = {"TZ": "Asia/Kathmandu", "LC_ALL": "C.UTF-8", "GIT_CONFIG_COUNT": "3", "GIT_CONFIG_KEY_0": "tar.umask",
             "GIT_CONFIG_VALUE_0": "0077", "GIT_CONFIG_KEY_1": "core.autocrlf", "GIT_CONFIG_VALUE_1": "true",
             "GIT_CONFIG_KEY_2": "core.abbrev", "GIT_CONFIG_VALUE_2": "30"}


def output(*command, **settings):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **settings).stdout.strip()


def make(source, clone, umask, environment):
    """The bytes of the tarball that a clone makes."""
    output("git", "clone", "-q", source, clone, umask=umask)
    for folder, _, names in os.walk(clone):
        for name in names:
            os.utime(os.path.join(folder, name), (umask * 10**6, umask * 10**6), follow_symlinks=False)
    # With make's own variables, it would want to share the jobs of the make that runs this test.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    path = output("make", "-s", "-C", clone, "dist", env=kept | environment, umask=umask).splitlines()[-1]
    with open(os.path.join(clone, path), "rb") as file:
        return os.path.join(clone, path), file.read()


def check(source, scratch):
    one, first = make(source, f"{scratch}/one", 0o022, {})
    _, second = make(source, f"{scratch}/two/deeper", 0o077, ELSEWHERE)
    assert first == second, "the same commit made two different tarballs"

    with tarfile.open(one) as tarball:
        members = tarball.getmembers()
        top = members[0].name
        tarball.extractall(f"{scratch}/one")
    plain = [member for member in members if not member.issym()]
    assert {(member.uid, member.gid, member.mode & 0o022) for member in plain} == {(0, 0, 0)}, "owners and modes"
    tracked = output("git", "-C", f"{scratch}/one", "ls-files").splitlines()
    files = sorted(member.name.removeprefix(f"{top}/") for member in members if not member.isdir())
    assert files == sorted(tracked), f"not the tracked files: {set(files) ^ set(tracked)}"

    commit = output("git", "-C", f"{scratch}/one", "rev-parse", "HEAD")[:12]
    # In the first clone's folder: a checkout, whose commit another one need not have.
    output("git", "-C", f"{scratch}/one", "-c", "user.name=x", "-c", "user.email=x", "commit", "-q", "--allow-empty", "-m", "another")
    said = output(f"{scratch}/one/{top}/tools/commit")
    assert said == commit, f"of {commit} the tarball says: {said}"
    print(f"{top}: {len(files)} files, {len(first)} bytes, commit {commit}")


def main():
    source = sys.argv[1]
    listed = subprocess.run(["git", "-C", source, "rev-parse", "HEAD"], capture_output=True, text=True)
    if not os.path.exists(f"{source}/.git") or listed.returncode != 0:
        print("SKIP: not a checkout of git's, or somebody else's")
        return SKIPPED
    with tempfile.TemporaryDirectory() as scratch:
        check(source, scratch)
    return 0


sys.exit(main())
