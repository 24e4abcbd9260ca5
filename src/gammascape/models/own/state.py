"""State of a user's network besides its parameters: buffers, plain attributes, variables of its files.

A place is a dotted name such as "odd.table" or "odd.cache[8]". Its mark is a short value that changes when the
content changes, and is the same in every process.
"""

import argparse
import copy
import ctypes
import functools
import hashlib
import io
import queue
import random
import re
import threading
import types
import weakref
from array import array
from collections import UserDict, UserList, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from contextvars import ContextVar
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gammascape.usercode.find import NEVER_LOCAL

_OWN = frozenset(vars(nn.Module())) - {"training"}
"""Attributes that every module has."""

_HOOKS = tuple(key for key in vars(nn.Module()) if key.endswith(("ward_hooks", "ward_pre_hooks")))
"""Attributes that hold the functions called in a module's passes."""

_PLAIN = (bool, int, float, complex, str, bytes, bytearray, array, type(None), np.generic)
_GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
_SHARED = frozenset(map(id, (vars(random)["_inst"], vars(np.random.mtrand)["_rand"])))
"""Generators of the whole process; functions such as `random.random` are their methods."""

_LOOKED_INTO = (
    *(*_PLAIN, *_GENERATORS, Tensor, np.ndarray),
    *(Mapping, list, tuple, set, frozenset, deque, UserList, Iterator),
    *(functools.partial, types.MethodType),
)
"""Types that are inspected in a user's files, besides their own objects, functions and classes."""

_CONTENTS: Mapping[type, Callable[[Any], Mapping[str, Any]]] = {
    types.SimpleNamespace: vars,
    argparse.Namespace: vars,
    threading.local: vars,
    queue.Queue: lambda value: {"queue": value.queue},
    UserDict: lambda value: {"data": value.data},
    ContextVar: lambda value: {"value": value.get(None)},
    weakref.ref: lambda value: {"object": value()},
    io.StringIO: lambda value: {"text": value.getvalue(), "position": value.tell()},
    io.BytesIO: lambda value: {"bytes": value.getvalue(), "position": value.tell()},
    ctypes._SimpleCData: lambda value: {"value": value.value},
    ctypes.Array: lambda value: {"values": [*value]},
}
"""Classes of these libraries whose objects are inspected, and their contents."""

_DEEPEST = 1500
"""Length of a place beyond which nothing is inspected, as in a chain of many objects."""

_MANY, _SOME = 1000, 64
"""Size from which on a container is read in one piece; repeated checks sample some of its entries."""

NESTED = 100
"""Lists within lists that a module may hold."""

WHOLE_BYTES = 1 << 16
"""Largest array that repeated checks read in full; of larger arrays they sample some numbers."""

Marks = dict[str, dict[str, Any]]
"""Place of an attribute, buffer or variable -> places inside it -> mark."""


def attributes(module: nn.Module) -> Iterator[tuple[dict[str, Any], str, str]]:
    """(mapping, key, place) of each plain attribute and buffer of a module and the modules below it."""
    for name, layer in module.named_modules():
        prefix = f"{name}." if name else ""
        for key in vars(layer):
            if key not in _OWN:
                yield vars(layer), key, prefix + key
        for key in layer._buffers:
            yield layer._buffers, key, prefix + key


def marks_of(module: nn.Module, numbers_of: Callable[[Tensor], bytes]) -> Marks:
    """Marks of all state of a module besides its parameters."""
    own = _ids(module)
    found = {place: where[key] for where, key, place in attributes(module)}
    for name, layer in module.named_modules():
        prefix = f"{name}." if name else ""
        found |= {f"{prefix}{k}": [*hooks.values()] for k in _HOOKS if (hooks := vars(layer)[k])}
    return {place: _marks(value, place, own, numbers_of) for place, value in found.items()}


def variables(values: Mapping[str, Any], numbers_of: Callable[[Tensor], bytes]) -> Marks:
    """Marks of the values, objects, functions and classes that files define."""
    marks: Marks = {}
    files = {place.rpartition(".")[0] for place in values}
    for place, value in values.items():
        named = {place: value}
        if isinstance(value, type) and value.__module__ == place.rpartition(".")[0]:
            named = {f"{place}.{key}": one for key, one in vars(value).items() if key[:2] != "__"}
        for name, one in named.items():
            looked_into = isinstance(one, (*_LOOKED_INTO, *_CONTENTS))
            if looked_into or getattr(one, "__module__", "") in files:
                marks[name] = _marks(one, name, set(), numbers_of)
    return marks


