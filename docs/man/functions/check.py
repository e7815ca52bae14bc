# SPDX-License-Identifier: BSD-2-Clause
"""The generated man pages: check.py FOLDER HEADER... | --groff FOLDER

Every function that a header declares has a page or an alias of one, with a line in NAME, its declaration and a
description; every struct that may grow has one that describes each of its members; every page that is named is there.
With --groff: no page makes groff complain."""
import os
import re
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
failures = 0


def expect(true, text):
    global failures
    if not true:
        print(text)
        failures += 1


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def plain(text):
    """Without fonts and escapes."""
    return re.sub(r"\\f[BIP]|\\&", "", text).replace("\\-", "-").replace("\\(aq", "'")


def section(page, name):
    match = re.search(rf"^\.SH {name}\n(.*?)(?=^\.SH |\Z)", page, re.M | re.S)
    return match.group(1) if match else ""


def declared(text):
    """By another way than that of headers.py."""
    text = re.sub(r"^#.*$", "", re.sub(r"/\*.*?\*/", "", text, flags=re.S), flags=re.M)
    return set(re.findall(r"^[a-z][\w\s\*]*?\b(oriel_\w+)\(", text, re.M))


def sized(text):
    return {name: re.sub(r"/\*.*?\*/", "", body, flags=re.S)
            for name, body in re.findall(r"^struct (\w+) \{\n\s*size_t struct_size;(.*?)^\};", text, re.M | re.S)}


def described(page, name):
    """The text below @name in a list, or all of a description that is none."""
    text = section(page, "DESCRIPTION")
    items = re.findall(r"^\.TP\n(.*)\n((?:(?!\.TP\n).*\n?)*)", text, re.M)
    found = [body for tag, body in items if f"{name}()" in tag.split(", ")]
    return "".join(found) if items else text


def check_function(folder, name):
    path = os.path.join(folder, f"{name}.3")
    if not os.path.exists(path):
        expect(False, f"{name}() has no page")
        return
    page = read(path)
    alias = re.fullmatch(r"\.so man3/(\w+\.3)\n", page)
    page = plain(read(os.path.join(folder, alias.group(1))) if alias else page)
    lines = [line.split(" - ", 1) for line in section(page, "NAME").splitlines() if line != ".br"]
    expect(any(name in line[0].split(", ") and line[-1].strip() for line in lines), f"{name}.3: NAME does not say what it is")
    expect(re.search(rf"\b{name}\(", section(page, "SYNOPSIS")), f"{name}.3: SYNOPSIS lacks it")
    expect("#include <oriel/" in section(page, "SYNOPSIS"), f"{name}.3: SYNOPSIS lacks the header")
    expect(re.search(r"\w", described(page, name)), f"{name}.3: no description")


def check_struct(folder, name, body):
    path = os.path.join(folder, f"{name}.3")
    if not os.path.exists(path):
        expect(False, f"struct {name} has no page")
        return
    page = plain(read(path))
    expect(re.search(r"\w", section(page, "DESCRIPTION")), f"{name}.3: no description")
    told = dict(re.findall(r"^\.TP\n(\w+)\n(.*)$", section(page, "MEMBERS"), re.M))
    for declaration in filter(str.strip, ["size_t struct_size"] + body.split(";")):
        member = (re.search(r"\(\*(\w+)\)\(", declaration) or re.search(r"(\w+)\s*$", declaration)).group(1)
        expect(told.get(member, "").strip(), f"{name}.3: {member} is not described")


def check_links(folder):
    names = set(os.listdir(folder)) | {"liboriel.3"}
    for file in sorted(names - {"liboriel.3"}):
        for link in re.findall(r"\b(oriel_[\w.]+|liboriel)\(3\)", plain(read(os.path.join(folder, file)))):
            expect(f"{link}.3" in names, f"{file}: {link}(3) is not there")


def check_groff(folder):
    groff = shutil.which("groff")
    if not groff:
        print("SKIP: groff is not installed")
        sys.exit(77)
    pages = [file for file in sorted(os.listdir(folder)) if file.endswith(".3") and not read(os.path.join(folder, file)).startswith(".so ")]
    expect(pages, f"{folder}: no pages")
    done = subprocess.run([groff, "-man", "-Tutf8", "-ww", "-z", *pages], cwd=folder, capture_output=True, text=True)
    expect(done.returncode == 0 and not done.stderr, done.stderr.strip())
    return f"{len(pages)} pages"


def check_pages(folder, headers):
    functions, structs = set(), {}
    for header in headers:
        functions |= declared(read(header))
        structs.update(sized(read(header)))
    for name in sorted(functions):
        check_function(folder, name)
    for name in sorted(structs):
        check_struct(folder, name, structs[name])
    check_links(folder)
    expect(functions and structs, "no headers")
    return f"{len(functions)} functions and {len(structs)} structs"


if sys.argv[1] == "--groff":
    checked = check_groff(sys.argv[2])
else:
    checked = check_pages(sys.argv[1], sys.argv[2:])
print(f"{checked}, {failures} failures")
sys.exit(1 if failures else 0)
