"""Whatever a file holds, it is a study or one message: no other error, nothing that grows without bound."""

import json
import os
import random
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from gammascape.study import StudyError, load_config, load_study
from gammascape.study.keys.axes import EtaAxis
from gammascape.study.reading.errors import MOST_PROBLEMS
from gammascape.study.reading.fields import each_once
from gammascape.study.reading.yaml_reader import MOST_BYTES, MOST_VALUES
from gammascape.study.study import RESERVED

from .good_study import DIGITS, GAMMA, GOOD, MLP, swap

ROOT = Path(__file__).parents[3]

# Each stands in the place of each value of the good study, as YAML text.
ODD = [
    *("~", "''", "true", "x", "-1", "0", "-0.0", "1.5", "2147483647", "99999999999", "9" * 1000),
    *("1e400", "1e-400", "1.0e+400", "1.0e-400", ".inf", "-.inf", ".nan", "0x10", "0o7", "010", "0x_"),
    *("1_000", "1:30", "2024-01-01", "0x" + "f" * 6000, "0b_", "1" * 39),
    *(r'"\0"', r'"\e[31m"', r'"\ud800"', r'"\UFFFFFFFF"', r'"\U00110000"', "'" + "x" * 300 + "'"),
    *("!!python/object/apply:os.abort []", "!!int x", "!!bool x", "!!binary aGk=", "!!set {a}", "!x 1"),
    *("[]", "{}", "[[]]", "[0, 0]", "[1, 2, x]", "{a: 1}", "{1: 1}", "{[a]: 1}", "{a: 1, a: 1}"),
    *("<<", "=", "{<<: 1}", "{<<: [{}, 1]}", "&a [*a]", "&a {b: *a}", "*b", "[" * 70 + "]" * 70),
    *("&a x", "|", "%x", "@", "`", "- 1", "? a", "'a\n", "\t", "\ufeff", "\x85", "\u2028", "\ud7ff"),
]  # fmt: skip


def outcome(path: Path) -> str:
    """The message that loading ends in; empty for a study."""
    try:
        load_study(path)
    except StudyError as error:
        message = str(error)
        assert message.startswith(f"{path}: ")
        assert all(line.isprintable() for line in message.splitlines())
        assert len(message) < 20_000
        return message
    return ""


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(item, (*path, key))


def with_value(path: tuple[Any, ...], text: str) -> str:
    """The good study with a piece of YAML in the place of one value."""
    data = yaml.safe_load(GOOD)
    if not path:
        return text
    holder = data
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = "@@"
    return json.dumps(data).replace('"@@"', text)


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("mine.yaml")


def test_any_value_in_any_place_is_a_study_or_one_message(mine: Path) -> None:
    pairs = [(path, odd) for path in places(yaml.safe_load(GOOD)) for odd in ODD]
    outcomes = set()
    for path, odd in random.Random(0).sample(pairs, 150):
        mine.write_text(with_value(path, odd), encoding="utf-8")
        outcomes.add(bool(outcome(mine)))
    assert outcomes == {True, False}


def test_a_file_with_any_bytes_in_it_is_a_study_or_one_message(mine: Path) -> None:
    draw = random.Random(1)
    for _ in range(100):
        content = bytearray(GOOD.encode())
        for _ in range(draw.randint(1, 4)):
            at = draw.randrange(len(content))
            content[at : at + draw.randint(0, 3)] = draw.choice(
                [
                    bytes([draw.randrange(256)]),
                    b"\n",
                    b"*a",
                    b"&a ",
                    b"{",
                    b"[",
                    b": ",
                    b"- ",
                    b"\r",
                    b"!",
                ]
            )
        mine.write_bytes(content)
        outcome(mine)


def nested(levels: int, leaf: str, again: int = 9) -> str:
    """A list of few bytes that aliases make into `again` to the power `levels` values."""
    lists = [f"&b0 [{leaf}]"]
    lists += [f"&b{k} [{', '.join([f'*b{k - 1}'] * again)}]" for k in range(1, levels)]
    return f"[{', '.join(lists)}]"


