"""Class-conditional diffusion model of MNIST with classifier-free guidance: training, sampling, files.

- The noise, its schedule and the loss: J. Ho, A. Jain, P. Abbeel, "Denoising diffusion probabilistic models",
  NeurIPS 2020.
- Guidance without a classifier: J. Ho, T. Salimans, "Classifier-free diffusion guidance", arXiv 2207.12598, 2022.
- Sampling in few steps: J. Song, C. Meng, S. Ermon, "Denoising diffusion implicit models", ICLR 2021.

Images are scaled to 0..1. Time t runs from 0, no noise, to 400: x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) e with e
standard normal and a_t, "signal" below, the product of 1 - beta_s over s <= t.
"""

import hashlib
import io
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gammascape.generate import GenerateError
from gammascape.generate.adam import Adam
from gammascape.generate.numbers import Purpose, cycled
from gammascape.generate.unet import NO_CLASS, Predictor, UNet
from gammascape.layout import whole
from gammascape.rng import make_key, normal, uniform

TIMES = 400
BETAS = (1e-4, 0.02)
DDIM_STEPS = 25
_EMA = 0.999
_SIDE = 28
_FORMAT = "gammascape diffusion 1"

Precision = Literal["float32", "bfloat16"]
Report = Callable[[int, Tensor], None]


def signal() -> Tensor:
    """a_t for t = 0..400, float64 (401,): product of 1 - beta_s, s = 1..t, beta linear from 1e-4 to 0.02."""
    betas = torch.linspace(*BETAS, TIMES, dtype=torch.float64)
    return torch.cat((torch.ones(1, dtype=torch.float64), torch.cumprod(1 - betas, 0)))


def add_noise(images: Tensor, times: Tensor, noise: Tensor) -> Tensor:
    """x_t of `images` x_0 (n, ...) at times (n,), from standard normal `noise` of their shape (Ho 2020, eq. 4)."""
    kept = signal().to(images.device)[times].view(-1, *[1] * (images.ndim - 1))
    return kept.sqrt().to(images.dtype) * images + (1 - kept).sqrt().to(images.dtype) * noise


def train_ddpm(
    images: Tensor,
    labels: Tensor,
    *,
    features: int,
    steps: int,
    batch_size: int,
    learning_rate: float,
    drop: float = 0.1,
    seed: int,
    device: torch.device,
    checkpoint: Path | None = None,
    seconds: float = 60.0,
    precision: Precision = "float32",
    report: Report | None = None,
) -> tuple[UNet, Tensor]:
    """Train on images uint8 (N, 28, 28) with labels (N,); return the averaged network and losses (steps,).

    The loss is the mean square error of the predicted noise (Ho 2020, eq. 14). Adam's learning rate falls linearly
    to 0. The returned weights are an exponential average with a horizon of 1000 steps, shorter at the
    start. The class is withheld with probability `drop`. All random numbers are functions of the seed and the
    number of the sample in training.

    Args:
        checkpoint: file for the state, written at most every `seconds` seconds and at the end. A run that
            finds its own state there resumes from it, to bit-equal weights on the CPU and on the same kind of GPU.
        report: called after every step with the steps done and the loss, a tensor without dimensions.

    Raises:
        GenerateError: if the checkpoint is damaged, or belongs to a training with other data or settings, or if
            `features` is not a positive multiple of 8.
    """
    settings = {
        "features": features,
        "steps": steps,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "drop": drop,
        "seed": seed,
        "precision": precision,
        "data": _digest(images, labels),
    }
    network, averaged = (_initial(features, seed).to(device) for _ in range(2))
    optimizer = Adam(network.parameters())
    losses = torch.zeros(steps, device=device)
    done = 0
    if checkpoint is not None and checkpoint.is_file():
        state = _read_checkpoint(checkpoint, settings, device)
        network.load_state_dict(state["network"])
        averaged.load_state_dict(state["averaged"])
        optimizer.load_state_dict(state["optimizer"])
        done = int(state["done"])
        losses.copy_(state["losses"])
    images, labels = images.to(device), labels.to(device, torch.int64)
    saved = time.monotonic()
    with torch.backends.cudnn.flags(
        enabled=True,
        benchmark=False,
        deterministic=True,
        allow_tf32=torch.backends.cudnn.allow_tf32,
    ):
        for step in range(done, steps):
            numbers = torch.arange(step * batch_size, (step + 1) * batch_size)
            chosen = cycled(numbers, len(images), seed, Purpose.BATCH).to(device)
            x = images[chosen][:, None].to(torch.float32) / 255
            loss = _loss(network, x, labels[chosen], numbers.to(device), drop, seed, precision)
            optimizer.step(loss, learning_rate * (1 - step / steps))
            share = 1 - min(_EMA, (1 + step) / (10 + step))
            for mean, now in zip(averaged.parameters(), network.parameters(), strict=True):
                mean.data.lerp_(now.data, share)
            losses[step] = loss.detach()
            is_last = step + 1 == steps
            if checkpoint is not None and (is_last or time.monotonic() - saved >= seconds):
                state = {
                    "network": network.state_dict(),
                    "averaged": averaged.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "losses": losses,
                    "done": step + 1,
                }
                _write(checkpoint, {"format": _FORMAT, "settings": settings, **state})
                saved = time.monotonic()
            if report is not None:
                report(step + 1, losses[step])
    return averaged.eval(), losses.cpu()


