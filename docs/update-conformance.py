# SPDX-License-Identifier: BSD-2-Clause
"""Put results of oriel conform --json into docs/conformance.md: update-conformance.py RESULT.json...

Each result is a column, in place of the one that its peer had before; columns of other peers stay as they are. The
first result for a suite says which cases there are. Below the tables is what each peer was tried as and offered, and what
happened in each case that failed."""
import json
import os
import sys

PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "conformance.md")
BEGIN, END = "<!-- conformance:begin -->\n", "<!-- conformance:end -->\n"
ABOUT = "### What they are"
REASONS = "### What happened"
TITLES = {"backend": "### Back-ends", "frontend": "### Front-ends"}


def cell(case):
    if case["result"] == "skip":
        return "skip"
    if case["result"] == "fail":
        return "FAIL (died)" if "the peer died" in case["got"] else "FAIL"
    return "refused" if case["got"].startswith("refused") else "pass"


def read_table(text):
    """{"section": {case: section}, peer: {case: cell}} of a table in Markdown, in its order."""
    rows = [[part.strip() for part in line.strip("|\n").split("|")] for line in text.splitlines() if line.startswith("|")]
    if len(rows) < 2:
        return {"section": {}}
    return {name: {row[0].strip("`"): row[i] for row in rows[2:]} for i, name in enumerate(rows[0]) if i > 0}


def read_rows(text, title):
    """The columns of each row of the table below a title: [peer, about], or [peer, case, what happened]."""
    part = text.split(title)[1].split("###")[0] if title in text else ""
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[part.strip().strip("`") for part in line.strip("|").split("|")] for line in lines[2:]]


def print_about(about):
    lines = ["| peer | what the suite shows it, or it offers |", "| --- | --- |"]
    return "\n".join(lines + [f"| {peer} | {what} |" for peer, what in about]) + "\n"


def print_reasons(reasons):
    lines = ["| peer | case | what happened |", "| --- | --- | --- |"]
    return "\n".join(lines + [f"| {peer} | `{case}` | {what} |" for peer, case, what in reasons]) + "\n"


def print_table(columns):
    names = list(columns)
    lines = ["| case | " + " | ".join(names) + " |", "| --- |" + " --- |" * len(names)]
    for case in columns["section"]:
        lines.append(f"| `{case}` | " + " | ".join(columns[name].get(case, "") for name in names) + " |")
    passed = [sum(columns[name].get(case) in ("pass", "refused") for case in columns["section"]) for name in names[1:]]
    failed = [sum(columns[name].get(case, "").startswith("FAIL") for case in columns["section"]) for name in names[1:]]
    summary = [f"{name}: {p} passed, {f} failed." for name, p, f in zip(names[1:], passed, failed)]
    return "\n".join(lines) + "\n\n" + "\n".join(summary) + "\n"


def read_tables(text):
    return {suite: read_table(text.split(title)[1].split("###")[0] if title in text else "")
            for suite, title in TITLES.items()}


def split_page():
    """What is before, between and after the markers."""
    with open(PAGE, encoding="utf-8") as file:
        before, rest = file.read().split(BEGIN)
    return before, *rest.split(END)


def read_page():
    return read_tables(split_page()[1])


def main():
    before, old, after = split_page()
    tables = read_tables(old)
    about = read_rows(old, ABOUT)
    reasons = read_rows(old, REASONS)
    seen = set()
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as file:
            result = json.load(file)
        table = tables[result["suite"]]
        if result["suite"] not in seen:
            table["section"] = {case["name"]: case["section"] for case in result["cases"]}
        seen.add(result["suite"])
        table[result["peer"]] = {case["name"]: cell(case) for case in result["cases"]}
        about = [row for row in about if row[0] != result["peer"]] + [[result["peer"], result["about"]]]
        reasons = [row for row in reasons if row[0] != result["peer"]]
        reasons += [[result["peer"], case["name"], case["got"].replace("|", "/")] for case in result["cases"]
                    if case["result"] == "fail"]
    new = "\n".join(f"{TITLES[suite]}\n\n{print_table(table)}" for suite, table in tables.items())
    new += f"\n{ABOUT}\n\n{print_about(about)}"
    new += f"\n{REASONS}\n\n{print_reasons(reasons)}"
    with open(PAGE, "w", encoding="utf-8") as file:
        file.write(f"{before}{BEGIN}\n{new}\n{END}{after}")


if __name__ == "__main__":
    main()
