# SPDX-License-Identifier: BSD-2-Clause
"""Man pages, section 3, from the public headers: generate.py --list HEADER... | FOLDER HEADER...

A page for each group of functions that one paragraph of a header has, one for each visible struct and enum that a
comment describes, and one for each header. Functions that share a page have an alias of it each (.so). The comments are
taken as they are; the marks in them that become fonts are NAME(), @parameter, -ERRNO, and struct or enum NAME."""
import os
import re
import sys

sys.dont_write_bytecode = True
from headers import read_headers  # noqa: E402

COMMON_MEMBERS = {
    "struct_size": "The size of the struct that the program was compiled with: set it to sizeof of the struct. See STRUCTS in liboriel(3).",
    "userdata": "Passed to each callback as it is.",
}
LINE = 78


def escape(text):
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga").replace("^", "\\(ha")
    return text.replace("~", "\\(ti")


class Writer:
    def __init__(self, headers):
        self.headers = headers
        functions = {name for header in headers for page in header.pages if not page.type for name in page.names()}
        self.pages = [page for header in headers for page in header.pages
                      if not page.type or (page.type.comment and page.type.name not in functions)]
        self.known = {name for page in self.pages for name in page.names()}

    def mark(self, text):
        """Prose with its fonts. A line that begins with a dot would be a request."""
        def word(match):
            function, parameter, errno, kind, name = match.groups()
            if function:
                return f"\\fB{function}\\fP(3)" if function in self.known else f"\\fB{function}\\fP()"
            if name:
                return f"{kind} \\fB{name}\\fP" + ("(3)" if name in self.known else "")
            return f"\\fI{parameter}\\fP" if parameter else f"\\fB{errno}\\fP"
        marked = re.sub(r"\b(\w+)\(\)|(?<!\w)@(\w+)|(\\-E[A-Z0-9]+)\b|\b(struct|enum) (oriel_\w+)", word, escape(text))
        return "\n.PP\n".join("\\&" + part if part[:1] in ".\\" and part[:2] != "\\f" else part for part in marked.split("\n\n"))

    def links(self, page):
        """What the page speaks of, and the page of its header."""
        text = " ".join([group.comment for group in page.groups] + [page.type.comment if page.type else ""] +
                        ([member.comment for member in page.type.members] if page.type else []) +
                        [function.declaration for group in page.groups for function in group.functions])
        named = {name for name in re.findall(r"\boriel_\w+", text) if name in self.known} - set(page.names())
        return sorted(named) + [page.header.title, "liboriel"]

    def head(self, title, version):
        return [f'.TH {title} 3 "" "Oriel {version}" "Oriel"', ".nh", ".ad l"]

    def see_also(self, names):
        return [".SH SEE ALSO"] + [f"\\fB{name}\\fP(3)," for name in names[:-1]] + [f"\\fB{names[-1]}\\fP(3)"]

    def page(self, page, version):
        lines = self.head(page.names()[0], version) + [".SH NAME"] + self.name_lines(page)
        lines += [".SH LIBRARY", "Both ends of vhost\\-user (\\fBpkg\\-config \\-\\-cflags \\-\\-libs oriel\\fP)"]
        lines += [".SH SYNOPSIS", ".nf", f"\\fB#include <oriel/{page.header.name}>\\fP", ".PP"]
        lines += self.type_body(page.type) if page.type else self.function_body(page)
        return "\n".join(lines + self.see_also(self.links(page))) + "\n"

    def name_lines(self, page):
        if page.type:
            return [f"{page.type.name} \\- {escape(brief(page.type.comment))}"]
        lines = []
        for group in page.groups:
            lines += [".br"] if lines else []
            lines.append(", ".join(function.name for function in group.functions) + f" \\- {escape(brief(group.comment))}")
        return lines

    def function_body(self, page):
        lines = []
        for group in page.groups:
            for function in group.functions:
                lines += [f"\\fB{escape(line)}\\fP" for line in wrap(function.declaration)]
        lines += [".fi", ".SH DESCRIPTION"]
        for group in page.groups:
            if len(page.groups) > 1:
                lines += [".TP", ", ".join(f"\\fB{function.name}\\fP()" for function in group.functions)]
            lines.append(self.mark(group.comment).replace(".PP", ".IP") if len(page.groups) > 1 else self.mark(group.comment))
        common = [page.section[0].upper() + page.section[1:] + "."] if page.section else []
        common += page.notes + [page.header.object_of(page)]
        common += [] if page.header.objects else page.header.notes
        common = list(dict.fromkeys(filter(None, common)))
        if common:
            lines += [".SH COMMON RULES"] + "\n.PP\n".join(self.mark(note) for note in common).split("\n")
        return lines

    def type_body(self, entry):
        lines = [f"\\fB{entry.kind} {entry.name} {{\\fP"]
        for member in entry.members:
            lines += [f"\\fB    {escape(line)}\\fP" for line in wrap(member.declaration, LINE - 4)]
        lines += ["\\fB};\\fP", ".fi", ".SH DESCRIPTION", self.mark(entry.comment)]
        if any(member.comment for member in entry.members):
            lines.append(".SH MEMBERS")
        for at, member in enumerate(entry.members if lines[-1] == ".SH MEMBERS" else []):
            text = self.mark(member_text(entry, at)).replace(".PP", ".IP")
            lines += [".TP", f"\\fB{member.name}\\fP", text or "\\&"]
        return lines

    def header_page(self, header, version):
        pages = [page for page in self.pages if page.header is header]
        functions = [(group, function) for page in pages for group in page.groups for function in group.functions]
        what = ", ".join(filter(None, ["functions" * bool(functions), "structs" * any(page.type for page in pages)]))
        lines = self.head(header.title, version)
        lines += [".SH NAME", f"{header.title} \\- {what.replace(', ', ' and ')} of oriel/{header.name}"]
        lines += [".SH SYNOPSIS", f"\\fB#include <oriel/{header.name}>\\fP", ".SH DESCRIPTION"]
        lines.append("\n.PP\n".join(self.mark(note) for note in header.notes) if header.notes else
                     f"oriel/{header.name} has what is listed here.")
        for title, rows in (("FUNCTIONS", [(function.name, group.comment) for group, function in functions]),
                            ("TYPES", [(page.type.name, page.type.comment) for page in pages if page.type])):
            lines += [f".SH {title}"] if rows else []
            for name, comment in rows:
                lines += [".TP", f"\\fB{name}\\fP(3)", escape(brief(comment))]
        return "\n".join(lines + self.see_also(["liboriel"])) + "\n"

    def files(self):
        """{name of a file: its text}, without the version."""
        version = re.search(r'VERSION_STRING "(.*)"', VERSION_TEXT).group(1)
        out = {f"{header.title}.3": self.header_page(header, version) for header in self.headers}
        for page in self.pages:
            first, *others = page.names()
            out[f"{first}.3"] = self.page(page, version)
            out.update({f"{name}.3": f".so man3/{first}.3\n" for name in others})
        return out


def member_text(entry, at):
    """What is said of a member: by its comment, for all structs, by the comment above a row of callbacks, or above all."""
    member = entry.members[at]
    if member.comment or member.name in COMMON_MEMBERS:
        return member.comment or COMMON_MEMBERS[member.name]
    if re.search(rf"@{member.name}\b", entry.comment):
        return "See DESCRIPTION."
    named = [earlier.name for earlier in entry.members[:at] if earlier.comment]
    return f"See {named[-1]}." if named and "(*" in member.declaration else ""


def brief(comment):
    """The first clause, for NAME."""
    text = " ".join(comment.split()).replace("@", "")
    # A message's name alone says less than what follows it.
    messages = re.match(r"[A-Z_, ]+: ", text)
    at = messages.end() if messages else 0
    text = text[:at] + re.split(r"(?<=[\w)\"'])[.:;](?=\s|$)", text[at:])[0]
    text = re.split(r", (?:which|whose|whatever|as far as|that|where|while|when|then)\b| \(VIRTIO", text)[0]
    return (text[0].lower() + text[1:] if re.match(r"[A-Z][a-z' ]", text) else text).rstrip(".")


def wrap(declaration, width=LINE):
    """Lines of a declaration, broken after commas."""
    lines, line = [], ""
    for part in re.findall(r"[^,]*,?\s*", declaration):
        if line and len((line + part).rstrip()) > width:
            lines.append(line.rstrip())
            line = " " * 8
        line += part
    return lines + [line.rstrip()] if line.strip() else lines


def main():
    global VERSION_TEXT
    list_only = sys.argv[1] == "--list"
    paths = sys.argv[2:]
    with open(next(path for path in paths if os.path.basename(path) == "version.h"), encoding="utf-8") as file:
        VERSION_TEXT = file.read()
    files = Writer(read_headers(paths)).files()
    for name in sorted(files):
        if list_only:
            print(name)
            continue
        with open(os.path.join(sys.argv[1], name), "w", encoding="utf-8") as file:
            file.write(files[name])


if __name__ == "__main__":
    main()
