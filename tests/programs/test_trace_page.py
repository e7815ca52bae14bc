# SPDX-License-Identifier: BSD-2-Clause
"""The page of oriel trace in a browser. Without one this fails: packages.txt has it."""
import os
import re
import shutil
import subprocess
import tempfile

import vhost_user as vu
from harness import ORIEL, main, run, wait_for
from trace_case import ByHand


class Page(ByHand):
    def browse(self, *options, fragment=""):
        chromium = shutil.which("chromium")
        self.assertTrue(chromium, "chromium is not installed (see packages.txt)")
        folder = tempfile.mkdtemp(dir=self.folder)
        result = subprocess.run(
            [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
             "--disable-sync", "--no-first-run", "--disable-dev-shm-usage", "--enable-logging=stderr", f"--user-data-dir={folder}",
             "--window-size=1500,1800", "--virtual-time-budget=3000", *options, f"file://{self.path('page.html')}{fragment}"],
            capture_output=True, text=True, timeout=120, env={**os.environ, "HOME": folder})
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual([line for line in result.stderr.split("\n") if "CONSOLE" in line], [])
        return result.stdout

    def dump(self, fragment=""):
        return self.browse("--dump-dom", fragment=fragment)

    def source(self):
        with open(self.path("page.html"), encoding="utf-8") as file:
            return file.read()

    def play(self, pair):
        """Two live mappings, one that was unmapped, one refused, and a message that breaks the rules."""
        pair.negotiate(64 << 20)
        fd = os.memfd_create("</script><b>picture")
        self.addCleanup(os.close, fd)
        os.ftruncate(fd, 4 << 20)
        pair.shmem(vu.SHMEM_MAP, 0, 2 << 20, flags=1, fd=fd)
        pair.shmem(vu.SHMEM_MAP, 4 << 20, 2 << 20, fd=fd)
        pair.shmem(vu.SHMEM_MAP, 8 << 20, 2 << 20, fd=fd)
        pair.shmem(vu.SHMEM_MAP, 0, 2 << 20, fd=fd, result=1)
        pair.shmem(vu.SHMEM_UNMAP, 8 << 20, 2 << 20)
        pair.ask(99, b"abc")

    def check(self, page):
        rows = re.findall(r'<div class="row message[^"]*"[^>]*data-n="(\d+)"', page)
        self.assertGreater(len(rows), 20)
        for name in ("GET_FEATURES", "SHMEM_MAP", "SHMEM_UNMAP", "request 99"):
            self.assertRegex(page, rf'<text class="label[^>]*>{name}</text>')
        self.assertRegex(page, r'<text class="label reply[^>]*>ok · [\d.]+ [µm]s</text>')
        self.assertRegex(page, r'<text class="label reply[^>]*>refused 1 · ')
        self.assertEqual(sorted(re.findall(r'class="mapping (\w+)[^"]*"[^>]*data-shm-offset="(\d+)"', page)),
                         [("ro", str(4 << 20)), ("ro", str(8 << 20)), ("rw", "0")])
        self.assertEqual(re.findall(r'class="refused" data-shm-offset="(\d+)"', page), ["0"])
        self.assertIn("the specification has no such message", page)
        self.assertRegex(page, r'<tr data-name="SHMEM_MAP">.*?</span>SHMEM_MAP</td><td>4</td><td>4</td><td class="no">1</td>')
        self.assertRegex(page, r'<span class="chip" title="negotiated">SHMEM_MAP</span>')

    def test_page(self):
        pair = self.begin("--html", self.path("page.html"))
        self.play(pair)
        self.done(pair)
        source = self.source()
        self.assertNotRegex(source, r"https?://(?!www\.w3\.org/2000/svg)")
        self.assertNotIn("</script><b>", source)
        first = self.messages(name="SHMEM_MAP", kind="request")[0]["n"]
        page = self.dump(f"#1.{first}")
        self.check(page)
        self.assertRegex(page, r'<aside id="detail"><h3 class="back">SHMEM_MAP</h3>')
        self.assertIn("memfd &lt;/script&gt;&lt;b&gt;picture, 4 MiB, read-write", page)
        picture = self.path("page.png")
        self.browse(f"--screenshot={picture}")
        self.assertGreater(os.path.getsize(picture), 10000)
        self.assertEqual(run(ORIEL, "trace", "--read", self.recording, "--html", self.path("page.html")).returncode, 0)
        self.assertEqual(self.source(), source)

    def test_a_page_that_was_cut_off(self):
        """A tracer that is killed leaves a page that shows what there was."""
        pair = self.begin("--html", self.path("page.html"))
        self.play(pair)
        wait_for(lambda: '"name":"request 99"' in self.source(), "the records")
        self.process.kill()
        self.process.wait()
        with open(self.path("page.html"), "a", encoding="utf-8") as file:
            file.write('{"type":"mess')
        self.check(self.dump())

    def test_a_long_session(self):
        pair = self.begin("--html", self.path("page.html"))
        pair.negotiate(64 << 20)
        fd = os.memfd_create("long")
        self.addCleanup(os.close, fd)
        for i in range(3000):
            pair.shmem(vu.SHMEM_MAP if i % 2 == 0 else vu.SHMEM_UNMAP, (i // 2 % 16) << 22, 2 << 20, fd=None if i % 2 else fd)
        self.done(pair)
        page = self.dump("#1.4000")
        self.assertIn("<b>6,011</b>", page)
        self.assertRegex(page, r'class="row message selected"[^>]*data-n="4000"')
        self.assertLess(page.count('class="row message'), 100)
        self.assertGreater(page.count('class="mapping ro'), 500)

    def test_an_empty_page(self):
        self.finish(self.start_trace("--html", self.path("page.html")))
        self.assertIn("No session was recorded", self.dump())


if __name__ == "__main__":
    main()
