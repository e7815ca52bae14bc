# SPDX-License-Identifier: BSD-2-Clause
"""oriel-gpu as a process, with a driver in user space; Venus by the libvirglrenderer that is installed, without a GPU."""
import fcntl
import glob
import json
import os
import mmap
import re
import signal
import socket
import subprocess
import threading
import unittest

from harness import ORIEL, Case, main, numbered_film, run, wait_for
from limits import LAST_RESORT

ORIEL_GPU = os.environ["ORIEL_GPU"]
GPU_DRIVER = os.environ["GPU_DRIVER"]
WAYLAND_DRIVER = os.environ["WAYLAND_DRIVER"]
ORIEL_MEDIA = os.environ["ORIEL_MEDIA"]
OBJECTS_DRIVER = os.environ["OBJECTS_DRIVER"]
SANDBOX = os.environ.get("SANDBOX", "on")
VENUS = 4
SERVER = "/usr/libexec/virgl_render_server"


def why_no_venus():
    """What is missing for it here: None for nothing."""
    if not os.path.exists(SERVER):
        return "there is no virgl_render_server (package virgl-server)"
    if os.environ["HAS_VENUS"] != "on":
        return "built without libvirglrenderer"
    return None


def command_line(pid):
    try:
        with open(f"/proc/{pid}/cmdline") as file:
            return file.read().split("\0")
    except OSError:
        return []


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


def render_servers():
    """Of this process group: tests beside this one have theirs."""
    found = set()
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{name}/exe") == SERVER and os.getpgid(int(name)) == os.getpgrp():
                found.add(int(name))
        except OSError:
            pass
    return found


class Compositor:
    """What wayland-driver expects of one: it takes an image, and gives a file and a pipe. What it has seen is noted."""

    KEYMAP = b"xkb_keymap { }"
    CLIPBOARD = b"clipboard" * 10000

    def __init__(self, path):
        self.seen = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            with client:
                client.settimeout(LAST_RESORT)
                self.serve(client)

    def serve(self, client):
        data, fds, *_ = socket.recv_fds(client, 100, 28)
        if not fds:
            return # the attempt that the daemon makes when it starts
        with mmap.mmap(fds[0], 0) as image:
            self.seen.append((data, bytes(set(image[:])), len(image)))
        keymap = os.memfd_create("keymap", os.MFD_ALLOW_SEALING)
        os.write(keymap, self.KEYMAP)
        fcntl.fcntl(keymap, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK)
        reader, writer = os.pipe()
        socket.send_fds(client, [b"keymap"], [keymap, writer])
        for fd in keymap, writer, *fds:
            os.close(fd)
        data, fds, *_ = socket.recv_fds(client, 100, 28)
        sender = threading.Thread(target=self.fill, args=(fds[0],), daemon=True)
        sender.start()
        with os.fdopen(reader, "rb") as file:
            self.seen.append((data, file.read() == self.CLIPBOARD))
        sender.join()

    def fill(self, fd):
        with os.fdopen(fd, "wb") as file:
            file.write(self.CLIPBOARD)

    def close(self):
        if self.listener.fileno() < 0:
            return
        # What waits in accept() is woken.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join(LAST_RESORT)
        self.listener.close()


