# SPDX-License-Identifier: BSD-2-Clause
"""oriel-media --device with the kernel's vivid, in a machine: v4l2-ctl streams by the proxy. With ORIEL_MEDIA_COMPLIANCE=on,
as in tools/check-long, v4l2-compliance finds of the proxy what it finds of the node itself, which takes minutes."""
import os
import shutil
import socket

from lab import BUILD, ORIEL, ROOT, Case, add_from_lab, copy, in_lab, libraries, main, unpack_modules

OURS = [ORIEL, os.path.join(BUILD, "oriel-media"), os.path.join(BUILD, "liboriel-v4l2.so")]


class MediaProxy(Case):
    def test_vivid(self):
        *modules, vivid = unpack_modules(self.folder, "vivid")

        def add(tree):
            for program in "v4l2-ctl", "v4l2-compliance":
                add_from_lab(tree, "/usr/bin/" + program)
                os.symlink("/usr/bin/" + program, f"{tree}/bin/{program}")
            for program in OURS:
                copy(program, f"{tree}/bin/{os.path.basename(program)}")
                # The lab's C library is newer.
                for path in libraries(program):
                    copy(in_lab(path) if os.path.exists(ROOT + path) else path, tree + path)
            shutil.copy(vivid, tree + "/vivid.ko")

        # The machine has no device of vhost-user, but connects to one.
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.socket)
            listener.listen()
            compliance = os.environ.get("ORIEL_MEDIA_COMPLIANCE", "off")
            self.follow(self.start_qemu("media_proxy.sh", modules=modules, add=add, arguments=f"compliance={compliance}"), 250)


if __name__ == "__main__":
    main()