@pytest.mark.parametrize(
    "text",
    [
        swap("seed: [0, 1]", f"seed: {nested(10, 'x')}"),
        swap(GAMMA, f"gamma: {{log10: {nested(10, '1')}}}"),
        swap(MLP, f"mlp3: {{factory: 'a:b', width: 3, arguments: {{z: {nested(10, '1')}}}}}"),
        swap("description: A study without mistakes.", f"description: {nested(10, 'x')}"),
        swap(MLP, MLP + f"\nother: {nested(10, '{a: 1}')}").replace("\nother", "\n  other"),
    ],
)
def test_aliases_that_explode_are_refused(mine: Path, text: str) -> None:
    mine.write_text(text)
    assert f"holds more than {MOST_VALUES:,} values" in outcome(mine)


def test_merge_keys_that_explode_are_refused(mine: Path) -> None:
    merged = ["b0: &b0 {a: 1}"]
    merged += [f"b{k}: &b{k} {{<<: [{', '.join([f'*b{k - 1}'] * 9)}]}}" for k in range(1, 10)]
    mine.write_text("\n".join(merged))
    assert f"holds more than {MOST_VALUES:,} values" in outcome(mine)


def test_a_merge_below_of_what_is_merged_further_up_repeats_no_key(mine: Path) -> None:
    text = swap(
        MLP,
        "a: &a {kind: mlp, depth: 3, width: 8}\n  b: &b {<<: *a, width: 9}\n  mlp3: {<<: *b, depth: 4}",
    )
    mine.write_text(text.replace("model: mlp3", "model: [a, b, mlp3]"))
    assert [part.model_spec.model_dump()["width"] for part in load_study(mine).slices] == [8, 9, 9]


def test_aliases_that_nest_too_deeply_are_refused(mine: Path) -> None:
    mine.write_text(swap("seed: [0, 1]", f"seed: {nested(1000, '1', again=1)}"))
    assert "nested too deeply" in outcome(mine)


def test_the_configuration_is_held_to_the_same_bounds() -> None:
    bomb: list[Any] = ["x"]
    for _ in range(10):
        bomb = [bomb] * 9
    with pytest.raises(StudyError, match="holds more than"):
        load_config({"study": bomb})
    bomb[0] = bomb
    with pytest.raises(StudyError, match="contains itself"):
        load_config({"study": bomb})


def test_a_file_that_is_too_long_is_not_read(mine: Path) -> None:
    mine.write_text(GOOD + "#" * MOST_BYTES)
    assert f"has more than {MOST_BYTES:,} bytes" in outcome(mine)


class Counted(int):
    """A number that counts how often it is compared."""

    compared = 0
    __hash__ = int.__hash__

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return int(self) == other


def test_a_long_list_is_looked_through_once() -> None:
    values = tuple(map(Counted, range(10_000)))
    Counted.compared = 0
    assert each_once(values) == values
    assert Counted.compared < 10 * len(values)


def test_a_message_says_no_more_problems_than_a_person_reads(mine: Path) -> None:
    mine.write_text(swap("seed: [0, 1]", f"seed: [{', '.join(['x'] * 1000)}]"))
    lines = outcome(mine).splitlines()
    assert lines[0] == f"mine.yaml: more than {MOST_PROBLEMS} problems, of which these come first"
    assert len(lines) == MOST_PROBLEMS + 1


def test_the_cells_of_a_study_that_is_too_large_are_not_counted_to_the_end(
    mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gammascape.study.checks.MOST_CELLS", 100)
    counted: list[object] = []
    points = EtaAxis.points
    monkeypatch.setattr(EtaAxis, "points", lambda *given: counted.append(1) or points(*given))
    fine = "gamma: {log10: {from: -30, to: 30, per_decade: 100}}"
    mine.write_text(
        swap(GAMMA, fine) + "  - &g {}\n".replace("{}", grid_of_one_point()) + "  - *g\n" * 99
    )
    assert "grids[0]: brings the study to more than 100 cells, which would fill" in outcome(mine)
    assert len(counted) < 100


def grid_of_one_point() -> str:
    return "{model: mlp3, dataset: digits, loss: mse, gamma: {log10: 0}, eta: {log10: 0}, batch_size: 1, steps: 1}"


@contextmanager
def seconds(count: int) -> Iterator[None]:
    """Fail, and do not wait for ever, where a file is opened that never ends."""

    def end(*_: object) -> None:
        raise AssertionError("still reading")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(count)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (os.mkfifo, "is a pipe or a device"),
        (lambda path: path.symlink_to("/dev/zero"), "is a pipe or a device"),
        (lambda path: path.symlink_to(path.name), "cannot be read: Too many levels of symbolic links"),
        (lambda path: path.symlink_to("nowhere"), "no such file"),
        (Path.mkdir, "is a folder"),
    ],
)  # fmt: skip
def test_what_is_no_regular_file_is_named_as_what_it_is(
    mine: Path, make: Callable[[Path], None], said: str
) -> None:
    make(mine)
    with seconds(10):
        assert said in outcome(mine)


