# SPDX-License-Identifier: BSD-2-Clause
"""oriel-fs under Linux in stock QEMU: what files.sh asks of it."""
import os
import re
import shutil
import socket
import subprocess
import unittest

from lab import HERE, ORIEL_FS, ROOT, Case, main

POSIX = os.path.join(HERE, "guest-posix.txt")


def read_expected(way):
    """The cases that need not pass that way."""
    with open(POSIX) as file:
        rows = [line.split(maxsplit=2) for line in file if not line.startswith("#") and line.strip()]
    return {name for name, ways, _ in rows if way in ways.split(",")}


class Guest(Case):
    DAX = ("-device", "vhost-user-test-device-pci,id=dev,virtio-id=26,num_vqs=2,config_size=44,chardev=fs")

    def add_submount(self):
        below = self.share + "/below"
        os.mkdir(below)
        self.run_ok("mount", "-t", "tmpfs", "-o", "size=16M", "tmpfs", below)
        self.addCleanup(subprocess.run, ["umount", "-l", below])
        self.write("below/file", b"below")

    def said_of_posix(self, way):
        return re.findall(rf"^posix {way}: (.*?)\r?$", self.log("console"), re.MULTILINE)

    def failed_posix(self, way):
        return {line.split(" - ")[1] for line in self.said_of_posix(way) if line.startswith("not ok")}

    def check_posix(self, way, also=frozenset()):
        """No case fails but those of the list, and @also."""
        self.assertEqual(self.failed_posix(way) - read_expected(way) - also, set(), "\n".join(self.said_of_posix(way)))

    def test_dax_always(self):
        self.add_stress_ng()
        self.add_git()
        self.start_fs("--tag", "share", "--dax-window", "64M", "--xattr")
        self.follow(self.start_qemu("guest_dax.sh", *self.DAX), 300)
        self.check_posix("dax")

    def test_dax_inode(self):
        self.make_tree("tree", 200)
        self.add_submount()
        self.write("large", bytes(range(256)) * (128 << 12))
        self.write("large-enough", bytes(65536))
        self.write("too-small", bytes(65535))
        self.start_fs("--tag", "share", "--dax-window", "16M", "--dax=auto=64K", "--posix-acl", "--posix-lock", "--flock")
        self.follow(self.start_qemu("guest_inode.sh", *self.DAX), 200)

    def add_subvolumes(self):
        """Below "btrfs"; none of them is entered by who lists it."""
        self.run_ok("truncate", "-s", "128M", "image")
        self.run_ok("mkfs.btrfs", "-q", "image")
        folder = self.share + "/btrfs"
        os.mkdir(folder)
        self.run_ok("mount", "-o", "loop", "image", folder)
        self.addCleanup(subprocess.run, ["umount", "-l", folder])
        for name in "one", "two":
            self.run_ok("btrfs", "subvolume", "create", f"{folder}/{name}")
        os.mkdir(folder + "/plain")

    @unittest.skipIf(not shutil.which("mkfs.btrfs"), "no mkfs.btrfs")
    def test_submounts_not_entered(self):
        """Linux 7.2 would die of it."""
        self.add_subvolumes()
        self.start_fs("--tag", "share", "--xattr")
        self.follow(self.start_qemu("guest_submounts.sh", "-device", "vhost-user-fs-pci,chardev=fs,tag=share"), 100)
        self.assertEqual(sorted(os.listdir(self.share + "/btrfs")), ["one", "plain", "two"])

    def test_setuid_through_the_window(self):
        """Who stores into a set-user-ID program takes the bit away, whoever is to do so."""
        for options in [], ["--killpriv-v2"]:
            with self.subTest(options=options):
                for name in "plain", "setuid":
                    self.write(name, bytes(3 << 20))
                    os.chmod(os.path.join(self.share, name), 0o4777 if name == "setuid" else 0o777)
                self.start_fs("--tag", "share", "--dax-window", "16M", *options)
                self.follow(self.start_qemu("guest_setuid.sh", *self.DAX), 100)
                self.assertEqual(oct(os.stat(self.share + "/setuid").st_mode & 0o7777), oct(0o777))
                self.assertEqual((self.read("setuid")[:1], self.read("plain")[:1]), (b"x", b"x"))
            self.doCleanups()
            self.setUp()

    def host_resize(self, name, size):
        path = os.path.join(self.share, name)
        with open(path, "wb") as file:
            file.write(os.urandom(int(size)))

    def host_replace(self, name):
        size = self.host_size(name)
        self.write(name + ".new", os.urandom(size))
        os.rename(os.path.join(self.share, name + ".new"), os.path.join(self.share, name))

    def test_programs_that_are_mapped(self):
        shutil.copy(ROOT + "/bin/busybox", self.share + "/busybox")
        self.write("file", b"")
        self.start_fs("--tag", "share", "--dax-window", "16M")
        self.follow(self.start_qemu("guest_exec.sh", *self.DAX), 100)

    # ---- in virtiofsd's place ----

    def start_as_libvirt(self, name, program, *options):
        """With a socket that listens already and does not block."""
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(self.short_path(name + ".socket"))
        listening.listen(1)
        listening.setblocking(False)
        fd = listening.fileno()
        process = program(name, f"--fd={fd}", *options, pass_fds=[fd])
        listening.close()
        return process

    def short_path(self, name):
        """A socket's path has to be short."""
        folder = os.open(self.folder, os.O_PATH)
        self.addCleanup(os.close, folder)
        return f"/proc/self/fd/{folder}/{name}"

    def run_beside_virtiofsd(self, *options, arguments=""):
        """One guest, with a share by each; @options with SOURCE for the directory."""
        self.make_tree("tree", 200)
        self.make_tree("other/tree", 200)

        def with_source(path):
            return [option.replace("SOURCE", path) for option in options]

        ours = self.start_as_libvirt("oriel-fs", lambda name, *args, **how: self.start(name, ORIEL_FS, *args, **how),
                                     *with_source(self.share))
        theirs = self.start_as_libvirt(
            "virtiofsd", lambda name, *args, **how: self.start_in_lab(name, "/usr/libexec/virtiofsd", *args, **how),
            *with_source(self.inside("share/other")))
        os.rename(self.path("oriel-fs.socket"), self.socket)
        guest = self.start_qemu(
            "guest_beside.sh", "-device", "vhost-user-fs-pci,chardev=fs,tag=share,queue-size=1024", "-chardev",
            "socket,id=other,path=" + self.inside("virtiofsd.socket"), "-device",
            "vhost-user-fs-pci,chardev=other,tag=other,queue-size=1024", arguments=arguments)
        self.follow(guest, 300)
        self.end(guest)
        # Nothing fails that does not with virtiofsd.
        self.check_posix("ours", self.failed_posix("theirs"))
        # Both end with the machine that they were for, or when they are told.
        for process in ours, theirs:
            self.assertIn(self.end(process), (0, -15))

    def test_as_libvirt_starts_it(self):
        self.run_beside_virtiofsd("-o", "source=SOURCE,cache=auto,sandbox=chroot,xattr,no_flock,no_posix_lock",
                                  "--thread-pool-size=4", arguments="posix=yes")

    def test_as_newer_libvirt_starts_it(self):
        self.run_beside_virtiofsd("--shared-dir", "SOURCE", "--cache", "auto", "--sandbox", "namespace", "--xattr",
                                  "--thread-pool-size=0")


if __name__ == "__main__":
    main()
