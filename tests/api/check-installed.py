# SPDX-License-Identifier: BSD-2-Clause
"""What `meson install --strip` brings is there, and stripped: check-installed.py SOURCE WHERE PART...

WHERE is a build folder, which is installed somewhere first, or a prefix that was installed to. PART is "programs", "shared"
or "static". What the samples do that are installed is for samples/test.py."""
import glob
import os
import subprocess
import sys
import tempfile

source, where, *parts = sys.argv[1:]
PROGRAMS = ["oriel", "oriel-fs", "oriel-gpu", "oriel-media", "oriel-pmem", "oriel-rng"]
# By what it is a part of; each pattern finds something below the prefix.
FILES = {
    "programs": [f"bin/{name}" for name in PROGRAMS] + [f"share/qemu/vhost-user/50-{name}.json" for name in PROGRAMS[1:]] +
                [f"lib/systemd/system/{name}@.{kind}" for name in PROGRAMS[1:] for kind in ("service", "socket")] +
                ["libexec/oriel/*oriel-v4l2.so"] +
                [f"share/{folder}/{name}" for program in PROGRAMS for folder, name in
                 (("bash-completion/completions", program), ("zsh/site-functions", f"_{program}"),
                  ("fish/vendor_completions.d", f"{program}.fish"))],
    "shared": ["lib*/**/liboriel.so", "lib*/**/liboriel.so.?", "lib*/**/liboriel.so.?.?.?"],
    "static": ["lib*/**/liboriel.a"],
}
ALWAYS = ["lib*/**/pkgconfig/oriel.pc", "share/oriel/declarations.h", "share/doc/oriel/LICENSE", "include/oriel/version.h"]
# What the tree has, and where it is installed: the pages with what they show.
TREE = {"*.md": "share/doc/oriel", "docs/*.md": "share/doc/oriel/docs", "docs/*.svg": "share/doc/oriel/docs",
        "samples/*.c": "share/doc/oriel/samples", "include/oriel/*.h": "include/oriel"}


def expected():
    patterns = ALWAYS + [pattern for part in parts for pattern in FILES[part]]
    for pattern, folder in TREE.items():
        found = glob.glob(os.path.join(source, pattern))
        assert found, pattern
        patterns += [f"{folder}/{os.path.basename(path)}" for path in found]
    return patterns


def sections(path):
    return subprocess.run(["readelf", "-SW", path], capture_output=True, text=True).stdout


def look(prefix):
    wrong = [f"not installed: {pattern}" for pattern in expected() if not glob.glob(f"{prefix}/{pattern}", recursive=True)]
    wrong += [f"installed, but not asked for: {pattern}" for part in set(FILES) - set(parts) for pattern in FILES[part]
              if glob.glob(f"{prefix}/{pattern}", recursive=True)]
    paths = [path for path in glob.glob(f"{prefix}/**", recursive=True) if os.path.isfile(path)]
    linked = [path for path in paths if open(path, "rb").read(4) == b"\x7fELF"]
    wrong += [f"not stripped: {path}" for path in linked if " .symtab " in sections(path) or ".debug_info" in sections(path)]
    print(f"{len(paths)} files, {len(linked)} of them programs and libraries")
    print("\n".join(wrong))
    return 1 if wrong else 0


def main():
    if not os.path.exists(f"{where}/meson-private"):
        return look(where)
    with tempfile.TemporaryDirectory() as root:
        subprocess.run(["meson", "install", "-C", where, "--no-rebuild", "--strip", "--destdir", root],
                       stdout=subprocess.DEVNULL, check=True)
        licences = glob.glob(f"{root}/**/share/doc/oriel/LICENSE", recursive=True)
        return look(licences[0].removesuffix("/share/doc/oriel/LICENSE")) if licences else 1


sys.exit(main())
