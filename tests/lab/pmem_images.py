# SPDX-License-Identifier: BSD-2-Clause
"""Disk images for the tests of oriel-pmem, and what is in them."""
import hashlib
import os
import subprocess

TOOLS = {**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}


def run(*args):
    return subprocess.run([str(arg) for arg in args], capture_output=True, check=True, env=TOOLS).stdout


def make_ext4(path, folder, size):
    """With what is in @folder."""
    with open(path, "wb") as file:
        file.truncate(size)
    run("mkfs.ext4", "-q", "-b", 4096, "-d", folder, path)


def make_erofs(path, folder):
    run("mkfs.erofs", path, folder)


def replay(image, to):
    """A copy as it is mounted after a crash: its journal is replayed, and nothing else may be wrong."""
    run("cp", "--sparse=always", image, to)
    result = subprocess.run(["e2fsck", "-fy", to], capture_output=True, text=True, env=TOOLS, check=False)
    if result.returncode not in (0, 1):
        raise AssertionError(result.stdout + result.stderr)
    return to


def read_file(image, name):
    """Of an ext4 image; b"" where there is none."""
    return run("debugfs", "-R", f"cat /{name}", image)


def sum_of(image, name):
    return hashlib.sha256(read_file(image, name)).hexdigest()
