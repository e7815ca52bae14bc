# SPDX-License-Identifier: BSD-2-Clause
"""oriel-fs in virtiofsd's place and oriel-gpu, started and ended by the real libvirtd, and a network by vhost-user."""
import fcntl
import glob
import json
import os
import shutil
import signal
import struct

from lab import BUILD, HERE, ORIEL_FS, ROOT, Case, in_lab, kernel, main, unpack_modules, wait_for

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
    {devices}
    <memballoon model='none'/>
  </devices>
</domain>"""

FILESYSTEM = """<filesystem type='mount' accessmode='passthrough'>
  <driver type='virtiofs' queue='1024'/>
  <binary path='{folder}/oriel-fs' xattr='on'><cache mode='always'/><sandbox mode='{sandbox}'/><thread_pool size='2'/></binary>
  <source dir='{folder}/share'/><target dir='share'/>
</filesystem>"""

GPU_AND_NET = """<video><driver name='vhostuser'/><model type='virtio' heads='1'/></video>
<interface type='vhostuser'>
  <mac address='52:54:00:12:34:56'/><source type='unix' path='{folder}/net' mode='client'/><model type='virtio'/>
</interface>"""

LIMIT = 200


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

    def make_domain(self, devices, script, *modules):
        with open(self.path("domain.xml"), "w") as file:
            file.write(DOMAIN.format(folder=self.inside("").rstrip("/"), kernel=kernel(), devices=devices))
        if not os.path.exists(self.path("initramfs.cpio")):
            self.pack_initramfs(script, unpack_modules(self.folder, *modules))
        self.virsh("define", self.inside("domain.xml"))

    def make_share_domain(self, sandbox):
        filesystem = FILESYSTEM.format(folder=self.inside("").rstrip("/"), sandbox=sandbox)
        with open(self.path("filesystem.xml"), "w") as file:
            file.write(filesystem)
        self.make_domain(filesystem, "libvirt.sh")

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
        try:
            wait_for(lambda: text in self.log("console"), text, LIMIT)
        except AssertionError:
            self.fail(f"no '{text}' within {LIMIT} s: {self.log('console')[-2000:]}")

    def test_destroy(self):
        """Twice, so that nothing of the first time is in the way; in both sandboxes that libvirt knows."""
        for sandbox in "namespace", "chroot":
            with self.subTest(sandbox=sandbox):
                self.make_share_domain(sandbox)
                pid = self.started()
                self.virsh("destroy", "t")
                wait_for(lambda: not is_running(pid), "the end of oriel-fs", LIMIT)
                self.virsh("undefine", "t")

    def test_detach(self):
        self.make_share_domain("namespace")
        pid = self.started()
        self.wait_for_guest("waiting")
        self.assertIn("read: of the share", self.log("console"))
        self.virsh("detach-device", "t", self.inside("filesystem.xml"), "--live")
        wait_for(lambda: not is_running(pid), "the end of oriel-fs", LIMIT)
        self.assertEqual(self.virsh("domstate", "t").strip(), "running")
        # It has ended because libvirt ended it, not with the machine.
        self.assertNotIn("virtiofs", self.virsh("dumpxml", "t"))

    def test_gpu_and_net(self):
        """What the domain's XML can say of them: libvirt finds oriel-gpu by its description, and starts and ends it."""
        for name in "oriel-gpu", "50-oriel-gpu.json":
            shutil.copy(os.path.join(BUILD, name if name == "oriel-gpu" else "devices/" + name), self.path(name))
        with open(self.path("50-oriel-gpu.json")) as file:
            description = json.load(file) | {"binary": self.inside("start-gpu")}
        with open(self.path("50-oriel-gpu.json"), "w") as file:
            json.dump(description, file)
        # libvirt starts it as QEMU's user, who may have no user namespace in a chroot.
        with open(self.path("start-gpu"), "w") as file:
            file.write(f'#!/bin/sh\nexec {self.inside("oriel-gpu")} --sandbox=none "$@"\n')
        os.chmod(self.path("start-gpu"), 0o755)
        self.run_ok(*self.in_libvirtds_place("sh", "-c", f"mkdir -p /etc/qemu/vhost-user && mount -t tmpfs tmpfs /etc/qemu/vhost-user && "
                                             f"cp {self.inside('50-oriel-gpu.json')} /etc/qemu/vhost-user/"))
        # Not in the chroot: it makes a user namespace, which nobody may there.
        passt = self.start("passt", ROOT + "/lib64/ld-linux-x86-64.so.2", "--library-path", ROOT + "/lib/x86_64-linux-gnu",
                           in_lab("/usr/bin/passt"), "--vhost-user", "--foreground", "--socket", self.path("net"))
        self.wait_for_socket("net", passt)
        os.chmod(self.path("net"), 0o666)
        self.make_domain(GPU_AND_NET.format(folder=self.inside("").rstrip("/")), "libvirt_gpu.sh", "virtio-gpu", "virtio_net")
        self.virsh("start", "t")
        self.addCleanup(self.virsh_says, "destroy", "t")
        gpu = self.running("oriel-gpu")
        self.assertNotEqual(gpu, [])
        self.wait_for_guest("waiting")
        self.assertNotIn("not ok", self.log("console"))
        self.assertEqual(self.log("console").count("ok - "), 5)
        self.virsh("destroy", "t")
        wait_for(lambda: not any(map(is_running, gpu)), "the end of oriel-gpu", LIMIT)

    def running(self, program):
        found = []
        for path in glob.glob("/proc/[0-9]*/exe"):
            try:
                if os.readlink(path).endswith(self.inside(program)):
                    found.append(int(path.split("/")[2]))
            except OSError:
                pass
        return found


if __name__ == "__main__":
    main()
