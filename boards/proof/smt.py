"""The solver bitwuzla as a program: SMT-LIB commands in, answers out. Its package is a library without a program.

smtbmc writes a command and waits for the answer, so each command goes to the solver as soon as it is whole.
"""

import sys

import bitwuzla

__all__ = ["commands", "main"]


def commands(lines):
    """The commands in `lines`, each whole: its parentheses balance. A comment, from ';' on, is dropped."""
    depth, parts = 0, []
    for line in lines:
        text = line.partition(";")[0]
        parts.append(text)
        depth += text.count("(") - text.count(")")
        if not depth and text.strip():
            yield "".join(parts)
            parts = []


def main() -> int:
    """Answer the standard input's commands; --help alone says what smtbmc looks for in a bitwuzla of today."""
    if "--help" in sys.argv:
        print("--lang")
        return 0
    options = bitwuzla.Options()
    options.set(bitwuzla.Option.PRODUCE_MODELS, True)
    parser = bitwuzla.Parser(bitwuzla.TermManager(), options)
    for command in commands(sys.stdin):
        if command.strip() == "(exit)":
            break
        try:
            parser.parse(command, False, False)
        except bitwuzla.BitwuzlaException as error:
            print(f'(error "{error}")', flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
