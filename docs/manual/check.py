# SPDX-License-Identifier: BSD-2-Clause
"""The HTML manual against the pages that it is made of: check.py FOLDER SOURCE MAN-PAGE...

Every page and every man page is there; every link and picture leads to a file, and to a heading of it; tables, lists and pieces of
code are as many as in the source, and no sign of Markdown is left."""
import os
import re
import sys
import urllib.parse
from html.parser import HTMLParser

folder, source, *man_pages = sys.argv[1:]
failures = 0


def expect(true, text):
    global failures
    if not true:
        print(text)
        failures += 1


class Page(HTMLParser):
    def __init__(self, path):
        super().__init__()
        self.links, self.ids, self.tags, self.text, self.within = [], [], [], "", []
        with open(path, encoding="utf-8") as file:
            self.feed(file.read())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.links += [attributes[name] for name in ("href", "src") if attributes.get(name)]
        self.ids += [attributes["id"]] if "id" in attributes else []
        if "nav" not in self.within:
            self.tags.append(tag)
        if tag in ("nav", "code", "pre"):
            self.within.append(tag)

    def handle_endtag(self, tag):
        if tag in self.within:
            self.within.remove(tag)

    def handle_data(self, data):
        if not self.within:
            self.text += data


def look_links(name, page, pages):
    expect(len(page.ids) == len(set(page.ids)), f"{name}: two headings have the same id")
    for link in page.links:
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        expect(not path or os.path.exists(os.path.join(folder, path)), f"{name}: {link} is not there")
        other = pages.get(path or name)
        if anchor and other:
            expect(urllib.parse.unquote(anchor) in other.ids, f"{name}: no heading for {link}")


def look_guide(path, name, page):
    with open(os.path.join(source, path), encoding="utf-8") as file:
        text = file.read()
    plain = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    counts = {"pre": len(re.findall(r"^```", text, re.M)) // 2, "table": len(re.findall(r"^ *\|( *:?-+:? *\|)+$", plain, re.M)),
              "li": len(re.findall(r"^ *(?:-|\d+\.) ", plain, re.M)), "img": len(re.findall(r"!\[", plain))}
    for tag, n in counts.items():
        expect(page.tags.count(tag) == n, f"{name}: {page.tags.count(tag)} of {tag}, and {path} has {n}")
    for sign in re.findall(r"```|\]\(|\| ?---|\*\*|(?m:^#+ )|(?m:^- )", page.text):
        expect(False, f"{name}: {sign} is left of the Markdown")


def main():
    pages = {name: Page(os.path.join(folder, name)) for name in sorted(os.listdir(folder)) if name.endswith(".html")}
    for name, page in pages.items():
        look_links(name, page, pages)
    guides = ["README.md", "NEWS.md", "CONTRIBUTING.md", "tests/README.md"]
    guides += sorted(f"docs/{name}" for name in os.listdir(f"{source}/docs") if name.endswith(".md"))
    for path in guides:
        name = {"README.md": "index", "tests/README.md": "tests"}.get(path, os.path.basename(path)[:-3].lower()) + ".html"
        expect(name in pages, f"{path} is not in the manual")
        if name in pages:
            look_guide(path, name, pages[name])
    for path in man_pages:
        with open(path, encoding="utf-8") as file:
            if not file.readline().startswith(".so "):
                expect(os.path.basename(path) + ".html" in pages, f"{os.path.basename(path)} is not in the manual")
    print(f"{len(pages)} pages, {sum(len(page.links) for page in pages.values())} links, {failures} failures")
    return 1 if failures else 0


sys.exit(main())
