# SPDX-License-Identifier: BSD-2-Clause
"""What tests that run oriel conform against others have in common. Each result has to be what docs/conformance.md says of that
version. One that is not there yet is compared with the version that is: what differs is printed, and may not be much. The results
are left in the lab's folder "conformance", for docs/update-conformance.py."""
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys

from lab import HERE, KEPT, ORIEL, ROOT, Case

spec = importlib.util.spec_from_file_location("page", os.path.join(HERE, "../../docs/update-conformance.py"))
page = importlib.util.module_from_spec(spec)
spec.loader.exec_module(page)

# Some take a short read for the end of the connection, or for a message: whether one comes is a matter of timing.
ANY = ("pass", "FAIL", "FAIL (died)")
UNSTABLE = {"byte-by-byte": ANY}
# Whether it looks for the payload before the connection has ended, or finds both at once.
ENDS_WITHIN = {"end-after-header": ANY, "end-in-payload": ANY}
UNSTABLE_OF = {"passt ": ENDS_WITHIN, "vhost-user-gpu ": ENDS_WITHIN, "virtiofsd in C ": ENDS_WITHIN}


def version(package, root=ROOT):
    words = subprocess.run(["chroot", root, "dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True,
                           check=True).stdout
    return re.sub(r"^\d+:|[+-].*$", "", words)


def known(suite, peer):
    """The name of the peer's column on the page, or of another version's, and its {case: cell}."""
    table = page.read_page()[suite]
    names = [name for name in table if name == peer] or [name for name in table if name.split()[:-1] == peer.split()[:-1]]
    return (names[-1], table[names[-1]]) if names else (None, {})


class Conforming(Case):
    def conform(self, suite, peer, *args, limit=600):
        """Run the suite, keep its result, and compare it with what is written."""
        name = self.id().split(".")[-1].removeprefix("test_")
        at = args.index("--")
        result = subprocess.run([ORIEL, "conform", suite, *args[:at], "--name", peer, "--json", name + ".json", "--log",
                                 "peer.log", *args[at:]], cwd=self.folder, capture_output=True, text=True, timeout=limit)
        with open(self.path("conform.log"), "w") as file:
            file.write(result.stdout + result.stderr)
        self.assertIn(result.returncode, (0, 1), result.stderr)
        with open(self.path(name + ".json")) as file:
            cases = {case["name"]: page.cell(case) for case in json.load(file)["cases"]}
        os.makedirs(os.path.join(KEPT, "../conformance"), exist_ok=True)
        shutil.copy(self.path(name + ".json"), os.path.join(KEPT, "../conformance"))

        listed = self.run_ok(ORIEL, "conform", suite, "--list")
        self.assertGreater(len(cases), 80)
        self.assertEqual(len(re.findall(r"^\S+", listed, re.M)), len(cases), "the suite did not come to its end")
        print(f"\n# {peer}: {sum(c in ('pass', 'refused') for c in cases.values())} passed, "
              f"{sum(c.startswith('FAIL') for c in cases.values())} failed, "
              f"{sum(c == 'skip' for c in cases.values())} skipped", file=sys.stderr)
        column, written = known(suite, peer)
        self.assertTrue(written, f"{peer} is not in docs/conformance.md: docs/update-conformance.py puts it there")
        unstable = dict(UNSTABLE)
        for name in filter(peer.startswith, UNSTABLE_OF):
            unstable |= UNSTABLE_OF[name]
        differing = {case: outcome for case, outcome in cases.items()
                     if outcome != written.get(case) and outcome not in unstable.get(case, ())}
        if column == peer:
            self.assertEqual(differing, {}, "this is not what docs/conformance.md says")
        else:
            print(f"\n# {peer} is not in docs/conformance.md; unlike {column}: {differing}", file=sys.stderr)
            self.assertLess(len(differing), 10)
        return cases

    def command(self, *args, options=(), root=ROOT):
        return ("--", os.path.join(HERE, "enter"), *options, root, *args)