def _loss(
    network: nn.Module,
    x: Tensor,
    labels: Tensor,
    numbers: Tensor,
    drop: float,
    seed: int,
    precision: Precision,
) -> Tensor:
    times = uniform(make_key(seed, Purpose.TIME), numbers, 1)[:, 0] * TIMES
    times = times.to(torch.int64) + 1
    noise = normal(make_key(seed, Purpose.NOISE), numbers, _SIDE**2).view_as(x)
    withheld = uniform(make_key(seed, Purpose.DROP), numbers, 1)[:, 0] < drop
    labels = torch.where(withheld, NO_CLASS, labels)
    with torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        predicted = network(add_noise(x, times, noise), times, labels)
    return F.mse_loss(predicted, noise)


def _initial(features: int, seed: int) -> UNet:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(make_key(seed, Purpose.WEIGHTS))
        return UNet(features)


@torch.no_grad()
def sample(
    network: Predictor,
    labels: Tensor,
    *,
    numbers: Tensor,
    seed: int,
    guidance: float = 0.5,
    method: Literal["ddim", "ddpm"] = "ddim",
    sampling_steps: int | None = None,
    device: torch.device,
    batch_size: int = 1000,
    precision: Precision = "float32",
) -> Tensor:
    """Images uint8 (n, 28, 28) of classes `labels` (n,) for the sample numbers (n,), on the CPU.

    A step from time t to s first estimates x_0 = (x_t - sqrt(1 - a_t) e) / sqrt(a_t), clipped to 0..1, from the
    guided noise e = (1 + w) e(x, class) - w e(x) (Ho & Salimans 2022, eq. 6; w is `guidance`). With e of the
    clipped x_0 it goes to x_s = sqrt(a_s) x_0 + sqrt(1 - a_s - v) e + sqrt(v) z (Song 2021, eq. 12). DDIM has
    v = 0; DDPM has fresh normal z and v = (1 - a_s) / (1 - a_t) (1 - a_t / a_s), the posterior variance of
    Ho 2020, eq. 7.

    All noise is drawn by number, so an image is a function of (seed, number, label) up to the rounding of the
    network, which depends on the device and on the number of images computed together.

    Args:
        sampling_steps: number of evenly spaced times at which the network is evaluated; 25 for DDIM and all 400
            for DDPM if not given.

    Raises:
        GenerateError: if sampling_steps is not in 1..400.
        ValueError: if labels and numbers differ in length.
    """
    if labels.shape != numbers.shape:
        raise ValueError(f"{len(labels)} labels for {len(numbers)} sample numbers")
    if sampling_steps is None:
        sampling_steps = DDIM_STEPS if method == "ddim" else TIMES
    if not 1 <= sampling_steps <= TIMES:
        raise GenerateError(f"sampling steps must be in 1..{TIMES}, not {sampling_steps}")
    times = torch.linspace(TIMES, 0, sampling_steps + 1, dtype=torch.float64).round().long()
    parts = [torch.empty(0, _SIDE, _SIDE, dtype=torch.uint8)]
    for part_labels, part in zip(
        torch.split(labels, batch_size), torch.split(numbers, batch_size), strict=True
    ):
        part_labels, part = part_labels.to(device), part.to(device)
        x = normal(make_key(seed, Purpose.START), part, _SIDE**2).view(-1, 1, _SIDE, _SIDE)
        for t, s in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
                noise = _guided(network, x, t, part_labels, guidance)
            x = _step(x, noise, t, s, part, seed, fresh=method == "ddpm")
        parts.append((x[:, 0] * 255).round().clamp(0, 255).to(torch.uint8).cpu())
    return torch.cat(parts)


