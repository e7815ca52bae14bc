# SPDX-License-Identifier: BSD-2-Clause
"""The two examples against each other, and `oriel probe` against the back-end."""
import json
import os
import subprocess
import sys
import tempfile
import time

backend, frontend, oriel = sys.argv[1:]
TEXT = "seen through the window\n"


def is_listened_on(path):
    """A socket has its name for a moment before it listens."""
    with open("/proc/net/unix") as sockets:
        rows = [line.split() for line in sockets]
    return any(row[3] == "00010000" and row[7:] == [path] for row in rows)


def serve(folder):
    path = os.path.join(folder, "socket")
    process = subprocess.Popen([backend, path, os.path.join(folder, "file")])
    end = time.monotonic() + 60
    while not is_listened_on(path) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    return process, path


def run(folder, *command):
    process, path = serve(folder)
    try:
        result = subprocess.run([*command, path], capture_output=True, text=True, timeout=30)
        status = process.wait(timeout=30)
    finally:
        process.kill()
    os.unlink(path)
    assert result.returncode == 0, result
    assert status == 0, f"the back-end ended with {status}"
    return result.stdout


with tempfile.TemporaryDirectory() as folder:
    with open(os.path.join(folder, "file"), "w") as file:
        file.write(TEXT)
    assert run(folder, frontend) == TEXT
    found = json.loads(run(folder, oriel, "probe", "--json"))
    assert found["shmem"] == [{"shmid": 0, "size": 2 << 20}], found
    print("ok")
