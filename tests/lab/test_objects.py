# SPDX-License-Identifier: BSD-2-Clause
"""Virtio objects between two of our back-ends, which stock QEMU tells of each other: QEMU 11.1 asks an object's owner for
it without saying which (GET_SHARED_OBJECT without its UUID), so that none is found; and nothing else comes of that."""
import os

from lab import BUILD, Case, main, wait_for

OBJECTS_BACKEND = os.path.join(BUILD, "tests/peers/objects-backend")


SAID = """unknown: Remote I/O error
named: done
found: Remote I/O error
found again: Remote I/O error
removed: done
not found: Remote I/O error
"""


class Objects(Case):
    def test_qemu(self):
        sockets = "one.socket", "other.socket"
        process = self.start("objects", OBJECTS_BACKEND, *sockets)
        devices = []
        for name in sockets:
            self.wait_for_socket(name, process)
            devices += ["-chardev", f"socket,id={name[:-7]},path={self.inside(name)}",
                        "-device", f"vhost-user-test-device-pci,virtio-id=16,num_vqs=1,config_size=0,chardev={name[:-7]}"]
        self.start_in_lab("qemu", "qemu-system-x86_64", "-M", "q35,memory-backend=ram", "-accel", "tcg", "-m", "64", "-object",
                          "memory-backend-memfd,id=ram,size=64M,share=on", "-nodefaults", "-display", "none", *devices)
        wait_for(lambda: self.log("objects").count("\n") >= SAID.count("\n"), "what both have said")
        self.assertEqual(self.log("objects"), SAID)


if __name__ == "__main__":
    main()