def _guided(network: Predictor, x: Tensor, t: int, labels: Tensor, guidance: float) -> Tensor:
    times = torch.full_like(labels, t)
    if guidance == 0:
        return network(x, times, labels).to(torch.float32)
    both = torch.cat((labels, torch.full_like(labels, NO_CLASS)))
    told, untold = network(x.repeat(2, 1, 1, 1), times.repeat(2), both).to(torch.float32).chunk(2)
    return (1 + guidance) * told - guidance * untold


def _step(
    x: Tensor, noise: Tensor, t: int, s: int, numbers: Tensor, seed: int, *, fresh: bool
) -> Tensor:
    a = signal()
    a_t, a_s = float(a[t]), float(a[s])
    clean = ((x - (1 - a_t) ** 0.5 * noise) / a_t**0.5).clamp(0, 1)
    noise = (x - a_t**0.5 * clean) / (1 - a_t) ** 0.5
    variance = (1 - a_s) / (1 - a_t) * (1 - a_t / a_s) if fresh else 0.0
    # The bracket is 0 in exact arithmetic at s = 0.
    x = a_s**0.5 * clean + max(1 - a_s - variance, 0.0) ** 0.5 * noise
    if variance > 0:
        z = normal(make_key(seed, Purpose.STEP, s), numbers, _SIDE**2)
        x = x + variance**0.5 * z.view_as(x)
    return x


def write_model(path: Path, network: UNet) -> None:
    """Write a network; the file appears only when it is complete."""
    content = {"features": network.features, "network": network.state_dict()}
    _write(path, {"format": _FORMAT, **content})


def read_model(path: Path, device: torch.device) -> UNet:
    """Network from a file of `write_model`.

    Raises:
        GenerateError: if the file is missing or not such a model.
    """
    if not path.is_file():
        raise GenerateError(f"{path}: no such model; the command `train` makes it")
    content = _read(path, "a model", device)
    if "settings" in content:
        raise GenerateError(f"{path}: a checkpoint of a training, not a model; finish the training")
    try:
        network = UNet(int(content["features"])).to(device)
        network.load_state_dict(content["network"])
    except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise GenerateError(f"{path}: not a model of this program ({error}); delete it") from None
    return network.eval()


def _read_checkpoint(path: Path, settings: Mapping[str, Any], device: torch.device) -> Any:
    content = _read(path, "a checkpoint", device)
    found = content.get("settings", {})
    differ = [name for name, value in settings.items() if found.get(name) != value]
    if differ:
        raise GenerateError(
            f"{path}: checkpoint of a training with other {', '.join(differ)}; finish that training, or "
            "delete the file"
        )
    return content


def _read(path: Path, kind: str, device: torch.device) -> dict[str, Any]:
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except OSError:
        raise
    except Exception:  # reading a damaged file can raise anything
        content = None
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise GenerateError(f"{path}: damaged, or not {kind} of this program; delete it")
    return content


def _write(path: Path, content: Mapping[str, Any]) -> None:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with whole(path) as partial:
        partial.write_bytes(buffer.getbuffer())


def _digest(images: Tensor, labels: Tensor) -> str:
    digest = hashlib.sha256(str(tuple(images.shape)).encode())
    for tensor in (images, labels.to(torch.int64)):
        digest.update(tensor.cpu().contiguous().numpy().data)
    return digest.hexdigest()
