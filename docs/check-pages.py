# SPDX-License-Identifier: BSD-2-Clause
"""The pages against what they speak of: check-pages.py SOURCE-ROOT ORIEL ORIEL-FS ORIEL-GPU ORIEL-PMEM ORIEL-RNG.

Every option that --help prints is in the man page and the other way round, with the same argument; every header and no
function that is not there is in liboriel(3); functions of the code that the other pages name are there; the program in
liboriel(3) is one of samples/, and so is what docs/library.md quotes, of each; docs/code-map.md has every folder, and no path
that is not there; links between the pages lead somewhere."""
import os
import re
import subprocess
import sys

root, oriel, oriel_fs, oriel_gpu, oriel_media, oriel_pmem, oriel_rng = sys.argv[1:]
failures = 0


def read(*path):
    with open(os.path.join(root, *path), encoding="utf-8") as file:
        return file.read()


def expect(true, text):
    global failures
    if not true:
        print(text)
        failures += 1


def section(page, name):
    match = re.search(rf"^# {name}\n(.*?)(?=^# |\Z)", page, re.M | re.S)
    return match.group(1) if match else ""


def compare(page, what, help_has, page_has):
    for item in sorted(help_has - page_has):
        expect(False, f"{page}: {what} {item} of --help is missing")
    for item in sorted(page_has - help_has):
        expect(False, f"{page}: {what} {item} is not in --help")
    expect(help_has, f"{page}: --help shows no {what}")


def options_of(*command):
    text = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True).stdout
    return {item.replace("[=", "=") for item in re.findall(r"^  --([\w-]+(?:\[?=\w+)?)", text, re.M)}


def check_options(page, *command):
    compare(page, "option", options_of(*command), options_in(page))


def check_daemon(page, command):
    """What is not oriel-fs(1)'s is described, and so may the others be; all are named."""
    common = {item for item in options_of(command) if item in options_of(oriel_fs)}
    named = set(re.findall(r"\*--([\w-]+)\*", section(read("docs", "man", page), "OPTIONS")))
    compare(page, "option", options_of(command) - common, options_in(page) - common)
    compare(page, "option", {item.split("=")[0] for item in options_of(command)}, named)


def options_in(page):
    rows = re.findall(r"^\*--([\w-]+)\*(?:\[?=_(\w+)_\]?)?(?:\+\+)?$", section(read("docs", "man", page), "OPTIONS"), re.M)
    return {f"{name}={argument}" if argument else name for name, argument in rows}


def check_commands(page, command):
    text = subprocess.run([command, "--help"], capture_output=True, text=True, check=True).stdout
    names = set(re.findall(r"^  (\w+)", text, re.M))
    compare(page, "command", names, set(re.findall(r"^\*(\w+)\*$", section(read("docs", "man", page), "COMMANDS"), re.M)))
    for name in names:
        check_options(f"oriel-{name}.1.scd", command, name)


def check_library(page):
    text, declared = read("docs", "man", page), set()
    headers = sorted(os.listdir(os.path.join(root, "include", "oriel")))
    for header in [name for name in headers if name.endswith((".h", ".h.in"))]:
        title = header.removesuffix(".in")
        expect(section(text, f"ORIEL/{title.upper()}"), f"{page}: no section on oriel/{title}")
        declared |= set(re.findall(r"\b(oriel_\w+)\(", read("include", "oriel", header)))
        declared |= set(re.findall(r"^struct (\w+) \{", read("include", "oriel", header), re.M))
    named = set(re.findall(r"\b(oriel_\w+)\*?\(", text))
    for name in sorted(named - declared):
        expect(False, f"{page}: {name}() is in no header")
    expect(named, f"{page}: no function is named")


def check_conformance(page):
    text = read("docs", page)
    for suite, title in (("backend", "### Back-ends"), ("frontend", "### Front-ends")):
        listed = subprocess.run([oriel, "conform", suite, "--list"], capture_output=True, text=True, check=True).stdout
        table = text.split("<!-- conformance:begin -->")[1].split(title)[1].split("###")[0]
        compare(page, "case", set(re.findall(r"^([\w-]+)$", listed, re.M)), set(re.findall(r"^\| `([\w-]+)`", table, re.M)))


def check_programs(page, begin, source):
    blocks = re.findall(begin + r"\n(.*?)^```$", page, re.M | re.S)
    programs = [block for block in blocks if "int main(" in block]
    expect(len(programs) == 1, f"{source}: one program is looked for, {len(programs)} found")
    for program in programs:
        expect(program in read("samples", source), f"the program in the page is not samples/{source}")


