# SPDX-License-Identifier: BSD-2-Clause
"""Completions of one program for one shell: generate.py bash|zsh|fish TABLE OUTPUT.

TABLE is what the program prints of its own option tables (program/options.h, OPTION_DESCRIBE): in lines of fields between tabs,
"program" begins a table, "option" is a row of it, and "command" names that of a subcommand, which follows. Values are completed
where the table knows them or they are files: there is no other list here than of the arguments that are files."""
import re
import sys
from dataclasses import dataclass, field

FOLDERS = {"DIR", "SHARE"}
FILES = {"FILE", "PATH", "SOCKET", "DISK", "PMEM", "WHAT"}


@dataclass
class Option:
    name: str
    letter: str
    takes: str  # none, optional or one
    argument: str
    help: str
    choices: list


@dataclass
class Table:
    command: str = ""  # that of a program without subcommands is ""
    help: str = ""
    operands: str = ""
    options: list = field(default_factory=list)

    def words(self):
        """What the first operand may be, where that is a list."""
        first = re.match(r"[a-z]+(\|[a-z]+)+$", self.operands)
        return first.group().split("|") if first else []


def read_tables(path):
    tables = []
    with open(path, encoding="utf-8") as file:
        for kind, *fields in (line.rstrip("\n").split("\t") for line in file):
            if kind == "command":
                tables.append(Table(*fields))
            elif kind == "program":
                if not tables:
                    tables.append(Table())
                tables[-1].operands = fields[1]
                name = fields[0].split()[0]
            else:
                tables[-1].options.append(Option(*fields[:5], fields[5:]))
    return name, tables


# Bash: one function, whose words come from a case for each command and, before "=", for each option.

BASH = """# {program}'s completions for bash, made of its option tables.
_{function}()
{{
        local word=${{COMP_WORDS[COMP_CWORD]}} option command= words= operands= files=

        COMPREPLY=()
        # --NAME=VALUE is three words, but for the last it may be two.
        if [[ $word == = ]]; then
                word= option=${{COMP_WORDS[COMP_CWORD - 1]}}=
        elif [[ ${{COMP_WORDS[COMP_CWORD - 1]}} == = ]]; then
                option=${{COMP_WORDS[COMP_CWORD - 2]}}=
        else
                option=${{COMP_WORDS[COMP_CWORD - 1]}}
        fi
{find_command}        case "$command $option" in
{values}
        *)
                if [[ $option == --*= ]]; then
                        return
                fi
                case $command in
{tables}
                esac
                if [[ $word == -* ]]; then
                        files=
                else
                        words=$operands
                fi
                ;;
        esac
        COMPREPLY=($(compgen -W "$words" -- "$word"))
        if [[ $files ]]; then
                compopt -o filenames
                while read -r; do
                        COMPREPLY+=("$REPLY")
                done < <(compgen "$files" -- "$word")
        elif [[ ${{#COMPREPLY[@]}} == 1 && $COMPREPLY == *= ]]; then
                compopt -o nospace
        fi
}}
complete -F _{function} {program}
"""


def bash_case(command, option):
    """Its value is the next word too, if it needs one."""
    keys = [f"--{option.name}="] + ([f"--{option.name}"] + [f"-{option.letter}"] * bool(option.letter)) * (option.takes == "one")
    pattern = " | ".join(f"'{command} {key}'" for key in keys)
    if option.choices:
        does = f"words='{' '.join(option.choices)}'"
    elif option.argument in FOLDERS | FILES:
        does = "files=-d" if option.argument in FOLDERS else "files=-f"
    else:
        does = "return"
    return f"        {pattern}) {does} ;;"


def bash_table(table):
    options = " ".join(f"--{option.name}{'=' * (option.takes == 'one')}" for option in table.options)
    files = " files=-f" if table.operands and not table.words() else ""
    return f"                '{table.command}') words='{options}' operands='{' '.join(table.words())}'{files} ;;"


