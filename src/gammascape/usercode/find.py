"""Find the source files of a user's own model or data, with their imports, and hash them; never run them."""

import ast
import difflib
import hashlib
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from gammascape.layout import write_if_changed

FACTORY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
"""Name of a factory in a study: "module:function"."""

NEVER_LOCAL = frozenset(sys.stdlib_module_names) | {"gammascape", "numpy", "torch"}
"""Modules that are loaded before a user's: a file with such a name would not be imported."""

CONTRACTS = {
    "models": "A model is made by make_net(input_shape, outputs, width, **arguments), a function or class called "
    "with keywords, which gives a torch.nn.Module",
    "datasets": "Data are made by make_data(**arguments), which gives train_inputs, train_targets, test_inputs, "
    "test_targets, or without size a sampler, test_inputs, test_targets",
}
"""Section of a study -> how the function of a factory is called."""

ORIGINS = "origins.json"
"""File next to copies of source files that records where each was copied from."""

Definition = ast.FunctionDef | ast.ClassDef | None


class SourceError(Exception):
    """A factory cannot be found or read; the text completes a message that begins with the study's key."""


@dataclass(frozen=True)
class Sources:
    """Files of a factory's code, including local files that they import."""

    files: Mapping[str, Path]
    """File relative to the folder it was found in, such as "layers/norm.py" -> its path."""
    hashes: Mapping[str, str]
    """Same files -> sha256 of the meaning of their code (`meaning_hash`)."""
    definition: Definition
    """Definition of the function or class; None if it is an imported or assigned name."""


def folder_of(hashes: Mapping[str, str]) -> str:
    """Name of the folder for copies of the files with these hashes; it changes with the meaning of their code."""
    return hashlib.sha256(json.dumps(sorted(hashes.items())).encode()).hexdigest()[:16]


def meaning_hash(source: bytes) -> str:
    """sha256 of a module's syntax tree: comments, layout and line numbers do not count, docstrings do.

    `_meaning` writes out the tree, because the output of `ast.dump` depends on the version of Python.

    Raises:
        SyntaxError: if it is not Python.
        ValueError: if it contains null bytes.
    """
    return hashlib.sha256(_meaning(ast.parse(source)).encode()).hexdigest()


def find_sources(factory: str, roots: Sequence[Path]) -> Sources:
    """Find the module of a factory below the first of `roots` that has it, and its imports from below them.

    Raises:
        SourceError: if the module or its function is missing, or a file cannot be read as Python.
    """
    _check_form(factory)
    module, _, function = factory.partition(":")
    if module.partition(".")[0] in NEVER_LOCAL:
        raise SourceError(
            f"{module} is the name of a module of Python or of gammascape; rename your file"
        )
    found = _files_of(module, roots)
    if not found:
        raise SourceError(_not_found(module, roots))
    trees: dict[str, ast.Module] = {}
    files = dict(found)
    hashes: dict[str, str] = {}
    todo = list(found)
    while todo:
        relative = todo.pop()
        text = _read(files[relative])
        try:
            trees[relative] = ast.parse(text)
            hashes[relative] = meaning_hash(text)
        except SyntaxError as error:
            raise SourceError(f"{files[relative]}, line {error.lineno}: {error.msg}") from None
        except (ValueError, RecursionError) as error:
            raise SourceError(f"{files[relative]} cannot be read as Python: {error}") from None
        for name in _imports(trees[relative], relative):
            for other, path in _files_of(name, roots).items():
                if other not in files:
                    files[other] = path
                    todo.append(other)
    main = list(found)[-1]
    definition = _definition(trees[main], function, files[main])
    order = sorted(files)
    return Sources({name: files[name] for name in order}, {n: hashes[n] for n in order}, definition)


def check_call(definition: Definition, function: str, given: Sequence[str]) -> str | None:
    """Message about a call of a function with these keywords; None if it is correct or cannot be judged."""
    bound = isinstance(definition, ast.ClassDef)
    if isinstance(definition, ast.ClassDef):
        # Without an __init__ of its own it inherits one, which may be in another file.
        inner = (node for node in definition.body if isinstance(node, ast.FunctionDef))
        definition = next((node for node in inner if node.name == "__init__"), None)
    if not isinstance(definition, ast.FunctionDef):
        return None
    arguments = definition.args
    if arguments.posonlyargs:
        return f"{function} is called with keywords; remove the / from its parameters"
    plain = [argument.arg for argument in arguments.args][bound:]
    names = plain + [argument.arg for argument in arguments.kwonlyargs]
    optional = set(plain[len(plain) - len(arguments.defaults) :])
    keyword_defaults = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    optional |= {argument.arg for argument, default in keyword_defaults if default is not None}
    missing = [name for name in names if name not in optional and name not in given]
    unknown = [name for name in given if name not in names and arguments.kwarg is None]
    if missing and not unknown:
        word = "an argument" if len(missing) == 1 else "arguments"
        example = ", ".join(f"{name}: ..." for name in missing)
        return f"{function} needs {word} {', '.join(missing)}: write arguments: {{{example}}}"
    if unknown:
        return (
            f"{function} takes no argument {unknown[0]}; its parameters are {', '.join(names)}"
            if names
            else f"{function} takes no argument {unknown[0]}, nor any other"
        )
    return None