def check_tutorial(page):
    samples = {name: read("samples", name) for name in os.listdir(os.path.join(root, "samples")) if name.endswith(".c")}
    quotes = re.findall(r"^```c\n(.*?)^```$", read("docs", page), re.M | re.S)
    for quote in quotes:
        expect(any(quote in text for text in samples.values()), f"{page}: in no sample:\n{quote}")
    for name, text in samples.items():
        expect(any(quote in text for quote in quotes), f"{page}: nothing of samples/{name}")
        expect(text.count("\n") <= 150, f"samples/{name} is too long to be read as one")


# Functions of the kernel and of C libraries that the pages name.
FOREIGN = {"fuse_flush", "open_tree"}


def check_functions(page, words):
    for name in re.findall(r"`(?:[a-z]\w*\()?(\w{2,})\(\)`", read("docs", page)):
        expect(name in words or name in FOREIGN or name.startswith("_"), f"{page}: there is no function {name}()")


def words_of_code():
    words = set()
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith((".", "build"))]
        for name in names:
            if name.endswith((".c", ".h", ".py", ".build")):
                words |= set(re.findall(r"\w+", read(folder, name)))
    return words


def check_code_map(page):
    """Which folders there should be is git's to say; where it has nothing to say, they are not looked for."""
    paths = set(re.findall(r"`((?:[\w.-]+/)+[\w.-]*)`", "".join(re.findall(r"^\| (`.*?) \|", read("docs", page), re.M))))
    for path in sorted(paths):
        expect(os.path.exists(os.path.join(root, path)), f"{page}: {path} is not there")
    listed = subprocess.run(["git", "-C", root, "ls-files"], capture_output=True, text=True)
    folders = {os.path.dirname(file) for file in listed.stdout.splitlines()} if listed.returncode == 0 else set()
    for folder in sorted(folder for folder in folders if folder and folder.count("/") < 3):
        expect(f"{folder}/" in paths, f"{page}: {folder}/ is missing")


def check_paths(*page):
    """Files that a page names from the root of the tree."""
    tops = "|".join(name for name in os.listdir(root) if os.path.isdir(os.path.join(root, name)) and name[0] != "." and
                    not name.startswith("build"))
    for path in sorted(set(re.findall(rf"`((?:{tops})/[\w./-]+\.\w+)`", read(*page)))):
        expect(os.path.exists(os.path.join(root, path)) or "NAME" in path, f"{page[-1]}: {path} is not there")


def anchors_of(text):
    heads = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


def check_links(*page):
    folder = os.path.join(root, *page[:-1])
    for target in re.findall(r"\]\(([^)\s:]+)\)", read(*page)):
        path, _, anchor = target.partition("#")
        file = os.path.join(folder, path) if path else os.path.join(root, *page)
        expect(os.path.exists(file), f"{page[-1]}: {target} is not there")
        if anchor and os.path.isfile(file):
            expect(anchor in anchors_of(read(os.path.relpath(file, root))), f"{page[-1]}: no heading #{anchor} in {path or page[-1]}")


WORDS = words_of_code()
for name in sorted(os.listdir(os.path.join(root, "docs"))):
    if name.endswith(".md"):
        check_functions(name, WORDS)
check_commands("oriel.1.scd", oriel)
check_options("oriel-fs.1.scd", oriel_fs)
check_daemon("oriel-gpu.1.scd", oriel_gpu)
check_daemon("oriel-media.1.scd", oriel_media)
check_daemon("oriel-pmem.1.scd", oriel_pmem)
check_daemon("oriel-rng.1.scd", oriel_rng)
check_library("liboriel.3.scd")
check_conformance("conformance.md")
check_programs(section(read("docs", "man", "liboriel.3.scd"), "EXAMPLES"), "^```", "frontend.c")
check_tutorial("library.md")
expect(read("README.md").startswith("```\nmake demo\nmake test\n```\n"), "README.md does not begin with the two commands")
expect(read("README.md").count("\n") < 150, "README.md is longer than 150 lines")
check_code_map("code-map.md")
for name in sorted(name for name in os.listdir(os.path.join(root, "docs")) if name.endswith(".md")):
    check_links("docs", name)
    check_paths("docs", name)
for name in ("README.md", "CONTRIBUTING.md", "NEWS.md"):
    check_links(name)
    check_paths(name)
check_links("tests", "README.md")
print(f"{failures} failures")
sys.exit(1 if failures else 0)
