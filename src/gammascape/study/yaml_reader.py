"""YAML text to plain data, with the traps of YAML reported instead of followed."""

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gammascape.study.errors import BOOLEANS, KeyPath, Problem, StudyError, study_error

_OCTAL = re.compile(r"[-+]?0[0-9_]+")


@dataclass(frozen=True, slots=True)
class Source:
    """The data of one file, with the name that messages give it and the lines of its keys."""

    name: str
    data: object
    root: yaml.Node | None = None

    def line(self, path: KeyPath) -> int | None:
        """Line (from 1) of the key at `path`, or of its nearest parent that is in the file."""
        node, line = self.root, None
        for part in path:
            found = _child(node, part)
            if found is None:
                break
            line, node = found
        return line


def read_yaml(path: str | Path) -> Source:
    """Read one YAML file into plain dicts, lists and scalars.

    Raises StudyError if the file cannot be read, is not YAML, is empty, repeats a key, or holds
    a key or a number that YAML takes for something else than it looks like.
    """
    name = str(path)
    text = _read_text(Path(path))
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        data = loader.construct_document(root) if root is not None else None
    except yaml.YAMLError as error:
        raise study_error(name, [_syntax_problem(error)]) from None
    except ValueError as error:
        raise StudyError(f"{name}: holds a number that cannot be read: {error}") from None
    except RecursionError:
        raise StudyError(f"{name}: is nested too deeply to be a study") from None
    finally:
        loader.dispose()
    if loader.problems:
        raise study_error(name, loader.problems)
    if data is None:
        raise StudyError(f"{name}: the file is empty; config/README.md has a study to copy")
    return Source(name, data, root)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file{_neighbours(path)}") from None
    except IsADirectoryError:
        raise StudyError(f"{path}: is a folder; name a YAML file inside it") from None
    except UnicodeDecodeError:
        raise StudyError(f"{path}: is not UTF-8 text; save it with the encoding UTF-8") from None
    except OSError as error:
        raise StudyError(f"{path}: cannot be read: {error.strerror}") from None


def _neighbours(path: Path) -> str:
    if not path.parent.is_dir():
        return f", and no folder {path.parent}"
    names = sorted(file.name for file in path.parent.glob("*.yaml"))
    near = difflib.get_close_matches(path.name, names, n=1)
    if near:
        return f"; did you mean {path.parent / near[0]}?"
    return f"; {path.parent} has {', '.join(names)}" if names else ""


def _child(node: yaml.Node | None, part: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == part:
                return key.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        item = node.value[part]
        return item.start_mark.line + 1, item
    return None


def _syntax_problem(error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    said = getattr(error, "problem", None) or getattr(error, "context", None) or str(error)
    hint = ""
    if "\\t" in said:
        hint = "; indent with spaces, not with tabs"
    elif "mapping values are not allowed" in said:
        hint = "; check the indentation, and put a text that contains a colon in quotes"
    elif "expected a single document" in (getattr(error, "context", None) or said):
        said, hint = "a second document begins", "; keep one study in one file, without ---"
    elif "could not determine a constructor" in said:
        said, hint = "a tag that begins with ! stands before a value", "; remove the tag"
    elif "undefined alias" in said:
        hint = "; a text that begins with * needs quotes"
    elif "expected" in said:
        hint = "; check for a missing bracket, quote or comma, and the indentation"
    if mark is None:
        return Problem((), f"not valid YAML: {said}{hint}")
    return Problem((), f"not valid YAML: {said}{hint}", mark.line + 1, mark.column + 1)


class _Loader(yaml.SafeLoader):
    """SafeLoader that collects what PyYAML accepts in silence: repeated keys, octal numbers."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.problems: list[Problem] = []

    def report(self, node: yaml.Node, text: str) -> None:
        mark = node.start_mark
        self.problems.append(Problem((), text, mark.line + 1, mark.column + 1))

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        for key, value in node.value:
            if key.value == "roles" and isinstance(value, yaml.MappingNode):
                # Layers of nn.Sequential have numbers as names (3, 0.3), and another may be called `on`.
                for name, _ in value.value:
                    if isinstance(name, yaml.ScalarNode) and not name.tag.endswith(":merge"):
                        name.tag = "tag:yaml.org,2002:str"
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        first: dict[object, yaml.Node] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                self.report(key_node, "a list or mapping stands where a key is wanted")
                return {}
            key = self.construct_object(key_node)
            if key in first:
                line = first[key].start_mark.line + 1
                self.report(
                    key_node,
                    f"{key_node.value}: this key stands twice, first on line "
                    f"{line}; keep one of the two",
                )
            elif not isinstance(key, str):
                why = f" ({BOOLEANS})" if isinstance(key, bool) else ""
                self.report(
                    key_node,
                    f"{key_node.value}: a key must be text{why}; "
                    "choose a name that begins with a letter",
                )
            first[key] = key_node
        return super().construct_mapping(node, deep=deep)

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        text = str(node.value)
        is_int = node.tag.endswith(":int")
        value = self.construct_yaml_int(node) if is_int else self.construct_yaml_float(node)
        if _OCTAL.fullmatch(text):
            plain = text.lstrip("+-0_") or "0"
            self.report(
                node,
                f"{text}: YAML reads a number that begins with 0 as octal, here "
                f"{value}; write {plain}",
            )
        elif ":" in text:
            self.report(
                node,
                f"{text}: YAML reads numbers with colons in base 60, here {value}; "
                "write one plain number, or put a text in quotes",
            )
        return value


# A date is only ever part of a description: keep it text.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _Loader.construct_number)
