# SPDX-License-Identifier: BSD-2-Clause
"""The pages and the man pages as HTML, each with a list of all: generate.py OUTPUT SOURCE MANDOC MAN-PAGE...

Python-Markdown makes those of the pages, mandoc those of the man pages. Links between them are rewritten, and what else a page
links to in the tree is copied beside them, so that the folder can be read anywhere, without a server and without a network."""
import html
import os
import posixpath
import re
import shutil
import subprocess
import sys

import markdown
from markdown.extensions.toc import TocExtension

# In the order of the list; what is not named follows.
GUIDES = ["README.md", "NEWS.md", "docs/fs.md", "docs/gpu.md", "docs/media.md", "docs/pmem.md", "docs/library.md", "docs/protocol.md",
          "docs/security.md", "docs/conformance.md", "docs/benchmarks.md"]
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} - Oriel</title>
<link rel="stylesheet" href="style.css">
</head>
<body>
<nav>
{nav}
</nav>
<main>
{body}
</main>
</body>
</html>
"""


def slug(text, separator):
    """Of a heading, as docs/check-pages.py has it."""
    return re.sub(r"[^\w -]", "", text.lower()).replace(" ", separator)


class Manual:
    def __init__(self, output, source, mandoc, man_pages):
        self.output, self.source, self.mandoc = output, source, mandoc
        docs = sorted(f"docs/{name}" for name in os.listdir(f"{source}/docs") if name.endswith(".md"))
        self.guides = GUIDES + [path for path in [*docs, "CONTRIBUTING.md", "tests/README.md"] if path not in GUIDES]
        self.man = {os.path.basename(path): path for path in man_pages}
        self.targets = {page: f"{self.man_target(path)}.html" for page, path in self.man.items()}

    def man_target(self, path):
        """A function that shares a page is in that of the first."""
        with open(path, encoding="utf-8") as file:
            shared = re.match(r"\.so man3/(\S+)", file.readline())
        return shared.group(1) if shared else os.path.basename(path)

    def guide_target(self, path):
        names = {"README.md": "index", "tests/README.md": "tests"}
        return names.get(path, os.path.basename(path).removesuffix(".md").lower()) + ".html"

    def nav(self, current):
        commands = sorted((page for page in self.man if page.endswith(".1")))
        headers = ["liboriel.3"] + sorted(page for page in self.man if page.endswith(".h.3"))
        groups = {
            "Oriel": [(self.title(path), self.guide_target(path)) for path in self.guides if path in GUIDES],
            "Commands": [(page.removesuffix(".1"), self.targets[page]) for page in commands],
            "Functions": [(page.removesuffix(".3").replace("oriel_", "oriel/"), self.targets[page]) for page in headers],
            "To work on it": [(self.title(path), self.guide_target(path)) for path in self.guides if path not in GUIDES],
        }
        lines = []
        for name, rows in groups.items():
            lines += [f"<p>{name}</p>"] * bool(rows)
            for title, target in rows:
                mark = ' aria-current="page"' if target == current else ""
                lines.append(f'<a href="{target}"{mark}>{html.escape(title)}</a>')
        return "\n".join(lines)

    def text_of(self, path):
        with open(f"{self.source}/{path}", encoding="utf-8") as file:
            return file.read()

    def title(self, path):
        return re.search(r"^# (.*)$", self.text_of(path), re.M).group(1).replace("`", "")

    def link(self, page, target):
        """Of a page at @page in the tree: to another page, or to a copy of a file."""
        if re.match(r"[a-z]+:|#", target):
            return target
        path, _, anchor = target.partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page), path))
        man = re.match(r"docs/man/(.*)\.scd$", path)
        if path in self.guides:
            return self.guide_target(path) + (f"#{anchor}" if anchor else "")
        if man and man.group(1) in self.targets:
            return self.targets[man.group(1)]
        copy = f"{self.output}/files/{path}"
        os.makedirs(os.path.dirname(copy), exist_ok=True)
        if os.path.isdir(f"{self.source}/{path}"):
            shutil.copytree(f"{self.source}/{path}", copy, dirs_exist_ok=True)
        else:
            shutil.copy(f"{self.source}/{path}", copy)
        return f"files/{path}"

    def to_man(self, text, pattern):
        """Names of man pages that are here, as NAME(3), become links."""
        def mark(match):
            page = f"{match.group('name')}.{match.group('section')}"
            return f'<a href="{self.targets[page]}">{match.group()}</a>' if page in self.targets else match.group()
        return re.sub(pattern, mark, text)

    def to_function(self, match):
        target = self.targets.get(f"{match.group(1)}.3")
        return f'<a href="{target}">{match.group()}</a>' if target else match.group()

    def guide(self, path):
        pieces = re.split(r"(?ms)^(```.*?^```$)", self.text_of(path))
        # A list may begin without an empty line before it, but not so for Python-Markdown.
        pieces[::2] = [re.sub(r"(?m)^([^\s|-].*)\n(?=- )", r"\1\n\n", piece) for piece in pieces[::2]]
        body = markdown.markdown("".join(pieces), tab_length=2, extensions=["tables", "fenced_code", "sane_lists", TocExtension(slugify=slug)])
        body = re.sub(r'(href|src)="([^"]*)"', lambda match: f'{match.group(1)}="{self.link(path, html.unescape(match.group(2)))}"', body)
        body = body.replace("<table>", '<div class="table"><table>').replace("</table>", "</table></div>")
        body = re.sub(r"<code>(oriel_\w+)\(\)</code>", self.to_function, body)
        return self.to_man(body, r"\b(?P<name>(?:lib)?oriel[\w.-]*)\((?P<section>\d)\)")

    def man_page(self, page):
        said = subprocess.run([self.mandoc, "-T", "html", "-O", "fragment", self.man[page]], check=True, capture_output=True, text=True)
        body = re.sub(r'<table class="(head|foot)">.*?</table>\n', "", said.stdout, flags=re.S)
        # Behind a bullet scdoc moves the place of printing and writes no space; mandoc leaves that out.
        body = re.sub(r'(<div class="Bd-indent">)&#x2022;', r"\1&#x2022; ", body)
        body = re.sub(r"<(/?)h2\b", r"<\1h3", body)
        body = re.sub(r"<(/?)h1\b", r"<\1h2", body)
        name, section = page.rsplit(".", 1)
        return f"<h1>{name}({section})</h1>\n" + self.to_man(body, r"<b>(?P<name>[\w.-]+)</b>\((?P<section>\d)\)")

    def write(self, target, title, body):
        with open(f"{self.output}/{target}", "w", encoding="utf-8") as file:
            file.write(PAGE.format(title=html.escape(title), nav=self.nav(target), body=body))

    def make(self):
        shutil.rmtree(self.output, ignore_errors=True)
        os.makedirs(self.output)
        shutil.copy(os.path.join(os.path.dirname(os.path.abspath(__file__)), "style.css"), self.output)
        for path in self.guides:
            self.write(self.guide_target(path), self.title(path), self.guide(path))
        for page in self.man:
            if self.targets[page] == f"{page}.html":
                self.write(self.targets[page], page.rsplit(".", 1)[0], self.man_page(page))


def main():
    output, source, mandoc, *man_pages = sys.argv[1:]
    Manual(output, source, mandoc, man_pages).make()


main()
