"""Turn YAML text into plain data, and report the traps of YAML as problems."""

import difflib
import math
import re
import stat
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gammascape.manifests.paths import RESULTS
from gammascape.study.reading.errors import BOOLEANS, KeyPath, Problem, StudyError, study_error

STUDIES = Path("config/studies")
MOST_BYTES = 2_000_000
MOST_VALUES = 250_000
"""Limit on the values in a file; values repeated by an alias count each time."""
MOST_LEVELS = 50
_LONG_LISTS = "write points as a range, with from, to and per_decade"
_TOO_MANY = f"holds more than {MOST_VALUES:,} values, what aliases repeat included; {_LONG_LISTS}"
_TOO_DEEP = "is nested too deeply to be part of a study"
_LONGEST_NUMBER = 40

_TAG = "tag:yaml.org,2002:"
_OCTAL = re.compile(r"[-+]?0[0-9_]+")


@dataclass(frozen=True, slots=True)
class Source:
    """Data of one file, with its name in messages and the lines of its keys."""

    name: str
    data: object
    root: yaml.Node | None = None

    def line(self, path: KeyPath) -> int | None:
        """Line (from 1) of the key at `path`, or of its nearest parent in the file."""
        node, line = self.root, None
        for part in path:
            found = _child(node, part)
            if found is None:
                break
            line, node = found
        return line


def read_yaml(path: str | Path) -> Source:
    """Read one YAML file into plain dicts, lists and scalars.

    Raises StudyError if the file cannot be read, is not YAML, is empty or too large, repeats a key, or
    contains a key, number or character that does not mean in YAML what it looks like.
    """
    name = str(path)
    text = _read_text(Path(path))
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        data = loader.construct_document(root) if root is not None else None
        problems = loader.problems
    except _Refused as refused:
        problems = [refused.problem]
    except yaml.reader.ReaderError as error:
        before = text[: error.position].split("\n")
        problems = [Problem((), _odd(chr(error.character)), len(before), len(before[-1]) + 1)]
    except yaml.YAMLError as error:
        problems = [_syntax_problem(error)]
    except (ValueError, OverflowError):
        # PyYAML accepts any number as an escaped character.
        problems = [_problem_at(loader.get_mark(), "an escape names no character")]
    if problems:
        raise study_error(name, problems)
    if data is None:
        raise StudyError(f"{name}: the file is empty; config/README.md has a study to copy")
    source = Source(name, data, root)
    check_size(source)
    return source


def check_size(source: Source) -> None:
    """Refuse data that contain themselves, or that aliases expand to too many values or levels.

    Raises:
        StudyError: if the data are refused.
    """
    known: dict[int, tuple[int, int]] = {}
    above: set[int] = set()

    def measure(value: object, path: KeyPath) -> tuple[int, int]:
        """Number of values and of levels, each list measured once."""
        if not isinstance(value, dict | list):
            return 1, 0
        if id(value) in above:
            raise _Refused(path, "contains itself")
        if len(path) > MOST_LEVELS:
            raise _Refused(path, _TOO_DEEP)
        if id(value) not in known:
            above.add(id(value))
            items = value.items() if isinstance(value, dict) else enumerate(value)
            size, levels = 1, 0
            for key, item in items:
                inner, below = measure(item, (*path, key))
                size, levels = size + inner, max(levels, below)
            above.remove(id(value))
            known[id(value)] = size, levels + 1
        size, levels = known[id(value)]
        if len(path) + levels > MOST_LEVELS:
            raise _Refused(path, _TOO_DEEP)
        if size > MOST_VALUES:
            raise _Refused(path, _TOO_MANY)
        return size, levels

    try:
        measure(source.data, ())
    except _Refused as refused:
        problem = refused.problem
        line = source.line(problem.path)
        raise study_error(source.name, [Problem(problem.path, problem.text, line)]) from None


