"""An augmented sample is a function of its number; each distortion is what its name says."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from gammascape.data import augment as module
from gammascape.data.augment import DRAWN_OPERATIONS, OPERATIONS, augment, mixup
from gammascape.rng import make_key, uniform

STRENGTHS = ("weak", "strong")
# Rows of 32 fill the vector registers, rows of 31 do not.
SHAPES = ((3, 32, 32), (3, 33, 31), (1, 28, 28), (1, 8, 8))


def pixels(n: int, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_sample_is_the_same_in_any_batch_and_order(shape: tuple[int, ...], strength: str) -> None:
    # More than one piece of what is computed at once on the CPU.
    n = 300
    x, index = pixels(n, shape), torch.arange(n) * 7 + 1000
    together = augment(x, index, 3, strength)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(1))
    for size in (1, 2, 5, 37, 64, n):
        some = order[:size]
        assert torch.equal(augment(x[some], index[some], 3, strength), together[some])


@pytest.mark.parametrize("strength", STRENGTHS)
def test_other_seeds_and_numbers_give_other_distortions(strength: str) -> None:
    x, index = pixels(1, (3, 32, 32)).expand(64, -1, -1, -1), torch.arange(64)
    y = augment(x, index, 0, strength)
    assert len({image.numpy().tobytes() for image in y}) > 32
    same = (augment(x, index, 1, strength) == y).flatten(1).all(1)
    # Two weak crops are the same once in 9 * 9 * 2 = 162 draws, strong ones never.
    assert same.sum() <= 4


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("shape", SHAPES)
def test_pixels_are_float32_within_0_and_1_and_bytes_count_as_255ths(
    shape: tuple[int, ...], strength: str
) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(256, (200, *shape), generator=generator, dtype=torch.uint8)
    y = augment(x, torch.arange(200), 0, strength)
    assert y.shape == x.shape
    assert y.dtype == torch.float32
    assert y.min() >= 0
    assert y.max() <= 1
    assert torch.equal(augment(x.float() / 255, torch.arange(200), 0, strength), y)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_the_input_stays_and_has_no_gradient(strength: str) -> None:
    x = pixels(8, (3, 32, 32)).requires_grad_()
    before = x.detach().clone()
    assert not augment(x, torch.arange(8), 0, strength).requires_grad
    assert torch.equal(x, before)


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_looks_at_the_values_of_a_tensor(shape: tuple[int, ...], strength: str) -> None:
    # Tensors of the meta device have none: an item(), which would wait for a GPU, is an error.
    images = torch.empty(4, *shape, device="meta")
    index = torch.empty(4, dtype=torch.int64, device="meta")
    assert augment(images, index, 0, strength).shape == images.shape
    assert (
        mixup(images[None], images[None, :, 0, 0], index[:1], 0, 0.5)[0].shape[1:] == images.shape
    )


def test_a_mistake_is_named() -> None:
    x, index = pixels(2, (3, 32, 32)), torch.arange(2)
    with pytest.raises(ValueError, match="write weak or strong, not 'medium'"):
        augment(x, index, 0, "medium")
    with pytest.raises(ValueError, match="1 or 3 channels, not 2"):
        augment(x[:, :2], index, 0, "weak")
    with pytest.raises(ValueError, match="alpha of mixup"):
        mixup(x[None], x[None, :, 0, 0], index[:1], 0, -1.0)


@pytest.mark.parametrize("channels", [1, 3])
def test_weak_is_a_crop_of_the_zero_padded_image_and_flips_half_of_what_has_colour(
    channels: int,
) -> None:
    n = 1500
    (x,) = pixels(1, (channels, 16, 16))
    padded = F.pad(x, (2, 2, 2, 2))
    crops: dict[bytes, tuple[int, int, bool]] = {}
    for dy, dx, flipped in itertools.product(range(5), range(5), (False, True)):
        crop = padded[:, dy : dy + 16, dx : dx + 16]
        crops[(crop.flip(2) if flipped else crop).contiguous().numpy().tobytes()] = dy, dx, flipped
    y = augment(x.expand(n, -1, -1, -1), torch.arange(n), 0, "weak")
    found = [crops[image.numpy().tobytes()] for image in y]
    places = np.array([5 * dy + dx for dy, dx, _ in found])
    # Each of 25 places: 60 expected, standard deviation sqrt(60 * 24/25) = 7.6; four of them.
    assert abs(np.bincount(places, minlength=25) - 60).max() < 31
    flips = sum(flipped for *_, flipped in found)
    # Half of 1500: standard deviation sqrt(1500 / 4) = 19.4; four of them.
    assert abs(flips - 750) < 78 if channels == 3 else flips == 0


@pytest.mark.parametrize("channels", [1, 3])
def test_strong_boxes_lie_inside_and_have_the_laws_of_area_aspect_angle_and_flip(
    channels: int,
) -> None:
    n, side = 4000, 32
    ticks = (torch.arange(side) + 0.5) / side
    rows = ticks[:, None].expand(n, channels, side, side)
    columns = ticks.expand(n, channels, side, side)
    # Bilinear interpolation keeps a linear ramp: the output holds the coordinates that it was read at.
    y, x = (module._warp(ramp, torch.arange(n), 0)[:, 0, 15:17, 15:17] for ramp in (rows, columns))
    across = torch.stack((x[:, 0, 1] - x[:, 0, 0], y[:, 0, 1] - y[:, 0, 0])).double() * side
    down = torch.stack((x[:, 1, 0] - x[:, 0, 0], y[:, 1, 0] - y[:, 0, 0])).double() * side
    determinant = across[0] * down[1] - across[1] * down[0]
    flipped, area = determinant < 0, determinant.abs()
    # Coordinates are rounded by some 1e-7, and their differences are multiplied by 32: 1e-5 is three times that.
    small = 1e-5
    assert area.min() > 0.25 - small
    assert area.max() < 1 + small
    # Uniform in 0.25..1: mean 0.625, standard deviation 0.75 / sqrt(12) = 0.217, of the mean 0.0034; four of them.
    # The fourth moment gives 0.0009 for the variance 0.0469 of 4000; four of them.
    assert area.mean() == pytest.approx(0.625, abs=0.014)
    assert area.var() == pytest.approx(0.0469, abs=0.003)
    width, height = across.norm(dim=0), down.norm(dim=0)
    log_aspect = torch.log(width / height)
    # The relative error of a short side, of some 0.43, is twice as large, and the aspect has two.
    bound = torch.minimum(-torch.log(area), torch.tensor(math.log(4 / 3)))
    assert (log_aspect.abs() - bound).max() < 10 * small
    free = area < 3 / 4
    # Uniform between +- 0.288, standard deviation 0.166: of some 2667 boxes the mean has 0.0032.
    assert log_aspect[free].mean() == pytest.approx(0, abs=0.013)
    assert log_aspect[free].std() == pytest.approx(math.log(4 / 3) / math.sqrt(3), abs=0.01)
    for middle, extent in ((x.mean((1, 2)), width), (y.mean((1, 2)), height)):
        assert ((middle - 0.5).abs() - (1 - extent) / 2).max() < small
    sign = torch.where(flipped, -1.0, 1.0)
    angle = torch.rad2deg(torch.atan2(sign * across[1], sign * across[0]))
    # Uniform between +- 15 degrees: standard deviation 8.66, of the mean 0.137; four of them.
    assert angle.abs().max() < 15.01
    assert angle.mean() == pytest.approx(0, abs=0.55)
    assert angle.std() == pytest.approx(15 / math.sqrt(3), abs=0.3)
    # Half of 4000: standard deviation 31.6; four of them.
    assert abs(int(flipped.sum()) - 2000) < 127 if channels == 3 else not flipped.any()


def jittered(image: np.ndarray, draw: np.ndarray) -> np.ndarray:
    """One image (C, H, W), one change of its colours after the other."""
    brightness, contrast, saturation = 1 + 0.4 * draw[:3]

    def grey(colours: np.ndarray) -> np.ndarray:
        return colours[0] if len(colours) == 1 else np.tensordot((0.299, 0.587, 0.114), colours, 1)

    image = brightness * image
    middle = grey(image).mean()
    image = middle + contrast * (image - middle)
    if len(image) == 3:
        image = grey(image) + saturation * (image - grey(image))
        yiq = np.array(
            ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
        )
        luma, i, q = np.tensordot(yiq, image, 1)
        chroma = (i + 1j * q) * np.exp(2j * np.pi * 0.1 * draw[3])
        image = np.tensordot(np.linalg.inv(yiq), np.stack((luma, chroma.real, chroma.imag)), 1)
    return np.clip(image, 0, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_colours_change_as_one_image_at_a_time(channels: int) -> None:
    x, index = pixels(20, (channels, 8, 8)), torch.arange(20)
    draws = 2 * uniform(make_key(5, module._COLOUR), index, 4).double().numpy() - 1
    expected = np.stack(
        [jittered(image, draw) for image, draw in zip(x.double().numpy(), draws, strict=True)]
    )
    # A sum of four float32 products below 4: some 2e-7 each.
    np.testing.assert_allclose(module._jitter(x, index, 5), expected, rtol=0, atol=2e-6)


def test_hue_and_saturation_leave_grey_alone() -> None:
    x = pixels(50, (1, 8, 8))
    y = module._jitter(x.expand(-1, 3, -1, -1).contiguous(), torch.arange(50), 0)
    # Up to the rounding of the matrix, whose rows sum to scales of at most 1.96.
    torch.testing.assert_close(y[:, 0], y[:, 1], rtol=0, atol=1e-6)
    torch.testing.assert_close(y[:, 0], y[:, 2], rtol=0, atol=1e-6)


def column(*values: float) -> Tensor:
    return torch.tensor(values)[:, None, None, None]


def test_each_operation_is_what_it_is_for_one_image() -> None:
    x = 0.2 + 0.6 * pixels(3, (3, 8, 8))
    x[0, 1] = 0.5
    images = x.double().numpy()

    stretched = module._autocontrast(x.clone(), column(1, 0, 1) > 0)
    for k, c in itertools.product((0, 2), range(3)):
        low, high = images[k, c].min(), images[k, c].max()
        # The channel without contrast stays. A quotient of float32 differences of numbers below one: some 2e-7.
        wanted = images[k, c] if high == low else (images[k, c] - low) / (high - low)
        np.testing.assert_allclose(stretched[k, c], wanted, rtol=0, atol=1e-6)
    assert torch.equal(stretched[1], x[1])

    bits = np.floor(images * 255).astype(np.uint8)
    # Bytes stand exactly on the edges of steps; in the middle of a byte rounding cannot choose the other side.
    mid = torch.from_numpy((bits + 0.5) / 255).float()
    steps = column(16 * 255 / 256, 128 * 255 / 256, module._FINE)
    posterized = module._posterize(mid.clone(), steps)
    np.testing.assert_allclose(posterized[0] * 255, bits[0] & 0b11110000, rtol=0, atol=1e-4)
    np.testing.assert_allclose(posterized[1] * 255, bits[1] & 0b11111110, rtol=0, atol=1e-4)
    # What is not drawn is rounded to the spacing of float32 numbers near one.
    torch.testing.assert_close(posterized[2], mid[2], rtol=0, atol=2.0**-24)

    solarized = module._solarize(x, column(0.5, 0.6, 2.0))
    for k, threshold in enumerate((0.5, 0.6)):
        wanted = np.where(images[k] < threshold, images[k], 1 - images[k])
        np.testing.assert_allclose(solarized[k], wanted, rtol=0, atol=1e-7)
    assert torch.equal(solarized[2], x[2])

    sharpened = module._sharpen(x.clone(), column(0.8, -0.7, 0.0))
    for k, change in enumerate((0.8, -0.7)):
        wanted = images[k].copy()
        for c, i, j in itertools.product(range(3), range(1, 7), range(1, 7)):
            around = images[k, c, i - 1 : i + 2, j - 1 : j + 2]
            smooth = (around.sum() + 4 * images[k, c, i, j]) / 13
            wanted[c, i, j] += change * (images[k, c, i, j] - smooth)
        # A sum of nine float32 numbers below one.
        np.testing.assert_allclose(sharpened[k], wanted.clip(0, 1), rtol=0, atol=1e-6)
    assert torch.equal(sharpened[2], x[2])

    erased = module._erase(x.clone(), column(2, 1.2, -1), column(4, 0, 4), column(5, 7.9, 4))
    wanted_pixels = x.clone()
    wanted_pixels[0, :, 2:6, 3:7] = 0
    # Middles of pixels are at 0.5, 1.5, ...: 1.2 pixels about the corner (0, 7.9) hold one of them.
    wanted_pixels[1, :, :1, 7:] = 0
    assert torch.equal(erased, wanted_pixels)


def test_two_operations_are_drawn_from_the_table_with_replacement() -> None:
    n = 20_000
    amounts = module._amounts(torch.arange(n), 0, 32, 32)
    drawn = torch.stack(
        (
            amounts.autocontrast,
            amounts.posterize < module._FINE,
            amounts.solarize < 2,
            amounts.sharpness != 0,
            amounts.erase > 0,
        )
    ).view(len(OPERATIONS) - 1, n)
    once = 1 - (1 - 1 / len(OPERATIONS)) ** DRAWN_OPERATIONS
    # A share of 0.306 of 20000 has a standard deviation of 0.0033, of 2/36 one of 0.0016; five of each.
    np.testing.assert_allclose(drawn.double().mean(1), once, rtol=0, atol=0.017)
    for a, b in itertools.combinations(drawn, 2):
        assert (a & b).double().mean().item() == pytest.approx(2 / 36, abs=0.008)
    assert drawn.sum(0).max() == DRAWN_OPERATIONS
    kept = amounts.posterize[amounts.posterize < module._FINE] * (256 / 255)
    assert sorted(kept.unique().tolist()) == [16, 32, 64, 128]


def test_one_image_in_36_draws_identity_twice_and_stays() -> None:
    n = 8000
    x = pixels(n, (3, 8, 8))
    y = module._operate(x.clone(), torch.arange(n), 0)
    same = ((x - y).abs().amax((1, 2, 3)) <= 2.0**-24).double().mean().item()
    # 1 / 36 of 8000 has a standard deviation of 0.0018; five of them. Besides, a square in a corner may hold no
    # pixel and a solarization nothing bright, each in less than 1e-3 of the images.
    assert same == pytest.approx(1 / 36, abs=0.01)


def test_mixup_mixes_neighbours_by_one_share_for_each_step() -> None:
    x, steps = pixels(32, (3, 8, 8)).view(2, 16, 3, 8, 8), torch.tensor([7, 8])
    targets = torch.eye(10)[torch.arange(16) % 10].expand(2, 16, 10)
    mixed, soft = mixup(x, targets, steps, 0, 0.4)
    # Neighbours differ, so a row's own class holds the share.
    shares = soft[:, 1, 1].tolist()
    assert 0 < shares[0] != shares[1] < 1
    for n, share in enumerate(shares):
        for i in range(16):
            wanted = share * x[n, i] + (1 - share) * x[n, i - 1]
            # Two float32 products below one and their sum.
            torch.testing.assert_close(mixed[n, i], wanted, rtol=0, atol=2e-7)
    torch.testing.assert_close(soft.sum(2), torch.ones(2, 16), rtol=0, atol=2e-7)
    alone, _ = mixup(x[1:], targets[1:], steps[1:], 0, 0.4)
    assert torch.equal(alone[0], mixed[1])
    assert not torch.equal(mixup(x, targets, steps, 1, 0.4)[0], mixed)
    off = mixup(x, targets, steps, 0)
    assert off[0] is x
    assert off[1] is targets


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_mixup_shares_have_the_moments_of_the_beta_law(alpha: float) -> None:
    n = 40_000
    share = module._symmetric_beta(uniform(make_key(9), torch.arange(n), 2), alpha)
    assert share.min() >= 0
    assert share.max() <= 1
    variance = 1 / (4 * (2 * alpha + 1))
    # Deviations from 1/2 are at most 1/2: standard errors below 0.5 / 200 = 0.0025 for the mean and, for the
    # square and for the fourth power, whose spread is at most half their ranges 1/4 and 1/16, 0.0007 and 0.0002.
    assert share.mean().item() == pytest.approx(0.5, abs=0.011)
    assert (share - 0.5).square().mean().item() == pytest.approx(variance, abs=0.003)
    fourth = 3 / (16 * (2 * alpha + 1) * (2 * alpha + 3))
    assert (share - 0.5).pow(4).mean().item() == pytest.approx(fourth, abs=0.0009)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_gpu_gives_the_samples_of_the_cpu(shape: tuple[int, ...], strength: str) -> None:
    x, index = pixels(256, shape), torch.arange(256)
    here = augment(x, index, 0, strength)
    there = augment(x.cuda(), index.cuda(), 0, strength).cpu()
    if strength == "weak":
        assert torch.equal(here, there)
        return
    # Coordinates round to some 2e-6 of a pixel, between pixels that differ by up to one, and the colours and the
    # contrast multiply that by a few. A pixel on the edge of a step of posterize or solarize may take the other
    # side; 1e-6 of a step of 1/16 is rare.
    assert ((here - there).abs() < 1e-5).double().mean() > 0.99
