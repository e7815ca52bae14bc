# SPDX-License-Identifier: BSD-2-Clause
"""Peers that others wrote, run from the lab's chroot, and guests whose tests print TAP on their console.

What a guest prints is TAP, without numbers, and lines that begin with "host: ", which ask this side to do something and
are answered with one line. The scratch folder of a test is below the chroot, so that both sides have the same files: it
is removed after the test; the logs of all processes, the console's and the trace of every vhost-user message stay in
the folder "logs" beside the chroot.
"""
import fcntl
import glob
import hashlib
import json
import lzma
import os
import re
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import tty
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(HERE, "../programs"))
from harness import is_listened_on, wait_for  # noqa: E402
ROOT = os.path.join(os.path.abspath(os.environ["ORIEL_LAB"]), "root")
ORIEL = os.path.abspath(os.environ["ORIEL"])
ORIEL_FS = os.path.abspath(os.environ["ORIEL_FS"])
BUILD = os.path.abspath(os.environ["ORIEL_BUILD"])
PEERS = os.path.abspath(os.environ["ORIEL_PEERS"])
KEPT = os.path.join(os.path.abspath(os.environ["ORIEL_LAB"]), "logs")
SCRATCH = os.path.join(ROOT, "t")
# How many times as long as on a quiet machine a guest has for its tests.
BUSY = 3
# Static, for a guest's /bin.
EXERCISES = os.path.join(BUILD, "tests/exercise")
GUEST_PROGRAMS = {
    "exercise": os.path.join(PEERS, "exercise"),
    "share": os.path.join(PEERS, "share"),
    "exercise-posix": os.path.join(EXERCISES, "exercise-posix-static"),
    "exercise-fsx": os.path.join(EXERCISES, "exercise-fsx-static"),
}
GUEST_SCRIPTS = ["tap.sh", "exercise.sh", "files.sh", "lease.sh"]


def kernel():
    """The chroot's path of the newest Debian kernel there."""
    return "/boot/" + sorted(name for name in os.listdir(ROOT + "/boot") if name.startswith("vmlinuz-"))[-1]


def copy(source, to, mode=None):
    os.makedirs(os.path.dirname(to), exist_ok=True)
    shutil.copy(source, to)
    if mode:
        os.chmod(to, mode)


def in_lab(path):
    """A file of the chroot, its links followed there."""
    found = subprocess.run(["chroot", ROOT, "realpath", path], capture_output=True, text=True, check=True).stdout
    return ROOT + found.strip()


def libraries(program, *prefix):
    """The paths of a program's libraries and of their loader."""
    found = subprocess.run([*prefix, "ldd", program], capture_output=True, text=True, check=True).stdout
    return re.findall(r"/\S+", found)


def add_from_lab(tree, program):
    for path in [program] + libraries(program, "chroot", ROOT):
        copy(in_lab(path), tree + path)


def modules():
    """The folder of the kernel's modules there, and what each of them needs, by its path in it."""
    version = kernel().split("-", 1)[1]
    at = f"{ROOT}/usr/lib/modules/{version}/"
    with open(at + "modules.dep") as file:
        return at, dict(line.rstrip().split(":", 1) for line in file)


def has_module(name):
    """@name is a regular expression."""
    return any(re.search(f"/{name}\\.ko\\.xz$", path) for path in modules()[1])


def unpack_modules(folder, *names):
    """Modules of the kernel there and what they need, in the order in which they are to be loaded, unpacked to @folder."""
    at, needs = modules()
    paths = []
    for name in names:
        [found] = [path for path in needs if re.search(f"/{name}\\.ko\\.xz$", path)]
        paths += [path for path in reversed(needs[found].split()) if path not in paths] + [found]
    unpacked = []
    for path in paths:
        unpacked.append(os.path.join(folder, os.path.basename(path).removesuffix(".xz")))
        with lzma.open(at + path) as source, open(unpacked[-1], "wb") as out:
            shutil.copyfileobj(source, out)
    return unpacked


def made_at(path):
    """When a file was made there, or None."""
    return os.stat(path).st_ctime_ns if os.path.exists(path) else None


def tree_sum(folder):
    """One checksum for the names and contents of all regular files: what "sum.sh" computes in a guest."""
    lines = []
    for at, folders, names in os.walk(folder):
        for name in names:
            path = os.path.join(at, name)
            if not stat.S_ISREG(os.lstat(path).st_mode):
                continue
            with open(path, "rb") as file:
                lines.append(f"{hashlib.sha256(file.read()).hexdigest()}  ./{os.path.relpath(path, folder)}\n")
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


