"""The runtime as one C file and one header, for whoever does not want forty in their build.

Every file's own names get the file's name in front, so that all can share one; kernels get target
attributes (isa.toml) instead of flags; nothing else of the text changes, comments included.  Only
what the header declares can be seen by a linker.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bitexport.targets import Isa, Target, load_isas
from bitexport.toolchain.compile import EXTRAS, Source, include_folders, sources

HEADER, CODE = "bitexport.h", "bitexport.c"
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+"([^"]+)".*\n', re.MULTILINE)
SYSTEM = re.compile(r"^[ \t]*#[ \t]*include[ \t]+<([^>]+)>.*\n", re.MULTILINE)
ISA_GUARD = re.compile(r"^#if !defined.*\n#error \"compile this file with.*\"\n#endif\n", re.M)
NAMES_AND_REST = re.compile(
    r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|(?:\.|->)\s*[A-Za-z_]\w*"
    r"|0[xX][\w.]+|\d[\w.]*|[A-Za-z_]\w*|#[^\S\n]*include[^\n]*|.",
    re.DOTALL,
)
DEFINED = re.compile(r"^[ \t]*#[ \t]*define[ \t]+([A-Za-z_]\w*)", re.MULTILINE)
DIRECTIVE = re.compile(r"^[ \t]*#(?:\\\n|[^\n])*\n", re.MULTILINE)
COMMENT_OR_STRING = re.compile(r"/\*.*?\*/|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'", re.DOTALL)
ENUM = re.compile(r"\benum\b[^;{(]*\{([^}]*)\}")
STRUCT = re.compile(r"\b(?:struct|union)\b[^;{()=]*\{((?:[^{}]|\{[^{}]*\})*)\}")
DECLARED = re.compile(r"\s*[;,\[:)]")  # what follows the name of a member, and no type
OPERAND = re.compile(r"\[\w+\]\s*\"")
NAME = re.compile(r"[A-Za-z_]\w*")
# What a file shares with all others: the house's names, the language's, the compiler's.
SHARED = re.compile(
    r"bitx_\w*|BITX_\w*|_\w*|\w+_t|auto|char|const|double|enum|extern|float|inline|int|long|register"
    r"|restrict|short|signed|static|struct|typedef|union|unsigned|void|volatile|NULL|\w*_MAX"
)

GNU = "#if defined(__GNUC__)\n#pragma GCC visibility {}\n#endif\n"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Variant:
    """What a file is compiled for: one target, or one of several."""

    target: Target
    when: str = ""
    """The preprocessor's condition that it is this one, where there are several."""


def amalgamate(target: Target, root: Path, macros: Sequence[str] = ()) -> dict[str, str]:
    """Return the texts of bitexport.h and bitexport.c for the runtime whose source lies in root.

    The code has every kernel of the target; macros (NAME=VALUE) are what it is compiled with unless
    a flag says otherwise.
    """
    return amalgamate_variants([Variant(target=target)], root, macros)


def amalgamate_variants(
    variants: Sequence[Variant], root: Path, macros: Sequence[str] = ()
) -> dict[str, str]:
    """Return the same for several targets: each file under the conditions of those that have it."""
    header = "\n".join(_joined(root, sorted((root / "include").glob("*.h")), set()))
    shown = "\n".join([GNU.format("push(default)"), header, GNU.format("pop")])
    return {HEADER: SYSTEM.sub(_once(), shown), CODE: _code(variants, root, macros)}


