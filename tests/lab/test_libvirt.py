# SPDX-License-Identifier: BSD-2-Clause
"""oriel-fs in virtiofsd's place, started and ended by the real libvirtd."""
import fcntl
import glob
import os
import shutil
import signal
import struct

from lab import HERE, ORIEL_FS, Case, kernel, main, wait_for

DOMAIN = """<domain type='qemu'>
  <name>t</name>
  <memory unit='MiB'>512</memory>
  <vcpu>1</vcpu>
  <memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>
  <os><type arch='x86_64' machine='q35'>hvm</type>
    <kernel>{kernel}</kernel><initrd>{folder}/initramfs.cpio</initrd>
    <cmdline>console=ttyS0 quiet panic=-1 mitigations=off</cmdline></os>
  <features><acpi/></features>
  <cpu mode='maximum'/>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type='pci' index='0' model='pcie-root'/>
    <controller type='pci' index='1' model='pcie-root-port'/>
    <controller type='pci' index='2' model='pcie-root-port'/>
    <controller type='usb' model='none'/>
    <serial type='file'><source path='{folder}/console.log'/><target port='0'/></serial>
    {filesystem}
    <memballoon model='none'/>
  </devices>
</domain>"""

FILESYSTEM = """<filesystem type='mount' accessmode='passthrough'>
  <driver type='virtiofs' queue='1024'/>
  <binary path='{folder}/oriel-fs' xattr='on'><cache mode='always'/><sandbox mode='{sandbox}'/><thread_pool size='2'/></binary>
  <source dir='{folder}/share'/><target dir='share'/>
</filesystem>"""

LIMIT = 90


def is_running(pid):
    """Who has become a zombie has ended."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def locked_by(path):
    """As libvirt asks: the process that has a POSIX lock on a file, or None."""
    lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    with open(path, "r+") as file:
        kind, _, _, _, pid = struct.unpack("hhqqi4x", fcntl.fcntl(file, fcntl.F_GETLK, lock))
    return None if kind == fcntl.F_UNLCK else pid


class Libvirt(Case):
    def setUp(self):
        super().setUp()
        shutil.copy(ORIEL_FS, self.path("oriel-fs"))
        shutil.copy(os.path.join(HERE, "libvirtd.sh"), self.folder)
        self.write("file", b"of the share")
        self.daemon = self.start_in_lab("libvirtd", self.inside("libvirtd.sh"), self.inside(""))
        wait_for(lambda: self.daemon.poll() is not None or self.virsh_says("version"), "libvirtd", LIMIT)
        self.assertIsNone(self.daemon.poll(), self.log("libvirtd"))

    def in_libvirtds_place(self, *args):
        """The command line that runs something with the mounts of libvirtd."""
        return ["nsenter", f"--target={self.daemon.pid}", "--mount", "--root", "--wd", "env", "LC_ALL=C",
                "LIBVIRT_DEFAULT_URI=qemu:///system", *args]

    def virsh(self, *args):
        return self.run_ok(*self.in_libvirtds_place("virsh", "-q", *args), timeout=LIMIT)

    def virsh_says(self, *args):
        try:
            return self.virsh(*args)
        except AssertionError:
            return None

    def make_domain(self, sandbox):
        with open(self.path("filesystem.xml"), "w") as file:
            file.write(FILESYSTEM.format(folder=self.inside("").rstrip("/"), sandbox=sandbox))
        with open(self.path("filesystem.xml")) as file:
            filesystem = file.read()
        with open(self.path("domain.xml"), "w") as file:
            file.write(DOMAIN.format(folder=self.inside("").rstrip("/"), kernel=kernel(), filesystem=filesystem))
        if not os.path.exists(self.path("initramfs.cpio")):
            self.pack_initramfs("libvirt.sh")
        self.virsh("define", self.inside("domain.xml"))

    def started(self):
        """Start the machine, and return the pid of its oriel-fs, which has libvirt's lock."""
        self.virsh("start", "t")
        self.addCleanup(self.virsh_says, "destroy", "t")
        [path] = glob.glob(f"/proc/{self.daemon.pid}/root/run/libvirt/qemu/*fs0*.pid")
        with open(path) as file:
            pid = int(file.read())
        self.addCleanup(lambda: is_running(pid) and os.kill(pid, signal.SIGKILL))
        self.assertTrue(is_running(pid))
        self.assertEqual(os.path.basename(os.readlink(f"/proc/{pid}/exe")), "oriel-fs")
        self.assertEqual(locked_by(path), pid)
        return pid

    def wait_for_guest(self, text):
        wait_for(lambda: text in self.log("console"), text, LIMIT)

    def test_destroy(self):
        """Twice, so that nothing of the first time is in the way; in both sandboxes that libvirt knows."""
        for sandbox in "namespace", "chroot":
            with self.subTest(sandbox=sandbox):
                self.make_domain(sandbox)
                pid = self.started()
                self.virsh("destroy", "t")
                wait_for(lambda: not is_running(pid), "the end of oriel-fs", LIMIT)
                self.virsh("undefine", "t")

    def test_detach(self):
        self.make_domain("namespace")
        pid = self.started()
        self.wait_for_guest("waiting")
        self.assertIn("read: of the share", self.log("console"))
        self.virsh("detach-device", "t", self.inside("filesystem.xml"), "--live")
        wait_for(lambda: not is_running(pid), "the end of oriel-fs", LIMIT)
        self.assertEqual(self.virsh("domstate", "t").strip(), "running")
        # It has ended because libvirt ended it, not with the machine.
        self.assertNotIn("virtiofs", self.virsh("dumpxml", "t"))


if __name__ == "__main__":
    main()
