# SPDX-License-Identifier: BSD-2-Clause
"""oriel-fs in virtiofsd's place under the real virtme-ng, whose guests have the lab's own files as their root."""
import os
import shutil
import subprocess

from lab import HERE, ORIEL_FS, Case, kernel, main, wait_for

LIMIT = 300
COMMAND = "grep ' / ' /proc/mounts; cat {}; id -un"


class Virtme(Case):
    def users(self, path):
        """The processes that run a program."""
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.path.samestat(os.stat(f"/proc/{name}/exe"), os.stat(path)):
                    found.append(int(name))
            except OSError:
                pass
        return found

    def test_root_file_system(self):
        program, home = self.path("oriel-fs"), self.path("home")
        shutil.copy(ORIEL_FS, program)
        shutil.copy(os.path.join(HERE, "virtme.sh"), self.folder)
        os.mkdir(home)
        os.chown(home, 1000, 1000)
        self.write("file", b"of the root file system\n")
        vng = self.start_in_lab("vng", self.inside("virtme.sh"), self.inside("oriel-fs"), self.inside("home"), kernel(),
                                COMMAND.format(self.inside("share/file")))
        try:
            status = vng.wait(LIMIT)
        except subprocess.TimeoutExpired:
            status = self.end(vng)
        said = self.log("vng")
        self.assertEqual(status, 0, said)
        self.assertRegex(said, r"(?m)^ROOTFS / virtiofs ")
        self.assertRegex(said, r"(?m)^of the root file system")
        # It is found by its pid file, ended, and leaves nothing.
        wait_for(lambda: not self.users(program), "the end of oriel-fs", 60)
        self.assertEqual([name for name in os.listdir(home) if name.startswith("virtme")], [])


if __name__ == "__main__":
    main()