def _code(variants: Sequence[Variant], root: Path, macros: Sequence[str]) -> str:
    isas = load_isas()
    order = list(dict.fromkeys(isa for each in variants for isa in each.target.isas))
    files = _files(variants, root)
    files = dict(sorted(files.items(), key=lambda item: (order.index(item[0].isa), item[0].path)))
    public = {path.resolve() for path in (root / "include").glob("*.h")}
    headers = "\n".join(_joined(root, [root / each.path for each in files], set(public)))
    bodies = {
        each: _under(_body(root, each), when if each.isa == "scalar" else "")
        for each, when in files.items()
    }
    system: dict[str, set[str]] = {name: {""} for name in sorted(SYSTEM.findall(headers))}
    for each, when in files.items():
        for name in SYSTEM.findall(_expanded(root, root / each.path)):
            scalar = each.isa == "scalar"
            needed = when if scalar else f"defined({isas[each.isa].define})"
            system.setdefault(name, set()).add(needed)
    return "".join(
        [
            _head(variants),
            *(_macro(macro) for macro in macros),
            *(_have(variants, isas[name]) for name in order if name != "scalar"),
            f'#include "{HEADER}"\n',
            *(_include(name, conditions) for name, conditions in system.items()),
            GNU.format("push(hidden)"),
            SYSTEM.sub("", headers),
            *(_region(_first(variants, name), isas[name], bodies) for name in order),
        ]
    )


def _files(variants: Sequence[Variant], root: Path) -> dict[Source, str]:
    """Return every file of any variant, and the condition under which it is compiled."""
    users: dict[Source, list[Variant]] = {}
    for variant in variants:
        for each in sources(variant.target, root):
            if EXTRAS not in each.path.parts:
                users.setdefault(Source(path=each.path, isa=each.isa), []).append(variant)
    return {each: _condition(variants, those) for each, those in users.items()}


def _condition(variants: Sequence[Variant], those: Sequence[Variant]) -> str:
    """Return the condition that one of those is compiled; empty where those are all."""
    if len(those) == len(variants):
        return ""
    return " || ".join(f"({each.when})" for each in those)


def _first(variants: Sequence[Variant], isa: str) -> Target:
    return next(each.target for each in variants if isa in each.target.isas)


def _under(text: str, condition: str) -> str:
    return f"#if {condition}\n{text.rstrip()}\n#endif\n" if condition else text


def _head(variants: Sequence[Variant]) -> str:
    if len(variants) == 1:
        target = variants[0].target
        of = f"for {target.name}: {target.summary}"
        how = (
            "Compile it with -std=c11 -O2 -ffp-contract=off -fno-math-errno and, as the target"
            f" wants,\n * {' '.join(target.flags)}"
        )
    else:
        of = "for\n" + "\n".join(f" * {each.when}" for each in variants)
        how = "Compile it with clang 16 or newer, -std=c11 and -O2; it needs no other flag."
    return (
        f"/* {CODE} - the bitexport runtime in one file, {of}.\n"
        f" *\n * {how}\n *\n"
        " * Written by `bitexport package`; change the files that it is made of instead.\n"
        " */\n"
        "#if defined(__clang__)\n#pragma STDC FP_CONTRACT OFF\n"
        '#pragma clang diagnostic ignored "-Woverlength-strings"\n'
        "#endif\n"
    )


def _macro(macro: str) -> str:
    name, _, value = macro.partition("=")
    return f"#ifndef {name}\n#define {name} {value}\n#endif\n"


def _have(variants: Sequence[Variant], isa: Isa) -> str:
    """Say when there are kernels for an instruction set: by the file's flags, or by attributes."""
    those = [each for each in variants if isa.name in each.target.isas]
    triple, have = those[0].target.triple, isa.define
    by_flags = f"defined({isa.requires})\n#define {have}\n#endif\n"
    if triple not in isa.attribute:
        return _under(f"#if {by_flags}", _condition(variants, those))
    since = isa.clang.get(triple, ("0",))[0]
    said = (
        f"#if defined(__clang__) && __clang_major__ >= {since} || "
        f"!defined(__clang__) && defined(__GNUC__)\n"
        f"#define {have}\n#define {_by_attribute(isa)}\n#elif {by_flags}"
    )
    return _under(said, _condition(variants, those))


def _by_attribute(isa: Isa) -> str:
    return f"BITX_ATTRIBUTE_{isa.name.upper()}"


def _include(name: str, conditions: set[str]) -> str:
    """Include a header of the system under any of these conditions; an empty one is always met."""
    wanted = "" if "" in conditions else " || ".join(sorted(conditions))
    return _under(f"#include <{name}>", wanted) if wanted else f"#include <{name}>\n"