@pytest.mark.parametrize("name", ["a\0b.yaml", "x" * 300 + ".yaml", "\x1b[31m.yaml"])
def test_a_path_that_no_file_has_is_one_visible_message(mine: Path, name: str) -> None:
    with pytest.raises(StudyError) as caught:
        load_study(name)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("encode", "loads"),
    [
        (lambda text: b"\xef\xbb\xbf" + text.encode(), True),
        (lambda text: text.replace("\n", "\r\n").encode(), True),
        (lambda text: text.encode("utf-16"), False),
        (lambda text: text.encode("utf-16-le"), False),
    ],
)
def test_marks_of_an_editor_are_no_mistakes_and_another_encoding_is(
    mine: Path, encode: Callable[[str], bytes], loads: bool
) -> None:
    mine.write_bytes(encode(GOOD))
    assert (outcome(mine) == "") == loads


def test_the_folders_that_studies_share_are_those_of_the_code() -> None:
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "workflow").rglob("*.smk")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    found = re.findall(r'(?:results/|RESULTS / ")([a-z][a-z0-9-]*)', text)
    assert set(found) == set(RESERVED)


@pytest.mark.parametrize("name", RESERVED)
def test_a_study_cannot_take_a_folder_that_studies_share(mine: Path, name: str) -> None:
    path = Path(f"{name}.yaml")
    path.write_text(GOOD)
    assert f"a study cannot be named {name}: results/{name} is for what studies share" in outcome(
        path
    )


def test_names_of_slices_fit_into_file_names_of_143_letters(mine: Path) -> None:
    long, most = "m" * 40, 2**31 - 1
    text = swap(MLP, MLP.replace("mlp3", long), DIGITS, DIGITS.replace("digits", "d" * 40, 1))
    text = text.replace("model: mlp3", f"model: {long}").replace(
        "dataset: digits", f"dataset: {'d' * 40}"
    )
    mine.write_text(text.replace("mse", "xent"))
    (part,) = load_study(mine).slices
    largest = part.key.replace("B32", f"B{most}").replace("T600", f"T{most}")
    # eCryptfs leaves 143 letters; a file that is written has a name of its own beside it.
    assert len(f".{largest}.manifest.json.12345678-1234567") <= 143
    mine.write_text(text.replace(long, "m" * 41))
    assert f"models.{'m' * 41}: has more than 40 letters" in outcome(mine)
    assert "64 at most" in outcome_of_name("n" * 65)


def outcome_of_name(name: str) -> str:
    Path(f"{name}.yaml").write_text(GOOD)
    return outcome(Path(f"{name}.yaml"))


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        (swap("width: 64", "width: 1000000000"), "models.mlp3: ", "6.94 EiB of it for weights"),
        (swap("batch_size: 32", "batch_size: 2147483647"), "grids[0].batch_size: ", "for batches"),
        (
            swap(DIGITS, "digits: {kind: teacher, inputs: 2147483647}").replace(
                "width: 64", "width: 999"
            ),
            "models.mlp3: ",
            "for weights",
        ),
    ],
)
def test_a_network_that_no_machine_holds_is_refused_with_what_it_needs(
    mine: Path, text: str, where: str, what: str
) -> None:
    mine.write_text(text)
    message = outcome(mine)
    assert where in message
    assert what in message
    assert "no machine has more than 1 TiB" in message


def test_the_steps_of_a_very_long_run_fit_into_a_large_machine(mine: Path) -> None:
    mine.write_text(swap("steps: 600", "steps: 2147483647"))
    assert load_study(mine).cells