def difference(before: Marks, after: Marks) -> dict[str, str]:
    """Place -> the first place inside it whose mark differs."""
    found = {}
    for place in (*before, *after):
        if before.get(place) != after.get(place):
            one, other = before.get(place, {}), after.get(place, {})
            inner = (name for name in (*one, *other) if one.get(name) != other.get(name))
            found[place] = next(inner, place)
    return found


def tensor_bytes(value: Tensor) -> bytes:
    """All numbers of a tensor as bytes."""
    dense = value.to_dense() if value.layout != torch.strided else value
    return bytes(dense.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())


def short_bytes(value: Tensor) -> bytes:
    """Bytes that are cheap to read: all numbers of a small tensor, some of a large one, none on a GPU."""
    version = f"{id(value)} {value._version}".encode()
    if value.device.type != "cpu" or value.layout != torch.strided:
        return version
    if value.numel() * value.element_size() <= WHOLE_BYTES:
        return tensor_bytes(value)
    flat = value.detach().flatten()
    return version + tensor_bytes(flat[:: -(-flat.numel() // 1024)])


def constants_digest(marks: Marks) -> str:
    """Digest of the numbers and arrays among marks, without texts, such as paths, that depend on the machine."""
    flat = {name: mark for inner in marks.values() for name, mark in inner.items()}
    kept = sorted((name, mark) for name, mark in flat.items() if mark[0] != "text")
    return hashlib.sha256(repr(kept).encode()).hexdigest()


def values_of(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """(place, value) of all state of a module besides its layers and parameters."""
    own = _ids(module)
    for where, key, place in attributes(module):
        yield from _inside(where[key], place, own, set())


def has_tensor(value: Any, nested: int = 0) -> bool:
    """Return whether `to_device` would change a value.

    Raises:
        RecursionError: if more than NESTED lists or mappings are inside each other.
    """
    if isinstance(value, list | tuple | set | dict):
        if nested > NESTED:
            raise RecursionError
        inner = value.values() if isinstance(value, dict) else value
        return any(has_tensor(one, nested + 1) for one in inner)
    return isinstance(value, Tensor) and not isinstance(value, nn.Parameter)


def to_device(value: Any, dtype: torch.dtype, device: torch.device) -> Any:
    """Value with its tensors, also in lists and mappings, copied to this dtype and device."""
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
        # A copy is aligned like every new tensor: MKL's rounding depends on alignment.
        if value.is_complex() or value.is_floating_point():
            dtype = dtype.to_complex() if value.is_complex() else dtype
            return value.detach().to(device, dtype, copy=True)
        return value.detach().to(device, copy=True)
    if isinstance(value, dict):
        new = copy.copy(value)
        new.update((key, to_device(one, dtype, device)) for key, one in value.items())
        return new
    if isinstance(value, list | tuple | set):
        parts = [to_device(one, dtype, device) for one in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


def copy_of(value: Any) -> Any:
    """Copy of a value, with new lists, mappings and tensors."""
    if isinstance(value, dict):
        new = copy.copy(value)
        new.update((key, copy_of(one)) for key, one in value.items())
        return new
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
        return value.detach().clone()
    return type(value)(map(copy_of, value)) if type(value) in (list, set, tuple) else value


def _ids(module: nn.Module) -> set[int]:
    return {id(part) for part in (*module.modules(), *module.parameters())}


def _marks(
    value: Any, place: str, own: set[int], numbers_of: Callable[[Tensor], bytes]
) -> dict[str, Any]:
    marks: dict[str, Any] = {}
    for name, one in _inside(value, place, own, set(), in_part=numbers_of is short_bytes):
        if isinstance(one, np.ndarray) and one.dtype != object:
            # torch lacks some of numpy's dtypes.
            one = torch.from_numpy(np.frombuffer(one.tobytes() + bytes(1), np.uint8).copy())
        if isinstance(one, Tensor):
            try:
                numbers = hashlib.sha256(numbers_of(one)).hexdigest()
                marks[name] = "tensor", f"{one.dtype} {tuple(one.shape)}", numbers
            except (RuntimeError, NotImplementedError, TypeError):
                marks[name] = "text", type(one).__name__  # Its numbers cannot be read.
        elif isinstance(one, _GENERATORS):
            marks[name] = "generator", hashlib.sha256(_state(one)).hexdigest()
        elif isinstance(one, Iterator):
            marks[name] = "text", _progress(one)
        elif isinstance(one, bool | int | float | complex | np.generic):
            marks[name] = "number", repr(one)
        else:
            marks[name] = "text", repr(one) if isinstance(one, _PLAIN) else type(one).__name__
    return marks


def _state(generator: Any) -> bytes:
    if isinstance(generator, torch.Generator):
        return bytes(generator.get_state().cpu().numpy())
    if isinstance(generator, np.random.Generator):
        return repr(generator.bit_generator.state).encode()
    numpy = isinstance(generator, np.random.RandomState)
    return repr(generator.get_state() if numpy else generator.getstate()).encode()


def _progress(iterator: Iterator[Any]) -> str:
    """Position of an iterator, comparable within one process."""
    if (frame := getattr(iterator, "gi_frame", None)) is not None:
        return repr((frame.f_lasti, frame.f_locals))
    try:
        return repr(iterator.__reduce__())
    except TypeError:
        return repr(iterator)


def _inside(
    value: Any, place: str, own: set[int], seen: set[int], *, in_part: bool = False
) -> Iterator[tuple[str, Any]]:
    """(place, value) of the contents of lists, mappings, closures and objects of the user's own classes."""
    if id(value) in own or id(value) in _SHARED:
        return
    if isinstance(value, np.ndarray) and value.dtype == object:
        value = value.tolist()
    contents = next((one for base, one in _CONTENTS.items() if isinstance(value, base)), None)
    read = (*_PLAIN, *_GENERATORS, Tensor, np.ndarray, nn.Module, Iterator)
    if contents is None and isinstance(value, read):
        yield place, value
        return
    if id(value) in seen or len(place) > _DEEPEST:
        return
    seen.add(id(value))
    parts: Iterable[tuple[str, Any]] = ()
    kind = type(value)
    many = isinstance(value, Mapping | list | tuple) and len(value) > _MANY
    if many and in_part:
        some = value.items() if isinstance(value, Mapping) else enumerate(value)
        every = islice(some, 0, None, len(value) // _SOME)
        parts = [(" length", len(value)), *((f"[{_shown(key)}]", one) for key, one in every)]
    elif many and _is_plain(value):
        parts = [("", repr(value))]
    elif isinstance(value, Mapping):
        parts = ((f"[{_shown(key, n)}]", one) for n, (key, one) in enumerate(value.items()))
    elif isinstance(value, set | frozenset):
        parts = [("", " ".join(sorted(_shown(one) for one in value)))]
    elif isinstance(value, list | tuple | deque | UserList):
        parts = ((f"[{n}]", one) for n, one in enumerate(value))
    elif isinstance(value, functools.partial):
        parts = [("", value.func), (" arguments", value.args), ("", value.keywords)]
    elif isinstance(value, types.FunctionType):
        cells = dict(zip(value.__code__.co_freevars, value.__closure__ or (), strict=False))
        parts = [(f".{name}", one) for name, one in vars(value).items()]
        if value.__module__.partition(".")[0] not in NEVER_LOCAL:
            parts += [(" defaults", (value.__defaults__, value.__kwdefaults__))]
        with suppress(ValueError):  # a variable that has no value yet
            parts += [(f".{name}", cell.cell_contents) for name, cell in cells.items()]
    elif isinstance(value, types.MethodType | types.BuiltinMethodType):
        parts = [(".__self__", value.__self__)]
    elif contents is not None:
        parts = [(f".{name}", one) for name, one in contents(value).items()]
    elif kind.__module__.partition(".")[0] not in NEVER_LOCAL:
        # With __slots__ the state is a pair of mappings.
        state = object.__getstate__(value)
        found = [one for one in (state if isinstance(state, tuple) else (state,)) if one]
        parts = [(f".{name}", one) for one in found for name, one in one.items()]
    yield f"{place} ({kind.__name__})", kind.__name__
    for name, one in parts:
        yield from _inside(one, place + name, own, seen, in_part=in_part)


def _is_plain(value: Any) -> bool:
    if type(value) is dict:
        return all(map(_is_plain, value)) and all(map(_is_plain, value.values()))
    return isinstance(value, _PLAIN) or (
        type(value) in (list, tuple) and all(map(_is_plain, value))
    )


def _shown(value: Any, number: int | str = "") -> str:
    """Text of a key or member in a place, with a number instead of its address, which changes each time."""
    text = re.sub(" at 0x[0-9a-f]+", "", repr(value))
    return text if text == repr(value) else f"{text}{number}"
