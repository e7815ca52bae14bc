# SPDX-License-Identifier: BSD-2-Clause
"""oriel-fs under user-mode Linux, whose virtio_uml is a front-end of its own."""
from lab import Case, main


class Uml(Case):
    def test_exercise(self):
        self.make_tree("tree", 300)
        self.add_fio()
        self.start_fs("--tag", "share")
        self.follow(self.start_uml("nodax.sh"), 120)


if __name__ == "__main__":
    main()
