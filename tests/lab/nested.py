# SPDX-License-Identifier: BSD-2-Clause
"""Linux guests under KVM where the machine's own KVM is none that they can boot on: a machine within a machine.

The outer machine is the lab's QEMU, which interprets a CPU with AMD's SVM, and runs Debian's kernel with kvm_amd. In it,
"oriel run" or the lab's QEMU runs the inner machine, the same kernel with another initramfs. The outer machine's script
(guest/outer.sh) is the host of the inner one and answers what it asks for; what both print comes to this side, where
Case.follow() makes the tests of both subtests.

Run as a program: make what all machines have in common (make), or run an outer script and show what it prints (try).
"""
import glob
import lzma
import os
import re
import shutil
import signal
import struct
import subprocess
import sys

from lab import (GUEST_PROGRAMS, GUEST_SCRIPTS, HERE, ORIEL, ORIEL_FS, ROOT, SCRATCH, Case, add_from_lab, copy, in_lab, kernel,
                 libraries)

# What all outer machines have in common, below the chroot because QEMU reads the kernel there.
COMMON = os.path.join(SCRATCH, "nested")
KERNEL = os.path.join(COMMON, "vmlinux")
# In the order in which they are loaded.
MODULES = ["virt/lib/irqbypass", "arch/x86/kvm/kvm", "drivers/crypto/ccp/ccp", "arch/x86/kvm/kvm-amd"]
FIRMWARE = ["bios-256k.bin", "kvmvapic.bin", "bios-microvm.bin", "qboot.rom", "pvh.bin", "linuxboot_dma.bin"]


def add_from_here(tree, program):
    for path in libraries(program):
        copy(path, tree + path)
    copy(program, tree + "/bin/" + os.path.basename(program))


def pack(tree, path):
    """Make an archive of a folder, and remove the folder."""
    names = subprocess.run(["find", "."], cwd=tree, capture_output=True, check=True).stdout
    with open(path, "wb") as out:
        subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=tree, input=names, stdout=out, check=True)
    shutil.rmtree(tree)


def unpack_kernel(source, to):
    """The ELF in a bzImage: to unpack it in a guest would take seconds of each start."""
    with open(source, "rb") as file:
        image = file.read()
    # The setup header: setup_sects, payload_offset, payload_length. The payload ends with its size.
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (image[0x1f1] + 1) * 512 + offset
    result = subprocess.run(["chroot", ROOT, "zstd", "-d"], input=image[start:start + length - 4], capture_output=True, check=True)
    with open(to, "wb") as file:
        file.write(result.stdout)


def make():
    done = COMMON + "/done"
    if os.path.exists(done) and os.path.getmtime(done) > os.path.getmtime(__file__):
        return
    shutil.rmtree(COMMON, ignore_errors=True)
    os.makedirs(COMMON)
    unpack_kernel(ROOT + kernel(), KERNEL)

    tree = COMMON + "/tree"
    copy(KERNEL, tree + "/inner/vmlinux")
    version = kernel().split("-", 1)[1]
    for number, name in enumerate(MODULES):
        with lzma.open(f"{ROOT}/lib/modules/{version}/kernel/{name}.ko.xz") as file:
            data = file.read()
        os.makedirs(tree + "/modules", exist_ok=True)
        with open(f"{tree}/modules/{number}.ko", "wb") as file:
            file.write(data)
    pack(tree, COMMON + "/outer.cpio")

    for folder in "dev", "proc", "tmp":
        os.makedirs(tree + "/qemu/" + folder)
    add_from_lab(tree + "/qemu", "/usr/bin/qemu-system-x86_64")
    for name in FIRMWARE:
        path = in_lab(next(path for path in ("/usr/share/qemu/" + name, "/usr/share/seabios/" + name)
                           if os.path.lexists(ROOT + path)))
        copy(path, tree + "/qemu/usr/share/qemu/" + name)
    pack(tree, COMMON + "/qemu.cpio")

    add_from_lab(tree, "/usr/bin/lspci")
    pack(tree, COMMON + "/lspci.cpio")
    open(done, "w").close()


def concatenate(path, *parts):
    """The kernel unpacks one archive after the other, each of which begins at a multiple of 4."""
    with open(path, "wb") as out:
        for part in parts:
            with open(part, "rb") as file:
                shutil.copyfileobj(file, out)
            out.write(bytes(-out.tell() % 4))