class Gpu(Case):
    def start_gpu(self, *options, **kwargs):
        process = self.start(ORIEL_GPU, "--socket-path", self.socket, *options, **kwargs)
        # It says so when it is in its sandbox, with the filter on.
        self.assertEqual(process.stdout.readline(), f"waiting for a front-end on {self.socket}\n")
        return process

    def drive(self, blobs, size, capset=VENUS):
        return run(GPU_DRIVER, self.socket, capset, blobs, size)

    def check(self, made, mapped, blobs, size):
        """What the driver says: how many could be made, and how many mapped."""
        result = self.drive(blobs, size)
        found = re.search(r"^(\d+) made \(.*\), (\d+) mapped \((.*)\), all right$", result.stdout, re.M)
        self.assertTrue(found, result.stdout + result.stderr)
        self.assertEqual((int(found[1]), int(found[2])), (made, mapped), result.stdout)
        self.assertEqual(result.returncode, 0, result.stderr)
        return found[3]

    def test_conventions(self):
        said = json.loads(run(ORIEL_GPU, "--print-capabilities").stdout)
        features = ["render-node"] if glob.glob("/dev/dri/renderD*") else []
        self.assertEqual(said, {"type": "gpu", "features": features})
        with open(os.environ["GPU_DESCRIPTOR"]) as file:
            descriptor = json.load(file)
        self.assertEqual(descriptor["type"], said["type"])
        for wrong in ([], ["--socket-path=x", "--fd=3"], ["--socket-path=x", "--window=100"], ["--socket-path=x", "--window=0"],
                      ["--socket-path=x", "--outputs=17"], ["--socket-path=x", "--resolution=800"],
                      ["--socket-path=x", "--resolution=0x1"], ["--socket-path=x", "--resolution=4294967297x800"], ["--socket-path=x", "--venus=maybe"],
                      ["--socket-path=x", "--venus=off", "--render-node=/dev/dri/renderD128"], ["--socket-path=x", "more"]):
            result = run(ORIEL_GPU, *wrong)
            self.assertEqual(result.returncode, 2, wrong)
            self.assertIn("see oriel-gpu --help", result.stderr)

    def test_render_server_that_there_is_not(self):
        result = run(ORIEL_GPU, "--socket-path", self.socket, "--venus=on", "--render-server", self.path("none"))
        self.assertEqual(result.returncode, 1)
        self.assertIn("virgl-server", result.stderr)
        self.assertFalse(os.path.exists(self.socket))
        self.start_gpu("--render-server", self.path("none"))
        self.assertEqual(self.drive(1, 4096).returncode, 1)

    def test_without_a_renderer(self):
        """What a guest has then: blobs of its own memory, and no context."""
        process = self.start_gpu("--venus=off")
        result = self.drive(1, 4096)
        self.assertEqual((result.returncode, result.stdout), (1, ""), result.stderr)
        self.assertIn("Input/output error", result.stderr)
        probe = run(ORIEL, "probe", self.socket)
        self.assertEqual(probe.returncode, 0, probe.stderr)
        self.assertRegex(probe.stdout, r"(?m)^shared memory region: shmid 1, 4294967296 bytes$")
        self.assertEqual(self.end(process)[0], 0)

    def test_render_node(self):
        """Of several GPUs' nodes the render server sees one; as any user."""
        for wrong in self.path("none"), self.folder, __file__, "/dev/null":
            result = run(ORIEL_GPU, "--socket-path", self.socket, "--venus=on", "--render-node", wrong)
            self.assertEqual(result.returncode, 1, result.stderr)
            self.assertRegex(result.stderr, f"^oriel: --render-node: {re.escape(wrong)}: [^\n]*\n$")
        server, nodes, seen = self.path("server"), self.path("dri"), self.path("seen")
        with open(server, "w") as file:
            file.write(f"#!/bin/sh\nls {nodes} >{seen}-\nstat -c %t:%T {nodes}/* >>{seen}-\nmv {seen}- {seen}\n")
        os.chmod(server, 0o755)
        os.mkdir(nodes)
        for name in "renderD128", "renderD129":
            open(os.path.join(nodes, name), "w").close()
        # Devices, with no right to make any; the second one by its name under by-path.
        os.symlink(os.path.join(nodes, "renderD129"), self.path("by-path"))
        # A process of ThreadSanitizer has threads from the start, and so can't make a user namespace.
        for user in [[], ["--map-user=1000", "--map-group=1000"]][:2 if SANDBOX == "on" else 1]:
            gpu = self.start("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", f"echo there; "
                             f"mount --bind /dev/null {nodes}/renderD128 && mount --bind /dev/zero {nodes}/renderD129 && "
                             f"exec {'unshare --user ' + ' '.join(user) if user else ''} {ORIEL_GPU} --socket-path {self.socket} "
                             f"--venus=on --render-server {server} --render-node {self.path('by-path')}")
            if gpu.stdout.readline() != "there\n":
                self.skipTest("no user namespaces")
            wait_for(lambda: os.path.exists(seen), "the render server")
            with open(seen) as file:
                self.assertEqual(file.read(), "renderD129\n1:5\n")
            os.unlink(seen)
            self.end(gpu)
        node, bad = f"{nodes}/renderD129", self.path("bad")
        with open(bad, "w") as file:
            file.write("#!/no/such/interpreter\n")
        os.chmod(bad, 0o755)
        # Without root's rights, where there may be no user namespace more; and programs that can't be run.
        for before, render_server, words in [
                ("echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all --inh-caps=-all", server,
                 f"--render-node: no namespace with {node} alone: "),
                # A node that is not in a directory for nodes: the rest of that one would be hidden.
                (f"touch {self.folder}/renderD128 && mount --bind /dev/zero {self.folder}/renderD128 && node={self.folder}/renderD128"
                 " &&", server, f"--render-node: {self.folder}/renderD128: it is no render node"),
                ("exec", self.path("none"), f"the render server {self.path('none')}: No such file or directory "),
                ("exec", bad, f"the render server {bad}: Exec format error ")]:
            result = run("unshare", "--user", "--map-root-user", "--mount", "sh", "-c",
                         f"node={node}; mount --bind /dev/zero $node && {before} {ORIEL_GPU} --socket-path {self.socket} "
                         f"--render-node $node --render-server {render_server}")
            self.assertEqual(result.returncode, 1, result.stderr)
            self.assertRegex(result.stderr, f"^oriel: {words}[^\n]*\n$")

    def test_venus(self):
        if why := why_no_venus():
            self.skipTest(why)
        before = render_servers()
        process = self.start_gpu("--venus=on")
        for _ in range(2):
            self.check(500, 500, 500, 1 << 20)
        # The server is outside, and ends with what has started it.
        servers = render_servers() - before
        self.assertEqual(len(servers), 1)
        process.kill()
        process.wait(LAST_RESORT)
        wait_for(lambda: not servers & render_servers(), "the render server's end")

    def test_most_mappings(self):
        if why := why_no_venus():
            self.skipTest(why)
        self.start_gpu("--max-mappings=10")
        self.assertEqual(self.check(20, 10, 20, 4096), "Cannot allocate memory")

    def test_window(self):
        if why := why_no_venus():
            self.skipTest(why)
        self.start_gpu("--window=16K")
        self.assertEqual(self.check(5, 4, 5, 4096), "Invalid argument")

    def test_render_server_that_ends(self):
        """A context is refused then, in words, and the device goes on."""
        if why := why_no_venus():
            self.skipTest(why)
        before = render_servers()
        process = self.start_gpu()
        self.check(3, 3, 3, 4096)
        for server in render_servers() - before:
            os.kill(server, signal.SIGKILL)
        for _ in range(3):
            self.assertEqual(self.drive(3, 4096).returncode, 1)
        self.assertEqual(run(ORIEL, "probe", self.socket).returncode, 0)
        status, said = self.end(process)
        self.assertEqual(status, 0, said)
        self.assertIn("the render server", said)

    def test_driver_that_is_killed(self):
        if why := why_no_venus():
            self.skipTest(why)
        self.start_gpu()
        for _ in range(5):
            driver = self.start(GPU_DRIVER, self.socket, VENUS, "2000", "65536")
            self.assertTrue(driver.stdout.readline().startswith("capset 4"))
            driver.kill()
            driver.wait(LAST_RESORT)
        self.check(100, 100, 100, 4096)

    def test_conformance(self):
        wayland = ["--venus=off", "--wayland", self.start_compositor()[1]]
        for options in ["--venus=off"], wayland, [] if why_no_venus() else ["--venus=on"]:
            result = run(ORIEL, "conform", "--virtio-id=16", "backend", self.socket, "--", ORIEL_GPU,
                         "--socket-path", self.socket, *options)
            self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
            blobs = re.findall(r"(?m)^ok \d+ - gpu-[\w-]+( # SKIP)?", result.stdout)
            self.assertEqual(blobs, ["" if options == ["--venus=on"] else " # SKIP"] * 7)

    def start_compositor(self):
        path = self.path("wayland-0")
        compositor = Compositor(path)
        self.addCleanup(compositor.close)
        return compositor, path

    def check_wayland(self, compositor):
        compositor.seen.clear()
        result = run(WAYLAND_DRIVER, self.socket)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        size = len(Compositor.CLIPBOARD)
        self.assertEqual(result.stdout, "image of 16384, 256 a row\nreceived keymap, 1 and 4\n"
                         f"file of 14: {Compositor.KEYMAP.decode()}\ncopied {size}\nthe end: 0\n")
        self.assertEqual(compositor.seen, [(b"image", b"g", 16384), (b"pipe", True)])

    def test_wayland(self):
        """In each sandbox, with the filter of system calls; a compositor that starts again is found."""
        compositor, path = self.start_compositor()
        for mode in "namespace", "chroot", "none":
            if mode == "chroot" and os.geteuid() != 0 or mode != "none" and SANDBOX != "on":
                continue
            process = self.start_gpu("--venus=off", "--wayland", path, "--sandbox", mode)
            for _ in range(2):
                self.check_wayland(compositor)
            compositor.close()
            os.unlink(path)
            self.assertEqual(run(WAYLAND_DRIVER, self.socket).returncode, 1)
            compositor, path = self.start_compositor()
            self.check_wayland(compositor)
            status, said = self.end(process)
            self.assertEqual(status, 0, said)
            self.assertIn("cross-domain: the compositor: No such file or directory", said)

    def test_objects(self):
        """A camera draws into an image of the gpu's, which both have by its UUID."""
        camera, film = self.path("camera"), self.path("film")
        with open(film, "wb") as file:
            file.write(numbered_film())
        self.start_gpu("--venus=off", "--wayland", self.start_compositor()[1])
        self.start(ORIEL_MEDIA, "--socket-path", camera, "--objects", "--source", film, "--format=YUYV:64x48", "--fps=200").stdout.readline()
        for _ in range(2):
            result = run(OBJECTS_DRIVER, "gpu", self.socket, camera)
            self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "20 pictures are there\n", ""))

    def test_wayland_that_there_is_not(self):
        for path in self.path("none"), "x" * 200:
            result = run(ORIEL_GPU, "--socket-path", self.socket, "--wayland", path)
            self.assertEqual(result.returncode, 1)
            self.assertIn(f"--wayland: {path}: ", result.stderr)
            self.assertFalse(os.path.exists(self.socket))

    def test_wayland_broker_ends(self):
        """Nothing is left when the daemon has ended, however it did."""
        _, path = self.start_compositor()
        def brokers():
            return [pid for pid in filter(str.isdigit, os.listdir("/proc")) if path in command_line(pid)]
        process = self.start_gpu("--venus=off", "--wayland", path)
        self.assertGreaterEqual(len(brokers()), 2)
        process.kill()
        process.wait(LAST_RESORT)
        wait_for(lambda: not brokers(), "the broker's end")

    def test_once_and_signals(self):
        process = self.start_gpu("--once")
        self.assertEqual(run(ORIEL, "probe", self.socket).returncode, 0)
        self.assertEqual(process.wait(LAST_RESORT), 0)
        self.assertFalse(os.path.exists(self.socket))
        for number in signal.SIGTERM, signal.SIGINT, signal.SIGHUP:
            process = self.start_gpu()
            self.assertEqual(self.end(process, number), (0, ""))
            self.assertEqual([name for name in os.listdir(self.folder) if name.startswith("socket")], [])

    def test_sandbox(self):
        """Its root is empty, it has no capabilities, and a filter."""
        if SANDBOX != "on":
            self.skipTest("a sanitizer needs /proc")
        for mode in "namespace", "chroot", "none":
            if mode == "chroot" and os.geteuid() != 0:
                continue
            process = self.start_gpu("--sandbox", mode)
            served_by = (children(process.pid) or [process.pid])[0]
            with open(f"/proc/{served_by}/status") as file:
                found = dict(line.split(":\t", 1) for line in file.read().splitlines() if ":\t" in line)
            self.assertEqual((found["NoNewPrivs"], found["Seccomp"], int(found["CapPrm"], 16)), ("1", "2", 0), mode)
            if mode != "none":
                self.assertEqual(os.listdir(f"/proc/{served_by}/root/"), [], mode)
            if not why_no_venus():
                self.check(10, 10, 10, 4096)
            self.end(process)


if __name__ == "__main__":
    main()