class Case(unittest.TestCase):
    """A scratch folder with a shared directory, and processes that are ended when the test is."""

    def setUp(self):
        os.makedirs(SCRATCH, exist_ok=True)
        self.folder = tempfile.mkdtemp(dir=SCRATCH)
        os.chmod(self.folder, 0o755)
        self.addCleanup(self.keep_or_remove)
        self.share = self.path("share")
        self.socket = self.path("socket")
        os.mkdir(self.share)
        self.processes = []

    def path(self, name):
        return os.path.join(self.folder, name)

    def inside(self, name):
        """The same as the chroot sees it."""
        return "/t/" + os.path.basename(self.folder) + "/" + name

    def keep_or_remove(self):
        kept = os.path.join(KEPT, ".".join(self.id().split(".")[-2:]))
        shutil.rmtree(kept, ignore_errors=True)
        os.makedirs(kept)
        for name in os.listdir(self.folder):
            if name.endswith((".log", ".trace", ".json")):
                shutil.copy(self.path(name), kept)
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- files of the share ----

    def write(self, name, data):
        path = os.path.join(self.share, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)

    def read(self, name):
        with open(os.path.join(self.share, name), "rb") as file:
            return file.read()

    def make_tree(self, folder, count):
        """Files of all the sizes that are near a page's or a range's end, and of many others."""
        interesting = [0, 1, 100, 4095, 4096, 4097, 8191, 8192, 10000, 12288, 65536, 65537]
        for i in range(count):
            size = interesting[i] if i < len(interesting) else (i * 7919) % 20000
            block = hashlib.sha256(f"{folder} {i}".encode()).digest()
            self.write(f"{folder}/{i % 20}/{i}", (block * (size // 32 + 1))[:size])

    def add_fio(self):
        """fio and its libraries, to be run from the share: exercise.sh does so where it finds them."""
        found = subprocess.run(["chroot", ROOT, "ldd", "/usr/bin/fio"], capture_output=True, text=True, check=True).stdout
        for path in ["/usr/bin/fio"] + re.findall(r"/\S+", found):
            to = self.share + "/fio" + path
            os.makedirs(os.path.dirname(to), exist_ok=True)
            shutil.copy(ROOT + os.path.realpath(ROOT + path)[len(os.path.realpath(ROOT)):], to)
        for name in "tmp", "dev", "data":
            os.mkdir(self.share + "/fio/" + name)

    def add_programs(self, folder, *programs):
        """This machine's, with their libraries, in a folder of the share to which a guest can change its root."""
        tree = os.path.join(self.share, folder)
        found = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=True).stdout
        for path in {*programs, *re.findall(r"/\S+[^:\s]", found)}:
            os.makedirs(os.path.dirname(tree + path), exist_ok=True)
            shutil.copy(path, tree + path)
        for name in "bin", "tmp", "dev", "proc", "sys", "data":
            os.makedirs(f"{tree}/{name}", exist_ok=True)

    def add_stress_ng(self):
        """stress() of files.sh runs it."""
        self.add_programs("stress-ng", "/usr/bin/stress-ng")

    def add_git(self):
        """And a repository, for clone() of files.sh."""
        self.add_programs("git", "/usr/bin/git", "/usr/lib/git-core/git-upload-pack")
        self.make_tree("repository", 100)
        for command in (["init", "-q"], ["add", "."], ["-c", "user.name=x", "-c", "user.email=x@y", "commit", "-q", "-m", "all"]):
            self.run_ok("git", "-C", self.share + "/repository", *command)

    # ---- processes ----

    def start(self, name, *args, **kwargs):
        """Run on this machine, in the scratch folder; what it prints is in NAME.log."""
        log = open(self.path(name + ".log"), "ab")
        kwargs = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, "cwd": self.folder, **kwargs}
        process = subprocess.Popen([str(a) for a in args], **kwargs)
        log.close()
        self.addCleanup(self.end, process)
        return process

    def start_in_lab(self, name, *args, **kwargs):
        return self.start(name, os.path.join(HERE, "enter"), ROOT, *args, **kwargs)

    def end(self, process, number=signal.SIGTERM):
        if process.poll() is None:
            process.send_signal(number)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for stream in (process.stdin, process.stdout):
            if stream:
                stream.close()
        return process.returncode

    def run_ok(self, *args, timeout=60, **kwargs):
        result = subprocess.run([str(a) for a in args], cwd=self.folder, capture_output=True, text=True, timeout=timeout,
                                **kwargs)
        self.assertEqual(result.returncode, 0, f"{args}:\n{result.stdout}\n{result.stderr}")
        return result.stdout

    def run_in_lab(self, *args, **kwargs):
        return self.run_ok(os.path.join(HERE, "enter"), ROOT, *args, **kwargs)

    def log(self, name):
        with open(self.path(name + ".log"), errors="replace") as file:
            return file.read()

    def wait_for_socket(self, name, process):
        # By whatever name it has been bound to: from here, from the scratch folder, or in the chroot.
        names = self.path(name), name, self.inside(name)
        wait_for(lambda: any(map(is_listened_on, names)) and os.path.exists(self.path(name)) or process.poll() is not None, name)
        self.assertIsNone(process.poll(), f"{process.args} has ended")

    def trace(self, back_end):
        """Front-ends connect to "socket", and what is said is in messages.trace. One tracer serves all sessions."""
        if not os.path.exists(self.socket):
            tracer = self.start("tracer", ORIEL, "trace", "--listen", "socket", "--connect", back_end, "-o", "messages.trace")
            self.wait_for_socket("socket", tracer)

    def start_fs(self, *options):
        """oriel-fs behind a tracer: front-ends connect to "socket"."""
        own = "fs.socket"
        before = made_at(self.path(own))
        self.fs = self.start("oriel-fs", ORIEL_FS, "--socket-path", own, "--shared-dir", "share", *options)
        wait_for(lambda: self.fs.poll() is not None or made_at(self.path(own)) != before, "oriel-fs")
        self.assertIsNone(self.fs.poll(), "oriel-fs has ended")
        self.trace(own)
        return self.fs

    # ---- guests ----

    def pack_initramfs(self, script, modules=(), add=None):
        """Static busybox, the guest programs, and @script as what is run; @modules are loaded first, in their order. @add is
        called with the tree."""
        tree = self.path("initramfs")
        os.makedirs(tree + "/bin")
        shutil.copy(ROOT + "/bin/busybox", tree + "/bin/busybox")
        for name, path in GUEST_PROGRAMS.items():
            shutil.copy(path, f"{tree}/bin/{name}")
        for name in ("init", *GUEST_SCRIPTS):
            shutil.copy(os.path.join(HERE, "guest", name), tree + "/" + name)
        shutil.copy(os.path.join(HERE, "guest", script), tree + "/test.sh")
        os.chmod(tree + "/init", 0o755)
        os.mkdir(tree + "/modules")
        for number, path in enumerate(modules):
            shutil.copy(path, f"{tree}/modules/{number:02}.ko")
        if add:
            add(tree)
        names = subprocess.run(["find", "."], cwd=tree, capture_output=True, check=True).stdout
        with open(self.path("initramfs.cpio"), "wb") as out:
            subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=tree, input=names, stdout=out, check=True)
        shutil.rmtree(tree)

    def start_qemu(self, script, *devices, arguments="", server=False, modules=(), add=None):
        self.pack_initramfs(script, modules, add)
        return self.start_in_lab(
            "qemu", "qemu-system-x86_64", "-M", "q35,memory-backend=ram", "-accel", "tcg", "-cpu", "max", "-smp", "2",
            "-m", "512", "-object", "memory-backend-memfd,id=ram,size=512M,share=on", "-nodefaults", "-display", "none",
            "-serial", "stdio", "-qmp", "unix:" + self.inside("qmp") + ",server=on,wait=off", "-kernel", kernel(),
            "-initrd", self.inside("initramfs.cpio"), "-append",
            "console=ttyS0 panic=-1 quiet loglevel=3 " + arguments,
            "-chardev", "socket,id=fs,path=" + self.inside("socket") + (",server=on" if server else ""), *devices,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def start_uml(self, script):
        modules = glob.glob(ROOT + "/usr/lib/uml/modules/*/kernel/fs/fuse")[0]
        self.pack_initramfs(script, [modules + "/fuse.ko", modules + "/virtiofs.ko"])
        # Its console takes no input from a pipe.
        terminal, console = os.openpty()
        tty.setraw(console)
        guest = self.start_in_lab(
            "uml", "linux.uml", "mem=256M", "initrd=" + self.inside("initramfs.cpio"), "con0=fd:0,fd:1", "con=null", "quiet",
            "panic=-1", "virtio_uml.device=" + self.inside("socket") + ":26", stdin=console, stdout=console)
        os.close(console)
        guest.stdin = os.fdopen(os.dup(terminal), "wb")
        guest.stdout = os.fdopen(terminal, "rb")
        return guest

    def follow(self, guest, limit):
        """Let the guest run its tests, each a subtest here; serve what it asks of the host. @limit: in seconds, more
        than it takes where nothing else runs; other machines are busy."""
        seen, ended, end = 0, False, time.monotonic() + BUSY * limit
        begun = time.monotonic()
        with open(self.path("console.log"), "ab") as log:
            for line in self.lines(guest, end, log):
                words = line.split()
                if words[:1] == ["ok"] or words[:2] == ["not", "ok"]:
                    seen += 1
                    log.write(f"# {time.monotonic() - begun:.1f} s\n".encode())
                    with self.subTest(line.split(" - ", 1)[-1]):
                        self.assertEqual(words[0], "ok", self.tail())
                elif words[:1] == ["host:"]:
                    answer = getattr(self, "host_" + words[1].replace("-", "_"))(*words[2:])
                    guest.stdin.write(f"{answer or 'done'}\n".encode())
                    guest.stdin.flush()
                elif words[:2] == ["#", "end"]:
                    ended = True
                    break
        if not ended:
            status = guest.poll() if guest.poll() is not None else self.end(guest)
            said = self.tail(150) or "it has said nothing at all"
            self.fail(f"the guest did not come to its end, and its machine ended with status {status}:\n{said}")
        self.assertGreater(seen, 0)

    def lines(self, guest, end, log):
        rest = b""
        while True:
            readable, _, _ = select.select([guest.stdout], [], [], max(0, end - time.monotonic()))
            data = os.read(guest.stdout.fileno(), 65536) if readable else b""
            if not data:
                return
            log.write(data)
            log.flush()
            *whole, rest = (rest + data).split(b"\n")
            for line in whole:
                yield line.decode(errors="replace").strip()

    def tail(self, lines=15):
        return "\n".join(self.log("console").splitlines()[-lines:])

    # ---- what a guest may ask for ----

    def host_tree(self, name):
        return tree_sum(os.path.join(self.share, name))

    def host_sum(self, name):
        return hashlib.sha256(self.read(name)).hexdigest()

    def host_size(self, name):
        return os.path.getsize(os.path.join(self.share, name))

    def host_bytes(self, name, offset, size):
        return self.read(name)[int(offset):int(offset) + int(size)].decode()

    def host_put(self, name, offset, text):
        fd = os.open(os.path.join(self.share, name), os.O_WRONLY)
        os.pwrite(fd, text.encode(), int(offset))
        os.close(fd)

    def host_truncate(self, name, size):
        os.truncate(os.path.join(self.share, name), int(size))

    def host_soon(self, name, offset, text):
        """Does the host see what the guest has stored, without being told of it?"""
        end = time.monotonic() + 4 * BUSY
        while time.monotonic() < end:
            if self.read(name)[int(offset):].startswith(text.encode()):
                return "yes"
            time.sleep(0.05)
        return "no"

    def host_append(self, name, text):
        with open(os.path.join(self.share, name), "ab") as file:
            file.write(text.encode())

    def host_facts(self, name):
        return self.run_ok("sh", "-c", '. "$1" && facts "$2"', "sh", os.path.join(HERE, "guest/tap.sh"),
                           os.path.join(self.share, name)).strip()

    def host_tar(self, folder, archive):
        self.run_ok("tar", "-cf", os.path.join(self.share, archive), "-C", os.path.join(self.share, folder), ".")

    def host_untar(self, archive, folder):
        os.mkdir(os.path.join(self.share, folder))
        self.run_ok("tar", "-xpf", os.path.join(self.share, archive), "-C", os.path.join(self.share, folder))

    def host_xattr(self, name, attribute):
        return os.getxattr(os.path.join(self.share, name), attribute).hex()

    def host_lock(self, kind, name):
        """Without waiting; it is kept until it is released."""
        self.locked = open(os.path.join(self.share, name), "r+b")
        (fcntl.flock if kind == "flock" else fcntl.lockf)(self.locked, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def host_refused(self, kind, name):
        try:
            self.host_lock(kind, name)
        except BlockingIOError:
            return "yes"
        finally:
            self.locked.close()
        return "no"

    def host_release(self, _):
        """Some time later."""
        threading.Timer(0.5, self.locked.close).start()

    def host_released(self):
        return "yes" if self.locked.closed else "no"


class Monitor:
    """QEMU's, through QMP."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30)
        # By way of its folder's descriptor, because a socket's path has to be short.
        folder = os.open(os.path.dirname(path), os.O_PATH)
        self.socket.connect(f"/proc/self/fd/{folder}/{os.path.basename(path)}")
        os.close(folder)
        self.file = self.socket.makefile("rw")
        self.file.readline()
        self.command("qmp_capabilities")

    def command(self, name, **arguments):
        self.file.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
        self.file.flush()
        while True:
            answer = json.loads(self.file.readline())
            if "event" not in answer:
                return answer

    def close(self):
        self.file.close()
        self.socket.close()


def main():
    result = unittest.main(module="__main__", exit=False, verbosity=2).result
    # Nothing is skipped in the lab, as everything that it needs it installs, but what no package has yet: a test of its own,
    # which is told apart from one that has passed.
    if result.wasSuccessful() and result.testsRun == len(result.skipped) == 1:
        sys.exit(77)
    sys.exit(0 if result.wasSuccessful() and result.testsRun and not result.skipped else 1)