def _region(target: Target, isa: Isa, bodies: dict[Source, str]) -> str:
    """Return the files of one instruction set, under its attributes."""
    text = "\n".join(bodies[each] for each in bodies if each.isa == isa.name)
    if isa.name == "scalar":
        return text
    words = ",".join(isa.attribute.get(target.triple, ()))
    by = _by_attribute(isa)
    if words:
        text = (
            f"#if defined({by}) && defined(__clang__)\n"
            f'#pragma clang attribute push(__attribute__((target("{words}"))), '
            "apply_to = function)\n"
            f'#elif defined({by})\n#pragma GCC push_options\n#pragma GCC target("{words}")\n'
            f"#endif\n{text}\n"
            f"#if defined({by}) && defined(__clang__)\n#pragma clang attribute pop\n"
            f"#elif defined({by})\n#pragma GCC pop_options\n#endif\n"
        )
    return f"\n#ifdef {isa.define}\n{text}\n#endif /* {isa.define} */\n"


def _joined(root: Path, paths: Sequence[Path], seen: set[Path]) -> Iterator[str]:
    """Yield every header that these files include, once, each behind those that it includes."""
    for path in paths:
        if path.resolve() in seen:
            continue
        if path.suffix == ".h":
            seen.add(path.resolve())
        text = path.read_text(encoding="utf-8")
        inner = [_find(root, path, name) for name in INCLUDE.findall(text)]
        yield from _joined(root, [each for each in inner if each.suffix in (".h", ".def")], seen)
        if path.suffix == ".h":
            yield _expanded(root, path)


def _body(root: Path, source: Source) -> str:
    """Return a file without headers and guards, its names its own."""
    text = ISA_GUARD.sub("", SYSTEM.sub("", _expanded(root, root / source.path)))
    return _renamed(text, _own_names(text), source.path.stem)


def _renamed(text: str, own: set[str], stem: str) -> str:
    """Return a text in which a file's own names say which file.

    Names of members, and of operands of assembly, stay.
    """
    structs = [found.span(1) for found in STRUCT.finditer(text)]

    def stays(found: re.Match[str]) -> bool:
        if OPERAND.match(text, found.start() - 1):
            return True
        inside = any(start <= found.start() < end for start, end in structs)
        return inside and DECLARED.match(text, found.end()) is not None

    return "".join(
        f"{found[0]}_in_{stem}" if found[0] in own and not stays(found) else found[0]
        for found in NAMES_AND_REST.finditer(text)
    )


def _expanded(root: Path, path: Path) -> str:
    """Return a file with lists and templates (.def) in their places, and no header in its."""

    def replace(found: re.Match[str]) -> str:
        inner = _find(root, path, found[1])
        return _expanded(root, inner) if inner.suffix == ".def" else ""

    return INCLUDE.sub(replace, path.read_text(encoding="utf-8"))


def _own_names(text: str) -> set[str]:
    """Return the names that a file declares for itself: macros, and all that is at file scope."""
    own = set(DEFINED.findall(text))
    code = COMMENT_OR_STRING.sub(" ", DIRECTIVE.sub("", COMMENT_OR_STRING.sub(" ", text)))
    for constants in ENUM.findall(code):
        own.update(NAME.findall(re.sub(r"=[^,]*", "", constants)))
    depth, outside = 0, []
    for character in code:
        depth -= character in "})]"
        if depth == 0:
            outside.append(" " if character in "})]" else character)
        depth += character in "{(["
    own.update(NAME.findall("".join(outside)))
    return {name for name in own if not SHARED.fullmatch(name)}


def _find(root: Path, including: Path, name: str) -> Path:
    """Return where an included file lies: beside the one that includes it, or in a folder of -I."""
    for folder in (including.parent, *(root / each for each in include_folders(root))):
        if (folder / name).is_file():
            return (folder / name).resolve()
    raise FileNotFoundError(name)


def _once() -> Callable[[re.Match[str]], str]:
    seen: set[str] = set()

    def keep(found: re.Match[str]) -> str:
        if found[1] in seen:
            return ""
        seen.add(found[1])
        return found[0]

    return keep