def _read_text(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
            raise StudyError(f"{path}: is a pipe or a device; name a YAML file")
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise StudyError(f"{path}: has more than {MOST_BYTES:,} bytes; {_LONG_LISTS}")
        return content.decode("utf-8-sig")
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file{_neighbours(path)}") from None
    except IsADirectoryError:
        raise StudyError(f"{path}: is a folder; name a YAML file inside it") from None
    except UnicodeDecodeError:
        raise StudyError(f"{path}: is not UTF-8 text; save it with the encoding UTF-8") from None
    except OSError as error:
        raise StudyError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise StudyError(f"{path}: cannot be the name of a file: {error}") from None


def study_name(text: str, root: Path = Path()) -> str:
    """Name of a study, given by its name, its file, or its folder of results, relative to `root`.

    Raises:
        StudyError: if it is a file of another folder than `config/studies`, and does not exist.
    """
    name = text.rstrip("/").removeprefix(f"{RESULTS}/")
    if not name.endswith((".yaml", ".yml")):
        return name
    path = Path(name)
    if path.parent not in (Path(), STUDIES) and not (root / path).is_file():
        raise StudyError(f"{text}: no such file{_neighbours(path)}")
    return path.stem


def studies_in(folder: Path) -> list[str]:
    """Sorted names of the studies in a folder; files of their points are none."""
    return sorted(file.stem for file in folder.glob("[!.]*.y*ml") if "." not in file.stem)


def _neighbours(path: Path) -> str:
    places = dict.fromkeys((path.parent, STUDIES))
    files = [file for place in places for file in sorted(place.glob("[!.]*.y*ml"))]
    names = [file.name for file in files if file.parent == path.parent]
    # The same name by another suffix or in another place, before what is only spelled alike.
    same = [file for file in files if file.stem == path.stem]
    if path.name == str(path) and not path.suffix and not same:
        near = difflib.get_close_matches(path.name, studies_in(STUDIES), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f", and no study of this name in {STUDIES}{hint}"
    alike = difflib.get_close_matches(path.name, names, n=1)
    if same or alike:
        return f"; did you mean {same[0] if same else path.parent / alike[0]}?"
    if not path.parent.is_dir():
        return f", and no folder {path.parent}"
    some = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    return f"; {path.parent} has {some}" if names else ""


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
    elif "undefined alias" in said:
        hint = "; a text that begins with * needs quotes"
    elif "expected" in said:
        hint = "; check for a missing bracket, quote or comma, and the indentation"
    return _problem_at(mark, f"not valid YAML: {said}{hint}")


def _problem_at(mark: yaml.Mark | None, text: str, path: KeyPath = ()) -> Problem:
    place = (None, None) if mark is None else (mark.line + 1, mark.column + 1)
    return Problem(path, text, *place)


class _Refused(Exception):
    """A problem that makes reading on pointless."""

    def __init__(self, path: KeyPath, text: str, mark: yaml.Mark | None = None) -> None:
        self.problem = _problem_at(mark, text, path)


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses exploding input, and collects problems that PyYAML accepts silently.

    These are repeated keys, octal numbers, numbers out of range, and characters that do not belong in text.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.problems: list[Problem] = []
        self._values = self._level = 0
        self._of_roles = False

    def report(self, node: yaml.Node, text: str) -> None:
        self.problems.append(_problem_at(node.start_mark, text))

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        tag = getattr(event, "tag", None)
        if tag not in (None, "!", f"{_TAG}str"):
            text = "not valid YAML: a tag that begins with ! stands before a value; remove the tag"
            raise _Refused((), text, event.start_mark)
        self._values += 1
        self._level += 1
        if self._values > MOST_VALUES:
            raise _Refused((), _TOO_MANY)
        if self._level > MOST_LEVELS:
            raise _Refused((), _TOO_DEEP, event.start_mark)
        self._of_roles = isinstance(index, yaml.ScalarNode) and index.value == "roles"
        node = super().compose_node(parent, index)
        self._level -= 1
        return node

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        node = super().compose_scalar_node(anchor)
        if not node.value.isprintable():
            for letter in node.value:
                if letter not in "\n\t" and unicodedata.category(letter) in ("Cc", "Cs"):
                    self.report(node, _odd(letter))
                    break
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        of_roles = self._of_roles
        node = super().compose_mapping_node(anchor)
        first: dict[str, yaml.Node] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                text = "a list or mapping stands where a key is wanted"
                raise _Refused((), text, key.start_mark)
            if key.tag == f"{_TAG}merge":
                continue
            if of_roles:
                # Layers of nn.Sequential have numbers as names (3, 0.3), and a layer may be called `on`.
                key.tag = f"{_TAG}str"
            if key.tag != f"{_TAG}str":
                why = f" ({BOOLEANS})" if key.tag == f"{_TAG}bool" else ""
                text = (
                    f"{key.value}: a key must be text{why}; choose a name that begins with a letter"
                )
                self.report(key, text)
            elif (before := first.setdefault(key.value, key)) is not key:
                text = f"this key stands twice, first on line {before.start_mark.line + 1}; keep one of the two"
                self.report(key, f"{key.value}: {text}")
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        if len(node.value) > MOST_VALUES:
            raise _Refused((), _TOO_MANY, node.start_mark)

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        text = str(node.value)
        if len(text) > _LONGEST_NUMBER:
            self.report(node, f"{text[:_LONGEST_NUMBER]}...: no number of a study is as long")
            return 0
        is_int = node.tag.endswith(":int")
        value: int | float
        try:
            value = self.construct_yaml_int(node) if is_int else self.construct_yaml_float(node)
        except ValueError:
            self.report(node, f"{text}: cannot be read as a number; put a text in quotes")
            return 0
        wrong = ""
        if _OCTAL.fullmatch(text):
            wrong = f"YAML reads a number that begins with 0 as octal, here {value}; write "
            wrong += text.lstrip("+-0_") or "0"
        elif ":" in text:
            wrong = f"YAML reads numbers with colons in base 60, here {value}; "
            wrong += "write one plain number, or put a text in quotes"
        elif math.isinf(value) and "inf" not in text.lower():
            wrong = "is too large for a computer, which takes it for infinite"
        elif value == 0 and re.search("[1-9]", text.lower().partition("e")[0]):
            wrong = "is too small for a computer, which takes it for 0; write 0"
        if wrong:
            self.report(node, f"{text}: {wrong}")
        return value


def _odd(letter: str) -> str:
    return f"the character U+{ord(letter):04X}, which no text of a study holds; remove it"


# Dates, and a plain = or <<, occur only in descriptions: keep them as text.
_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":value"))
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_constructor(f"{_TAG}merge", lambda loader, node: str(node.value))
for _tag in ("int", "float"):
    _Loader.add_constructor(f"{_TAG}{_tag}", _Loader.construct_number)
