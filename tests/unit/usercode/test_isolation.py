"""What a user's code does to the process: nothing of it is left when the code has returned."""

import gc
import inspect
import locale
import logging
import os
import random
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gammascape.usercode.isolation import SETTINGS, generators, isolated, seed_of

from ..own import MLP, model_of

EXAMPLE = torch.randn(12, 1, 8, 8, generator=torch.Generator().manual_seed(1))

CHANGES = """\
torch.set_default_dtype(torch.float64)
torch.set_default_device("meta")
torch.set_grad_enabled(False)
torch.inference_mode().__enter__()
torch.set_num_threads(torch.get_num_threads() + 1)
torch.autograd.set_detect_anomaly(True)
torch._C._set_deterministic_algorithms(True)
torch.set_flush_denormal(sys.float_info.min * 0.5 != 0)
torch.set_float32_matmul_precision("high")
torch.backends.cudnn.benchmark = True
torch.backends.cuda.enable_flash_sdp(False)
torch.set_autocast_enabled("cpu", True)
torch.backends.opt_einsum.enabled = False
torch.relu = lambda h: -h
torch.nn.functional.gelu = torch.tanh
torch.Tensor.relu = lambda h: -h
torch.nn.modules.module.register_module_forward_hook(lambda layer, inputs, output: output * 0)
np.seterr(all="raise")
np.random.set_bit_generator(np.random.PCG64(3))
random.seed(5)
torch.manual_seed(5)
os.chdir("/")
os.environ["ADDED"] = "1"
os.environ.pop("HOME", None)
os.umask(0o777)
sys.setrecursionlimit(sys.getrecursionlimit() + 1)
sys.path.insert(0, "somewhere")
sys.argv.append("--more")
sys.stdout = sys.stderr = None
warnings.simplefilter("error")
logging.disable(logging.CRITICAL)
logging.getLogger().handlers.clear()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
gc.disable()
locale.setlocale(locale.LC_ALL, "C.UTF-8")
"""
NAMES = {
    "torch": torch, "np": np, "os": os, "sys": sys, "random": random, "gc": gc, "locale": locale,
    "logging": logging, "signal": signal, "warnings": warnings,
}  # fmt: skip


def process() -> dict[str, object]:
    settings: dict[str, list[Any]] = {}
    for setting in SETTINGS:
        settings.setdefault(setting.name, []).append(setting.read())
    for names in settings["functions of torch, numpy and Python"][0]:
        for name in [name for name, value in names.items() if inspect.ismodule(value)]:
            del names[name]  # Parts of torch that are imported at their first use.
    return {
        **settings,
        **generators(),
        "inference mode": torch.is_inference_mode_enabled(),
        "streams": (sys.stdin, sys.stdout, list(sys.argv)),
        "warnings": list(warnings.filters),
    }


@pytest.mark.parametrize("statement", CHANGES.splitlines())
def test_a_setting_that_code_changes_is_put_back(statement: str) -> None:
    before = process()
    with isolated(3):
        exec(statement, dict(NAMES))
    assert process() == before


def test_all_settings_are_put_back_after_an_error() -> None:
    before = process()
    with pytest.raises(ZeroDivisionError), isolated(3) as changed:
        exec(CHANGES + "1 / 0", dict(NAMES))
    assert process() == before
    assert {"torch's default dtype", "numpy's error handling", "random numbers of torch"} <= {
        *changed
    }
    assert "the environment" not in changed  # No number depends on it.


def test_code_finds_seeded_generators_and_torch_as_it_starts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    draws = []
    for _ in range(2):
        with isolated(seed_of("model", "net:make", {"depth": 3})):
            draws.append((torch.rand(1), np.random.rand(), random.random()))  # noqa: NPY002
            print("shown")
            with pytest.raises(EOFError):
                input()
        torch.rand(7)
    assert draws[0] == draws[1]
    with torch.no_grad(), isolated(1):
        assert torch.is_grad_enabled()
    assert capsys.readouterr() == ("", "shown\n" * 2)
    assert seed_of("model", "net:make", {}) != seed_of("model", "net:other", {})


def test_importing_and_making_a_network_change_nothing(tmp_path: Path) -> None:
    imports = "import gc, locale, logging, os, random, signal, sys, warnings\nimport numpy as np\n"
    model_of(tmp_path / "first", MLP, EXAMPLE)
    before = process()
    model_of(tmp_path / "a", imports + CHANGES + MLP, EXAMPLE)
    indented = "".join(f"    {line}\n" for line in CHANGES.splitlines())
    # The forward pass would meet them too: they are put back after the constructor.
    text = imports + MLP.replace("    return Net", indented + "    return Net")
    model_of(tmp_path / "b", text.replace('    torch.set_default_device("meta")\n', ""), EXAMPLE)
    assert process() == before
