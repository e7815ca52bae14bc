# SPDX-License-Identifier: BSD-2-Clause
"""oriel-pmem behind stock QEMU, under Linux's virtio_pmem: file systems with DAX on images, and ends at any moment, after
which everything that was synced is there. KILLS: how many of them (tools/check-long has more)."""
import os
import random
import re
import statistics
import sys
import time

from lab import Case, main, unpack_modules
from pmem_images import make_erofs, make_ext4, read_file, replay, sum_of

ORIEL_PMEM = os.path.join(os.path.abspath(os.environ["ORIEL_BUILD"]), "oriel-pmem")
DEVICE = "vhost-user-test-device-pci,virtio-id=27,num_vqs=1,config_size=16,chardev="
KILLS = int(os.environ.get("ORIEL_PMEM_KILLS", "4"))
MIB = 1 << 20


class Pmem(Case):
    def setUp(self):
        super().setUp()
        os.makedirs(self.path("share/tree"))
        self.image = self.path("ext4.image")

    def make_ext4(self, size=64 * MIB):
        make_ext4(self.image, self.share, size)

    def start_pmem(self, name, image, *options, socket=None):
        socket = socket or f"{name}.socket"
        process = self.start(name, ORIEL_PMEM, "--socket-path", socket, "--image", image, *options)
        self.wait_for_socket(socket, process)
        return process

    def start_guest(self, script, *devices, **kwargs):
        modules = unpack_modules(self.folder, "virtio_pmem", "nd_pmem", "ext4", "erofs")
        return self.start_qemu(script, *devices, modules=modules, **kwargs)

    def test_linux(self):
        self.make_tree("tree", 100)
        self.make_ext4()
        make_erofs(self.path("erofs.image"), self.share)
        self.start_pmem("pmem", self.image)
        self.start_pmem("erofs", self.path("erofs.image"), "--readonly", "--allow-writable-dax")
        self.trace("pmem.socket")
        with open(self.path("erofs.image"), "rb") as file:
            before = file.read()
        self.follow(self.start_guest("pmem.sh", "-device", DEVICE + "fs", "-chardev",
                                     "socket,id=second,path=" + self.inside("erofs.socket"), "-device", DEVICE + "second"), 90)
        with open(self.path("erofs.image"), "rb") as file:
            self.assertEqual(file.read(), before)
        self.assertEqual(os.path.getsize(self.image), 64 * MIB)

    def test_qemu_maps_nothing_read_only(self):
        """With a descriptor that can't be written to it does not map at all, which is said; the guest has holes."""
        make_erofs(self.path("erofs.image"), self.share)
        self.start_pmem("pmem", self.path("erofs.image"), "--readonly")
        self.trace("pmem.socket")
        self.follow(self.start_guest("pmem_hole.sh", "-device", DEVICE + "fs"), 60)
        self.assertIn("the front-end does not map it: QEMU 11.1 needs --allow-writable-dax", self.log("pmem"))

    def evict(self, path):
        """What is in the host's memory of it."""
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)

    def test_read_speed(self):
        """Next to a disk by virtio-blk of qemu-storage-daemon: as it is on this machine, whose CPU is interpreted."""
        size = 128 * MIB
        self.write("file", os.urandom(size))
        self.make_ext4(256 * MIB)
        self.run_ok("cp", self.image, self.path("disk.image"))
        for path in self.image, self.path("disk.image"):
            self.evict(path)
        self.start_pmem("pmem", self.image, socket="socket")
        image, socket = self.inside("disk.image"), self.inside("disk.socket")
        disk = self.start_in_lab(
            "disk", "qemu-storage-daemon", "--blockdev", f"driver=file,node-name=disk,filename={image}", "--export",
            f"type=vhost-user-blk,id=disk,node-name=disk,addr.type=unix,addr.path={socket},num-queues=2")
        self.wait_for_socket("disk.socket", disk)
        modules = unpack_modules(self.folder, "virtio_pmem", "nd_pmem", "ext4", "virtio_blk")
        self.follow(self.start_qemu("pmem_read.sh", "-device", DEVICE + "fs", "-chardev", f"socket,id=disk,path={socket}",
                                    "-device", "vhost-user-blk-pci,chardev=disk", modules=modules), 90)
        took = {}
        for when, where, hundredths in re.findall(r"(?m)^took: (\w+) /(\w+) (\d+)", self.log("console")):
            took.setdefault(when, {"disk": [], "pmem": []})[where].append(max(1, int(hundredths)) / 100)
        for when, each in took.items():
            disk, pmem = (statistics.median(each[where]) for where in ("disk", "pmem"))
            print(f"\n# {when}: {size / MIB / disk:.0f} MiB/s from the disk, {size / MIB / pmem:.0f} from pmem: {disk / pmem:.2f} times",
                  end="", file=sys.stderr)
        self.assertEqual(set(took), {"cold", "warm", "cached"})

    # ---- ends at any moment ----

    def check_synced(self, synced):
        """All that the guests have said is synced is there, whole. @synced: of each boot, the number of its last record."""
        copy = replay(self.image, self.path("copy"))
        for boot, number in synced.items():
            records = read_file(copy, f"records-{boot}").decode().split("\n")
            self.assertEqual(records[:number], [f"record {i}" for i in range(1, number + 1)], f"boot {boot}")
            for block in range(max(1, number - 5), number + 1):
                self.assertEqual(sum_of(copy, f"block-{boot}-{block}"), read_file(copy, f"sum-{boot}-{block}").decode().strip())

    def run_until_killed(self, boot, pmem_first):
        """The number of the last record that was synced when QEMU is ended, or oriel-pmem and then QEMU, which can't go on with
        another back-end: 11.1 ends by an assertion of its own when there is one."""
        pmem = self.start_pmem("pmem", self.image, socket="socket")
        guest = self.start_guest("pmem_write.sh", "-device", DEVICE + "fs", arguments=f"boot={boot}")
        number, goal = 0, random.randint(1, 60)
        with open(self.path("console.log"), "ab") as log:
            for line in self.lines(guest, time.monotonic() + 150, log):
                self.assertNotIn("not ok", line)
                if match := re.fullmatch(r"synced (\d+)", line):
                    number = int(match[1])
                if number == goal:
                    break
        self.assertEqual(number, goal, self.tail())
        time.sleep(random.random() / 20)
        for process in (pmem, guest) if pmem_first else (guest, pmem):
            process.kill()
            process.wait()
            time.sleep(random.random() / 10)
        # What it had said before.
        rest = guest.stdout.read().decode(errors="replace")
        return max([number, *map(int, re.findall(r"synced (\d+)\r?\n", rest))])

    def test_killed(self):
        seed = os.environ.get("ORIEL_PMEM_SEED", str(time.time_ns()))
        random.seed(seed)
        print(f"\n# seed {seed}", file=sys.stderr)
        self.make_ext4(256 * MIB)
        synced = {}
        for boot in range(KILLS):
            synced[boot] = self.run_until_killed(boot, boot % 2 == 0)
            self.check_synced(synced)
        print(f"# {(KILLS + 1) // 2} times oriel-pmem, {KILLS // 2} times QEMU; {sum(synced.values())} records synced, none lost",
              file=sys.stderr)

    def host_image_size(self):
        return os.path.getsize(self.image)

    def host_host_tree(self, name):
        return self.host_tree(name)

    def host_image_sum(self, name):
        """What a machine would find that is started now."""
        return sum_of(replay(self.image, self.path("copy")), name)


if __name__ == "__main__":
    main()
