# SPDX-License-Identifier: BSD-2-Clause
"""oriel run's control socket, with QEMU's own client at the other end."""
import json
import os
import shutil

from lab import HERE, ORIEL, Case, main

GUEST = os.path.join(os.path.abspath(os.environ["ORIEL_BUILD"]), "guest/guest")


class Qmp(Case):
    def test_client(self):
        if not os.access("/dev/kvm", os.R_OK | os.W_OK):
            self.skipTest("there is no KVM here")
        self.write("file", bytes(range(256)) * 20000)
        shutil.copy(os.path.join(HERE, "qmp_client.py"), self.path("client.py"))
        machine = self.start("run", ORIEL, "run", "--kernel", GUEST, "--memory", "32M", "--cmdline", "test=wait", "--console", "none",
                             "--share", "share,tag=share,dax=64M", "--control", "qmp")
        self.wait_for_socket("qmp", machine)
        found = json.loads(self.run_in_lab("python3", self.inside("client.py"), self.inside("qmp")).splitlines()[-1])
        self.assertEqual(machine.wait(10), 0, self.log("run"))
        self.assertFalse(os.path.exists(self.path("qmp")))

        self.assertRegex(found["query-version"]["package"], "^Oriel ")
        self.assertEqual(found["query-status"], {"running": True, "status": "running"})
        self.assertEqual(found["stopped"], {"running": False, "status": "paused"})
        self.assertEqual(found["continued"], {"running": True, "status": "running"})
        self.assertIn({"name": "oriel-query-shmem"}, found["query-commands"])
        self.assertEqual(found["x-query-virtio"][0]["name"], "virtio-fs")
        status = found["x-query-virtio-status"]
        self.assertIn("VHOST_USER_PROTOCOL_F_SHMEM_MAP", status["vhost-dev"]["protocol-features"]["protocols"])
        self.assertIn("VIRTIO_F_VERSION_1", status["host-features"]["transports"])
        self.assertEqual(found["oriel-query-shmem"]["regions"][0]["size"], 64 << 20)
        self.assertEqual([refusal[0] for refusal in found["refused"]],
                         ["CommandNotFound", "GenericError", "DeviceNotFound", "GenericError"])
        self.assertEqual(found["shutdown"], {"guest": False, "reason": "host-qmp-quit"})


if __name__ == "__main__":
    main()