class Nested(Case):
    """A test is an outer script, in which "run" is "oriel run", and the name of the inner machine's script."""

    # How long the inner machine may take, with the outer one.
    LIMIT = 60

    def setUp(self):
        super().setUp()
        # Further ones of the outer QEMU.
        self.outer_options = []

    def add_common(self, tree, *names):
        copy(ROOT + "/bin/busybox", tree + "/bin/busybox")
        for name in {"init", "tap.sh", *names}:
            copy(os.path.join(HERE, "guest", name), tree + "/" + os.path.basename(name), 0o755)

    def add_inner(self, tree):
        """What a test's inner machine has besides; and its outer one."""

    def add_outer(self, tree):
        pass

    def pack_inner(self, script, *archives):
        tree = self.path("tree")
        self.add_common(tree, *GUEST_SCRIPTS)
        for name, path in GUEST_PROGRAMS.items():
            copy(path, f"{tree}/bin/{name}")
        copy(os.path.join(HERE, "guest/vm", script), tree + "/test.sh")
        self.add_inner(tree)
        pack(tree, self.path("inner.cpio"))
        concatenate(self.path("initrd"), self.path("inner.cpio"), *(f"{COMMON}/{name}.cpio" for name in archives))

    def pack_outer(self, outer, *archives):
        tree = self.path("tree")
        self.add_common(tree, "outer.sh")
        for program in ORIEL, ORIEL_FS:
            add_from_here(tree, program)
        copy(GUEST_PROGRAMS["share"], tree + "/bin/share")
        copy(self.path("initrd"), tree + "/inner/initrd")
        if "/inner/bzImage" in outer:
            copy(ROOT + kernel(), tree + "/inner/bzImage")
        shutil.copytree(self.share, tree + "/share")
        with open(tree + "/test.sh", "w") as file:
            file.write(". /outer.sh\n" + outer)
        self.add_outer(tree)
        pack(tree, self.path("test.cpio"))
        concatenate(self.path("outer.cpio"), COMMON + "/outer.cpio", self.path("test.cpio"),
                    *(f"{COMMON}/{name}.cpio" for name in archives))

    def start_outer(self, memory):
        return self.start_in_lab(
            "qemu", "qemu-system-x86_64", "-M", "q35", "-accel", "tcg", "-cpu", "max,+svm", "-smp", "2", "-m", str(memory),
            "-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot", "-d", "cpu_reset", "-D", self.inside("cpu.log"),
            "-kernel", "/t/nested/vmlinux", "-initrd", self.inside("outer.cpio"),
            "-append", "console=ttyS0 panic=-1 quiet loglevel=3 mitigations=off", *self.outer_options,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def nest(self, script, outer, limit=None, inner_archives=(), outer_archives=(), memory=1024):
        make()
        self.pack_inner(script, *inner_archives)
        self.pack_outer(outer, *outer_archives)
        guest = self.start_outer(memory)
        self.follow(guest, limit or self.LIMIT)
        self.end(guest)

    def tail(self, lines=15):
        """With why the outer machine ended: no program in it can reset it so."""
        why = "\n# the interpreted machine was reset" if re.search("^Triple fault", self.log("cpu"), re.MULTILINE) else ""
        return super().tail(lines) + why


class Try(Nested):
    """What "try" runs."""

    outer = "run"
    script = "boot.sh"

    def runTest(self):
        self.nest(self.script, self.outer, 600, ("lspci",), ("qemu",), 1500)

    def lines(self, guest, end, log):
        for line in super().lines(guest, end, log):
            print(line, flush=True)
            yield line


def main():
    # So that the machine is ended, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if sys.argv[1:2] == ["make"]:
        make()
    elif sys.argv[1:2] == ["try"]:
        test = Try()
        test.script, test.outer = sys.argv[2], "\n".join(sys.argv[3:])
        result = test.run()
        for _, said in result.failures + result.errors:
            print(said)
        sys.exit(0 if result.wasSuccessful() else 1)
    else:
        sys.exit("Usage: nested.py make | try INNER_SCRIPT OUTER_LINE...")


if __name__ == "__main__":
    main()