def copy_sources(sources: Sources, folder: Path) -> None:
    """Copy source files below `folder`, into a folder named by the meaning of their code.

    An existing copy is kept, even if comments in its file have changed since, because it is an input of cells.
    """
    target = folder / folder_of(sources.hashes)
    for relative, path in sources.files.items():
        kept = ""
        with suppress(OSError, SyntaxError, ValueError):
            kept = meaning_hash((target / relative).read_bytes())
        if kept != sources.hashes[relative]:
            write_if_changed(target / relative, _read(path))
    origins = {name: str(path.absolute()) for name, path in sources.files.items()}
    write_if_changed(target / ORIGINS, json.dumps(origins, indent=1).encode())


def _check_form(factory: str) -> None:
    if FACTORY.fullmatch(factory):
        return
    module, _, function = factory.partition(":")
    module = module.removesuffix(".py").strip("./").replace("/", ".").replace("-", "_")
    example = f"{module}:{function}"
    if not FACTORY.fullmatch(example):
        example = "my_net:make_net"
    raise SourceError(
        f"{factory!r} is not module:function; write for example {example}, for the function "
        f"{example.partition(':')[2]} in {example.partition(':')[0].replace('.', '/')}.py"
    )


def _files_of(module: str, roots: Iterable[Path]) -> dict[str, Path]:
    """Files read when a module is imported from one of the roots, its own file last; {} if there are none."""
    parts = module.split(".")
    if parts[0] in NEVER_LOCAL:
        return {}
    for root in roots:
        leaves = ["/".join([*parts, "__init__.py"]), "/".join(parts) + ".py"]
        leaf = next((name for name in leaves if (root / name).is_file()), None)
        if leaf is None:
            continue
        packages = ["/".join([*parts[:n], "__init__.py"]) for n in range(1, len(parts))]
        names = [name for name in packages if (root / name).is_file()] + [leaf]
        return {name: root / name for name in names}
    return {}


def _imports(tree: ast.Module, relative: str) -> Iterator[str]:
    """Names of modules that a module may import anywhere; some may be names inside a module instead."""
    package = relative.split("/")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from accumulate(alias.name.split("."), "{}.{}".format)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            if base:
                yield base
            for alias in node.names:
                yield f"{base}.{alias.name}" if base else alias.name


def _definition(tree: ast.Module, name: str, path: Path) -> Definition:
    functions = []
    for node in _top_level(tree.body):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            if node.name == name:
                return node
            functions.append(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            if name in {alias.asname or alias.name for alias in node.names}:
                return None
        elif isinstance(node, ast.Assign) and name in {
            target.id for target in node.targets if isinstance(target, ast.Name)
        }:
            return None
    near = difflib.get_close_matches(name, functions, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    there = f"{hint}it defines {', '.join(functions)}" if functions else "it defines none"
    raise SourceError(f"{path} has no function {name}; {there}")


def _top_level(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try):
            yield from _top_level([*node.body, *node.orelse])


def _not_found(module: str, roots: Sequence[Path]) -> str:
    file = module.replace(".", "/") + ".py"
    looked = " or ".join(dict.fromkeys(str(root / file) for root in roots))
    files = sorted({path.stem for root in roots for path in root.glob("*.py")})
    near = difflib.get_close_matches(module, files, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"no module {module}: there is no {looked}{hint}"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from None


def _meaning(node: object) -> str:
    if isinstance(node, ast.AST):
        fields = [
            f"{name}={_meaning(value)}"
            for name, value in ast.iter_fields(node)
            # Empty fields are new in some version of Python; contexts follow from their places.
            if value is not None and value != [] and name not in {"ctx", "kind", "type_comment"}
        ]
        return f"{type(node).__name__}({','.join(fields)})"
    if isinstance(node, list):
        return f"[{','.join(map(_meaning, node))}]"
    return repr(node)
