"""Run a user's own code, only in the version named by a cell's identity; errors show only the user's frames.

Changes that the code makes to the process (`gammascape.usercode.isolation`) are undone when it returns.
"""

import importlib
import importlib.abc
import importlib.machinery
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import accumulate, chain
from pathlib import Path
from types import ModuleType
from typing import Any

from gammascape.command import UserError
from gammascape.manifests.paths import read_object
from gammascape.usercode.find import ORIGINS, meaning_hash
from gammascape.usercode.isolation import isolated, seed_of

SEED_IT = (
    "draw with a seed (torch.Generator().manual_seed(0), numpy.random.default_rng(0)), and use no clock, address "
    "or other number of the process"
)


class UserCodeError(UserError):
    """A user's code cannot be used; the message is for its author and needs no traceback from this package."""


def plain(value: object) -> str:
    """Text of a dtype or a layout without "torch."."""
    return str(value).removeprefix("torch.")


_FILES: dict[str, tuple[bytes, str, str]] = {}
"""Meaning hash of a file -> its text, the user's file that it is a copy of, and the file to show lines from."""


def provide(paths: Iterable[Path]) -> None:
    """Register source files; they are found by their meaning, so a wrong file counts as missing.

    Raises:
        UserCodeError: if a file cannot be read.
    """
    for path in paths:
        try:
            text = path.read_bytes()
            origin = _origin(path)
            same = origin.is_file() and origin.read_bytes() == text
            _FILES[meaning_hash(text)] = text, str(origin), str(origin if same else path)
        except (OSError, SyntaxError, ValueError) as error:
            raise UserCodeError(f"{path} cannot be read: {error}") from None


def _origin(path: Path) -> Path:
    """User's own file of which `path` is a copy."""
    for folder in path.parents:
        with suppress(OSError, ValueError):
            origin = read_object(folder / ORIGINS).get(path.relative_to(folder).as_posix())
            return Path(origin if isinstance(origin, str) else path)
    return path.absolute()


class Code:
    """Modules of one factory.

    Two factories may have modules of the same name, so each keeps its own, and they are in `sys.modules` only
    while this code is active.
    """

    def __init__(self, sources: Mapping[str, str]) -> None:
        """Collect the modules of source files, given with their hashes.

        Raises:
            UserCodeError: if a file was not provided in the version of its hash.
        """
        for name, digest in sources.items():
            if digest not in _FILES:
                raise UserCodeError(
                    f"{name} has changed since the cell was planned; run snakemake again, which plans cells with "
                    "the current version"
                )
        self.files = {_module_name(name): (name, *_FILES[sources[name]]) for name in sources}
        packages = {name.rpartition(".")[0] for name in self.files} - {"", *self.files}
        above = (accumulate(name.split("."), "{}.{}".format) for name in packages)
        self.packages = {*chain(*above)} - {*self.files}
        self.modules: dict[str, ModuleType] = {}

    def get(self, factory: str) -> Callable[..., Any]:
        """Function named by "module:function".

        Raises:
            UserCodeError: if importing fails, or it is not callable.
        """
        module, _, name = factory.partition(":")
        with self.active(f"{factory}: importing {module}"):
            found = getattr(importlib.import_module(module), name, None)
        if not callable(found):
            raise UserCodeError(f"{factory}: {module} has no function {name}")
        function: Callable[..., Any] = found
        return function

    def variables(self) -> dict[str, Any]:
        """Map "module.name" to the values that the files define; call it while this code is active."""
        return {
            f"{file}.{name}": value
            for file in self.files
            if file in sys.modules
            for name, value in vars(sys.modules[file]).items()
            if not name.startswith("__")
        }

    @contextmanager
    def active(self, doing: str | None = None, seed: int = 0) -> Iterator[None]:
        """Make the user's modules importable; with `doing`, also isolated from the process and seeded.

        Raises:
            UserCodeError: for any error inside, if `doing` describes the action.
        """
        _FINDER.activate(self)
        if doing is None:
            # Standard output may be reserved for a command's own tables.
            shown, sys.stdout = sys.stdout, sys.stderr
            try:
                yield
            finally:
                sys.stdout = shown
            return
        try:
            with isolated(seed):
                yield
        except UserCodeError:
            raise
        except (Exception, SystemExit, GeneratorExit) as error:
            raise UserCodeError(self.failure_text(doing, error)) from error

    def failure_text(self, doing: str, error: BaseException) -> str:
        """Message with the failure and the traceback of the user's own frames."""
        own = {shown for _, _, _, shown in self.files.values()}
        frames = [
            frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in own
        ]
        what = "".join(traceback.format_exception_only(error)).strip()
        lines = [f"{doing} failed: {what}", *traceback.format_list(frames)]
        return "\n".join(line.rstrip() for line in lines)


def load_code(sources: Mapping[str, str]) -> Code:
    """`Code` of source files and their hashes, cached for the process, so that each file is imported once."""
    return _load_code(tuple(sorted(sources.items())))


@lru_cache(maxsize=64)
def _load_code(sources: Sequence[tuple[str, str]]) -> Code:
    return Code(dict(sources))


def _module_name(relative: str) -> str:
    parts = relative.removesuffix(".py").split("/")
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


class _Loader(importlib.abc.Loader):
    def __init__(self, text: bytes, file: str, shown: str) -> None:
        self._text, self._file, self._shown = text, file, shown

    def exec_module(self, module: ModuleType) -> None:
        module.__file__ = self._file
        # Seeded for each file, so that its random numbers depend neither on the importer nor on earlier imports.
        with isolated(seed_of("import", module.__name__)):
            exec(compile(self._text, self._shown, "exec"), module.__dict__)


class _Finder(importlib.abc.MetaPathFinder):
    """Finder of the modules of the active code, consulted before all others."""

    def __init__(self) -> None:
        self._code: Code | None = None

    def activate(self, code: Code) -> None:
        if code is self._code:
            return
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)
        if self._code is not None:
            for name in (*self._code.files, *self._code.packages):
                if (module := sys.modules.pop(name, None)) is not None:
                    self._code.modules[name] = module
        for name in (*code.files, *code.packages):
            sys.modules.pop(name, None)
        sys.modules.update(code.modules)
        self._code = code

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if self._code is None:
            return None
        if fullname in self._code.files:
            name, text, file, shown = self._code.files[fullname]
            loader, package = _Loader(text, file, shown), name.endswith("__init__.py")
            return importlib.machinery.ModuleSpec(fullname, loader, origin=file, is_package=package)
        if fullname in self._code.packages:
            return importlib.machinery.ModuleSpec(fullname, None, is_package=True)
        own = fullname.partition(".")[0] in {*self._code.files, *self._code.packages}
        if own or (path is None and Path(f"{fullname}.py").is_file()):
            raise ModuleNotFoundError(
                f"{fullname} is not among the source files that the cell's identity names: import it with an "
                "import statement, from the study's folder or from the working directory",
                name=fullname,
            )
        return None


_FINDER = _Finder()