def bash(program, tables):
    find_command, at_first = "", ""
    if tables[0].command:
        find_command = "        (( COMP_CWORD > 1 )) && command=${COMP_WORDS[1]}\n"
        at_first = f"                '') words='--help --version' operands='{' '.join(table.command for table in tables)}' ;;\n"
    values = [bash_case(table.command, option) for table in tables for option in table.options if option.takes != "none"]
    return BASH.format(program=program, function=program.replace("-", "_"), find_command=find_command, values="\n".join(values),
                       tables=at_first + "\n".join(bash_table(table) for table in tables))


# Zsh: the arguments of _arguments.


def quote(text):
    return "'" + text.replace("'", "'\\''") + "'"


def zsh_escape(text):
    return re.sub(r"([\[\]:\\])", r"\\\1", text)


def zsh_action(argument, choices):
    if choices:
        return f"({' '.join(choices)})"
    return "_path_files -/" if argument in FOLDERS else "_files" if argument in FILES else " "


def zsh_option(option):
    about = f"[{zsh_escape(option.help)}]"
    if option.takes == "none":
        return quote(f"*--{option.name}{about}")
    colons = "::" if option.takes == "optional" else ":"
    name = f"--{option.name}=-" if option.takes == "optional" else f"--{option.name}="
    return quote(f"*{name}{about}{colons}{option.argument}:{zsh_action(option.argument, option.choices)}")


def zsh_table(table, indent):
    rows = [zsh_option(option) for option in table.options]
    if table.operands:
        action = zsh_action("FILE", table.words())
        rows.append(quote(f"*:{zsh_escape(table.operands)}:{action}"))
    return f" \\\n{indent}".join(["_arguments -S", *rows])


def zsh(program, tables):
    head = f"#compdef {program}\n# {program}'s completions for zsh, made of its option tables.\n"
    if not tables[0].command:
        return head + zsh_table(tables[0], "        ") + "\n"
    commands = " ".join(quote(f"{table.command}:{zsh_escape(table.help)}") for table in tables)
    cases = "".join(f"{table.command})\n        {zsh_table(table, '                ')}\n        ;;\n" for table in tables)
    return (head + "if (( CURRENT == 2 )); then\n        local -a commands=(" + commands + ")\n"
            "        _describe command commands\n        _arguments '--help[print this and exit]' "
            "'--version[print the version and exit]'\n        return\nfi\nshift words\n(( CURRENT-- ))\n"
            f"case $words[1] in\n{cases}esac\n")


# Fish: a line for each option.


def fish_quote(text):
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def fish_values(argument, choices):
    if choices:
        return f" -f -a {fish_quote(' '.join(choices))}"
    if argument in FOLDERS:
        return " -f -a '(__fish_complete_directories)'"
    return " -F" if argument in FILES else " -f"


def fish_option(begin, option):
    line = f"{begin} -l {option.name}" + f" -s {option.letter}" * bool(option.letter)
    if option.takes != "none":
        line += " -r" * (option.takes == "one") + fish_values(option.argument, option.choices)
    return f"{line} -d {fish_quote(option.help)}\n"


def fish(program, tables):
    text = f"# {program}'s completions for fish, made of its option tables.\ncomplete -c {program} -f\n"
    if tables[0].command:
        for option in (Option("help", "", "none", "", "print this and exit", []),
                       Option("version", "", "none", "", "print the version and exit", [])):
            text += fish_option(f"complete -c {program} -n __fish_use_subcommand", option)
    for table in tables:
        begin = f"complete -c {program}"
        if table.command:
            text += f"{begin} -n __fish_use_subcommand -a {table.command} -d {fish_quote(table.help)}\n"
            begin += f" -n '__fish_seen_subcommand_from {table.command}'"
        if table.words():
            text += f"{begin} -a {fish_quote(' '.join(table.words()))}\n"
        elif table.operands:
            text += f"{begin} -F\n"
        text += "".join(fish_option(begin, option) for option in table.options)
    return text


def main():
    shell, table, output = sys.argv[1:]
    program, tables = read_tables(table)
    with open(output, "w", encoding="utf-8") as file:
        file.write({"bash": bash, "zsh": zsh, "fish": fish}[shell](program, tables))


main()
