# SPDX-License-Identifier: BSD-2-Clause
"""The public headers as data: functions, structs and enums with the comments that describe them.

A header is read as paragraphs between blank lines. Functions of one paragraph share a page, because their comments are
written to be read one after the other. A comment describes the declarations that follow it without another comment; one at
the end of a declaration's line describes that one alone. A comment in a paragraph of its own describes its section, and
one before an opaque struct describes the functions whose names begin with the struct's."""
import os
import re

TOKEN = re.compile(
    r"(?P<comment>/\*.*?\*/)"
    r"|(?P<directive>#(?:[^\n]*\\\n)*[^\n]*)"
    r"|(?P<definition>(?:struct|enum) \w+ \{\n.*?\n\};)"
    r"|(?P<opaque>struct \w+;)"
    r"|(?P<declaration>[a-z][^;{}]*;)"
    r"|(?P<blank>\n[ \t]*\n)"
    r"|(?P<space>\s+)", re.S)


class Function:
    def __init__(self, declaration, comment):
        self.declaration = " ".join(declaration.split())
        self.name = re.search(r"\b(oriel_\w+)\(", declaration).group(1)
        self.comment = comment


class Group:
    """Functions that one comment describes."""

    def __init__(self, comment, functions):
        self.comment, self.functions = comment, functions


class Member:
    def __init__(self, declaration, comment):
        self.declaration, self.comment = declaration, comment
        self.name = (re.search(r"\(\*(\w+)\)\(", declaration) or
                     re.search(r"(\w+)(?:\[\w+\])?(?: = [^;,]+)?[;,]$", declaration)).group(1)


class Type:
    """A visible struct or enum."""

    def __init__(self, text, comment):
        self.kind, self.name = re.match(r"(struct|enum) (\w+)", text).groups()
        self.comment = comment
        self.members = read_members(text[text.index("{") + 1:text.rindex("}")], ";" if self.kind == "struct" else ",")


class Page:
    """Groups of functions, or a type; @section and @notes are what applies to them and to others."""

    def __init__(self, header, section, notes):
        self.header, self.section, self.notes = header, section, notes
        self.groups, self.type = [], None

    def names(self):
        return [self.type.name] if self.type else [function.name for group in self.groups for function in group.functions]


class Header:
    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            text = file.read()
        self.name = os.path.basename(path)
        self.title = "oriel_" + self.name
        self.notes = []     # comments that describe the whole header or an opaque struct
        self.objects = {}   # opaque struct: its comment
        self.pages = []
        self.section, self.section_notes = "", []
        body = re.search(r"#pragma GCC visibility push\(default\)\n(.*)#pragma GCC visibility pop", text, re.S)
        for paragraph in split_paragraphs(body.group(1) if body else text):
            self.read_paragraph(paragraph)

    def read_paragraph(self, tokens):
        page = Page(self, self.section, self.section_notes)
        comment = ""
        for at, (kind, text) in enumerate(tokens):
            following = tokens[at + 1][0] if at + 1 < len(tokens) else None
            if kind == "comment":
                comment = clean(text)
                if following is None:
                    self.add_note(comment)
            elif kind == "opaque":
                self.objects[text[len("struct "):-1]] = comment
                if comment and comment not in self.notes:
                    self.notes.append(comment)
            elif kind == "definition":
                own = Page(self, self.section, self.section_notes)
                own.type = Type(text, comment)
                self.pages.append(own)
                comment = ""
            elif kind == "declaration":
                comment = add_function(page, text, comment, tokens[at + 1:at + 2])
        if page.groups:
            self.pages.append(page)

    def add_note(self, comment):
        match = re.fullmatch(r"-{4} (.*) -{4}", comment, re.S)
        if match:
            self.section, self.section_notes = match.group(1), []
        elif self.section:
            self.section_notes.append(comment)
        elif not comment.startswith("SPDX"):
            self.notes.append(comment)

    def object_of(self, page):
        """What is said of the opaque struct whose functions the page has."""
        names = [name for name in self.objects if page.groups and page.names()[0].startswith(name + "_")]
        return self.objects[max(names, key=len)] if names else ""


def add_function(page, text, comment, after):
    """Returns the comment for those that follow."""
    trailing = clean(after[0][1]) if after and after[0][0] == "trailing" else ""
    function = Function(text, trailing)
    if comment or trailing or not page.groups:
        page.groups.append(Group(" ".join(filter(None, [comment, trailing])), [function]))
    else:
        page.groups[-1].functions.append(function)
    return ""


def clean(comment):
    """The text of a comment, as paragraphs."""
    lines = [re.sub(r"^\s*\* ?", "", line).strip() for line in comment[2:-2].split("\n")]
    return "\n\n".join(" ".join(part.split()) for part in re.split(r"\n\n+", "\n".join(lines)) if part.strip())


def split_paragraphs(text):
    """Lists of tokens without blank lines between them. A comment on the line where something ends is "trailing"."""
    paragraphs, tokens, at = [], [], 0
    while at < len(text):
        match = TOKEN.match(text, at)
        if not match:
            raise ValueError(f"not understood: {text[at:at + 60]!r}")
        at = match.end()
        kind, token = match.lastgroup, match.group()
        if kind == "blank":
            paragraphs.append(tokens)
            tokens = []
        elif kind == "comment" and text[text.rfind("\n", 0, match.start()) + 1:match.start()].strip():
            tokens.append(("trailing", token))
        elif kind != "space":
            tokens.append((kind, token))
    return [tokens for tokens in paragraphs + [tokens] if tokens]


def read_members(body, end):
    """A comment above a member describes it; one that begins on a member's line describes that one."""
    members, above = [], ""
    for match in re.finditer(rf"(?P<comment>/\*.*?\*/)|(?P<member>[^\s/](?:[^{end}/])*{end})", body, re.S):
        first_of_line = not body[body.rfind("\n", 0, match.start()) + 1:match.start()].strip()
        if match["member"]:
            members.append(Member(" ".join(match["member"].split()), above))
            above = ""
        elif first_of_line or not members:
            above = clean(match["comment"])
        else:
            members[-1].comment = " ".join(filter(None, [members[-1].comment, clean(match["comment"])]))
    return members


def read_headers(paths):
    return [Header(path) for path in sorted(paths, key=os.path.basename)]
