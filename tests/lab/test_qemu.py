# SPDX-License-Identifier: BSD-2-Clause
"""oriel-fs behind stock QEMU, under stock Linux."""
import json
import os
import signal
import socket

from lab import ORIEL_FS, Case, Monitor, main, wait_for


class Qemu(Case):
    DAX = ("-device", "vhost-user-test-device-pci,id=dev,virtio-id=26,num_vqs=2,config_size=44,chardev=fs")

    def setUp(self):
        super().setUp()
        self.write("whole", b"x" * 8192)

    def log_of_fs(self):
        return self.log("oriel-fs")

    # ---- with a window ----

    def run_dax(self, mode):
        self.make_tree("tree", 2000)
        self.write("large", bytes(range(256)) * (80 << 12))
        self.start_fs("--tag", "share", "--dax-window", "64M")
        self.follow(self.start_qemu("dax.sh", *self.DAX, arguments="mode=" + mode), 200)
        # Said once, although every mount tries again.
        self.assertEqual(self.log_of_fs().count("can't map the last page"), 1, self.log_of_fs())

    def test_dax_always(self):
        self.run_dax("always")

    def test_dax_inode(self):
        self.run_dax("inode")

    def test_reboot(self):
        self.make_tree("tree", 100)
        self.boots = 0
        self.start_fs("--tag", "share", "--dax-window", "64M")
        self.follow(self.start_qemu("reboot.sh", *self.DAX), 60)
        self.assertEqual(self.boots, 2)

    def host_boots(self):
        self.boots += 1
        return self.boots

    # ---- where a window is refused ----

    def run_refused(self, words, *options):
        self.make_tree("tree", 100)
        self.start_fs("--tag", "share", *options)
        self.follow(self.start_qemu("refused.sh", *self.DAX), 60)
        self.assertIn(words, self.log_of_fs())

    def test_readonly_is_refused(self):
        self.run_refused("--allow-writable-dax", "--readonly", "--dax-window", "64M")

    def test_large_window_is_refused(self):
        self.run_refused("--dax-window=480M is safe", "--dax-window", "1G")

    def test_readonly_by_name(self):
        self.make_tree("tree", 100)
        self.start_fs("--tag", "share", "--dax-window", "64M", "--readonly", "--allow-writable-dax")
        self.follow(self.start_qemu("readonly.sh", *self.DAX), 60)
        self.assertEqual(self.read("whole"), b"x" * 8192)

    # ---- without ----

    def test_no_dax(self):
        self.make_tree("tree", 300)
        self.start_fs("--tag", "share")
        self.follow(self.start_qemu("nodax.sh", "-device", "vhost-user-fs-pci,chardev=fs,tag=share"), 120)

    # ---- QEMU as the socket's server, so that a back-end may come again ----

    def connect_fs(self):
        wait_for(lambda: os.path.exists(self.socket), "QEMU's socket")
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self.socket)
            self.fs = self.start("oriel-fs", ORIEL_FS, "--fd", connection.fileno(), "--shared-dir", "share", "--tag",
                                 "share", "--dax-window", "64M", pass_fds=[connection.fileno()])

    def host_restart(self):
        self.end(self.fs, signal.SIGKILL)
        self.connect_fs()

    def test_killed_and_restarted(self):
        self.make_tree("tree", 100)
        guest = self.start_qemu("restart.sh", *self.DAX, server=True)
        self.connect_fs()
        self.follow(guest, 60)

    # ---- what QEMU says of it ----

    def test_monitor(self):
        self.start_fs("--tag", "share", "--dax-window", "64M")
        self.start_qemu("nodax.sh", *self.DAX)
        wait_for(lambda: os.path.exists(self.path("qmp")), "QEMU's monitor")
        monitor = Monitor(self.path("qmp"))
        devices = monitor.command("x-query-virtio")["return"]
        status = monitor.command("x-query-virtio-status", path=devices[0]["path"])["return"]
        monitor.close()
        with open(self.path("status.json"), "w") as file:
            json.dump(status, file, indent=2)
        self.assertIn("SHMEM", json.dumps(status["vhost-dev"]["protocol-features"]))


if __name__ == "__main__":
    main()
