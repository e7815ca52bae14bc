# SPDX-License-Identifier: BSD-2-Clause
"""Back-ends of others under our front-end."""
import json
import os
import shutil
import subprocess

from lab import ORIEL, PEERS, Case, main, tree_sum, wait_for


class Virtiofsd(Case):
    def start_virtiofsd(self, *options):
        daemon = self.start_in_lab("virtiofsd", "/usr/libexec/virtiofsd", "--socket-path", self.inside("own.socket"),
                                   "--shared-dir", self.inside("share"), "--tag", "share", *options)
        self.wait_for_socket("own.socket", daemon)
        self.trace("own.socket")

    def mount(self):
        mountpoint = self.path("mnt")
        os.mkdir(mountpoint)
        self.mounting = self.start("mount", ORIEL, "mount", "socket", mountpoint)
        wait_for(lambda: os.path.ismount(mountpoint) or self.mounting.poll() is not None, "the mount")
        self.assertIsNone(self.mounting.poll(), self.log("mount"))
        return mountpoint

    def unmount(self):
        self.assertEqual(self.end(self.mounting), 0)
        self.assertFalse(os.path.ismount(self.path("mnt")))

    def test_probe(self):
        self.start_virtiofsd()
        found = json.loads(self.run_ok(ORIEL, "probe", "--json", "--virtio-id", "26", "socket"))
        self.assertIn("VIRTIO_F_VERSION_1", found["device_features"])
        self.assertIn("CONFIGURE_MEM_SLOTS", found["protocol_features"])
        self.assertEqual(bytes.fromhex(found["config"])[:36].rstrip(b"\0"), b"share")
        self.assertEqual(found["shmem"], [])

    def test_tree(self):
        """A tree is copied in, read back and compared with what is on the host."""
        self.make_tree("tree", 500)
        self.start_virtiofsd()
        mountpoint = self.mount()
        self.assertEqual(tree_sum(mountpoint + "/tree"), tree_sum(self.share + "/tree"))
        shutil.copytree(mountpoint + "/tree", mountpoint + "/copy")
        self.assertEqual(tree_sum(self.share + "/copy"), tree_sum(self.share + "/tree"))
        os.rename(mountpoint + "/copy", mountpoint + "/renamed")
        shutil.rmtree(mountpoint + "/renamed")
        self.assertEqual(os.listdir(self.share), ["tree"])
        self.unmount()

    def exercise(self, *args):
        self.run_ok(os.path.join(PEERS, "exercise"), *args)

    def test_exercise(self):
        self.start_virtiofsd("--thread-pool-size", "4")
        mountpoint = self.mount()
        for seed in range(1, 5):
            self.exercise("random", f"{mountpoint}/random-{seed}", seed, 2000, seed * seed * 100000)
        self.exercise("writers", mountpoint, 8)
        self.exercise("grow", mountpoint + "/grown")
        sums = tree_sum(mountpoint)
        self.unmount()
        self.assertEqual(tree_sum(self.share), sums)

    def test_fio(self):
        """Written and verified by fio, by 8 jobs at once."""
        self.start_virtiofsd("--thread-pool-size", "4")
        mountpoint = self.mount()
        out = self.run_ok("fio", "--name=verify", "--directory=" + mountpoint, "--rw=randrw", "--size=4M", "--bsrange=1k-64k",
                          "--numjobs=8", "--ioengine=psync", "--verify=crc32c", "--verify_fatal=1", "--do_verify=1", "--fsync=32",
                          "--output-format=json", timeout=120)
        jobs = json.loads(out[out.index("{"):])["jobs"]
        self.assertEqual([job["error"] for job in jobs], [0] * 8)
        self.unmount()


class Vsock(Case):
    def test_probe(self):
        daemon = self.start_in_lab("vhost-device-vsock", "vhost-device-vsock", "--guest-cid=4", "--socket=" + self.inside("own.socket"),
                                   "--uds-path=" + self.inside("vsock"))
        self.wait_for_socket("own.socket", daemon)
        self.trace("own.socket")
        found = json.loads(self.run_ok(ORIEL, "probe", "--json", "--virtio-id", "19", "socket"))
        self.assertIn("VIRTIO_F_VERSION_1", found["device_features"])
        self.assertEqual(int.from_bytes(bytes.fromhex(found["config"])[:8], "little"), 4)


if __name__ == "__main__":
    main()
