"""Patch voting: the quick engine gives what the plain loop gives, and stops when told."""

from __future__ import annotations

import logging
import threading

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_fundus.errors import Cancelled, DeviceError
from napari_fundus.inference.voting import run_voting
from napari_fundus.runtime.progress import Monitor, Progress


class Small(nn.Module):
    """A patch network whose answer depends on the patch's own border, as all padded ones do."""

    def __init__(self, planes: int = 1, outputs: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(planes, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, outputs, 3, padding=1)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = torch.sigmoid(self.second(torch.relu(self.norm(self.first(x)))))
        return result


class Constant(nn.Module):
    """Says the same of every pixel."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.full_like(x[:, :1], 0.25)


def picture(height: int, width: int, planes: int = 1) -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.normal(size=(planes, height, width)).astype(np.float32)


def run_voting_reference(
    network: nn.Module, picture: np.ndarray, *, patch: int, stride: int, fill: float = 0.0
) -> np.ndarray:
    """Vote patch by patch, as the paper says: what `run_voting` is checked against."""
    height, width = picture.shape[-2:]
    margin = ((0, 0), (patch, patch), (patch, patch))
    padded = np.pad(picture, margin, constant_values=fill)
    total: np.ndarray | None = None
    votes = np.zeros(padded.shape[1:])
    for row in range(-(patch // stride) * stride, height, stride):
        for column in range(-(patch // stride) * stride, width, stride):
            here = np.s_[row + patch : row + 2 * patch, column + patch : column + 2 * patch]
            with torch.inference_mode():
                result = network(torch.from_numpy(padded[:, *here][np.newaxis]))[0].double().numpy()
            if total is None:
                total = np.zeros((len(result), *padded.shape[1:]))
            total[:, *here] += result
            votes[here] += 1
    inner = np.s_[patch : patch + height, patch : patch + width]
    return (total[:, *inner] / votes[inner]).astype(np.float32)


@pytest.mark.parametrize("stride", [1, 3, 4, 5, 8])
@pytest.mark.parametrize("shape", [(21, 30), (16, 8), (5, 40)])
def test_the_engine_equals_the_plain_loop(stride: int, shape: tuple[int, int]) -> None:
    network, image = Small(), picture(*shape)
    plain = run_voting_reference(network, image, patch=8, stride=stride)
    quick = run_voting(network, image, patch=8, stride=stride, precision="float32")
    np.testing.assert_allclose(quick.probability, plain, atol=1e-5)


def test_several_planes_and_classes_keep_their_places() -> None:
    network, image = Small(3, 2), picture(20, 17, planes=3)
    plain = run_voting_reference(network, image, patch=8, stride=2, fill=0.5)
    quick = run_voting(network, image, patch=8, stride=2, fill=0.5, precision="float32", batch=7)
    assert quick.probability.shape == (2, 20, 17)
    np.testing.assert_allclose(quick.probability, plain, atol=1e-5)


def test_pixels_of_the_field_of_view_get_all_votes_though_patches_off_it_are_left_out() -> None:
    network, image = Small(), picture(60, 60)
    rows, columns = np.mgrid[:60, :60]
    inside = (rows - 25) ** 2 + (columns - 25) ** 2 <= 15**2
    plain = run_voting_reference(network, image, patch=8, stride=4)
    quick = run_voting(network, image, patch=8, stride=4, inside=inside, precision="float32")
    np.testing.assert_allclose(quick.probability[0][inside], plain[0][inside], atol=1e-5)
    assert not quick.probability[0][~inside].any()
    assert quick.patches < run_voting(network, image, patch=8, stride=4).patches / 2


@pytest.mark.parametrize("batch", [1, 3, 1000])
def test_the_batch_does_not_change_the_result(batch: int) -> None:
    network, image = Small(), picture(25, 25)
    expected = run_voting(network, image, patch=8, stride=2, precision="float32", batch=16)
    got = run_voting(network, image, patch=8, stride=2, precision="float32", batch=batch)
    np.testing.assert_allclose(got.probability, expected.probability, atol=1e-6)


@pytest.mark.parametrize("stride", [1, 3, 8])
def test_the_mean_of_equal_votes_is_that_vote_up_to_the_border(stride: int) -> None:
    result = run_voting(Constant(), picture(19, 33), patch=8, stride=stride, precision="float32")
    np.testing.assert_allclose(result.probability, 0.25, rtol=1e-6)


def test_two_runs_are_equal_to_the_bit() -> None:
    network, image = Small(), picture(40, 40)
    one, two = (
        run_voting(network, image, patch=8, stride=1, precision="float32") for _ in range(2)
    )
    np.testing.assert_array_equal(one.probability, two.probability)


def test_bfloat16_stays_near_float32() -> None:
    network, image = Small(), picture(24, 24)
    exact = run_voting(network, image, patch=8, stride=4, precision="float32")
    coarse = run_voting(network, image, patch=8, stride=4, precision="bfloat16")
    assert (exact.precision, coarse.precision) == ("float32", "bfloat16")
    np.testing.assert_allclose(coarse.probability, exact.probability, atol=0.02)


class Greedy(Small):
    """Has no memory for more than five patches."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > 5:
            raise torch.OutOfMemoryError("no memory left")
        return super().forward(x)


def test_a_lack_of_memory_halves_the_batch_and_keeps_the_result(
    caplog: pytest.LogCaptureFixture,
) -> None:
    image = picture(25, 25)
    expected = run_voting(Small(), image, patch=8, stride=4, precision="float32")
    with caplog.at_level(logging.WARNING):
        got = run_voting(Greedy(), image, patch=8, stride=4, precision="float32", batch=16)
    np.testing.assert_allclose(got.probability, expected.probability, atol=1e-6)
    assert got.patches == expected.patches == 64
    assert got.batch == 4
    assert [r.getMessage() for r in caplog.records] == [
        "CPU ran out of memory: going on with a batch size of 8.",
        "CPU ran out of memory: going on with a batch size of 4.",
    ]


def test_a_lack_of_memory_for_one_patch_is_told() -> None:
    class Hopeless(Small):
        def forward(self, x: Tensor) -> Tensor:
            raise torch.OutOfMemoryError("no memory left")

    with pytest.raises(DeviceError, match="too little memory even for a batch size of 1"):
        run_voting(Hopeless(), picture(16, 16), patch=8, stride=4, precision="float32")


def test_cancelling_stops_within_the_batches_begun() -> None:
    monitor = Monitor()
    network, image = Small(), picture(64, 64)
    calls: list[int] = []

    class Watched(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            calls.append(len(x))
            monitor.cancel()
            result: Tensor = network(x)
            return result

    with pytest.raises(Cancelled):
        run_voting(
            Watched(), image, patch=8, stride=4, batch=4, precision="float32", monitor=monitor
        )
    assert len(calls) <= torch.get_num_threads() + 2
    assert sum(calls) < 289 / 4


def test_progress_grows_with_every_batch() -> None:
    seen: list[Progress] = []
    run_voting(Small(), picture(32, 32), patch=8, stride=4, batch=10, monitor=Monitor(seen.append))
    fractions = [p.fraction for p in seen]
    assert fractions == sorted(set(fractions))
    assert (fractions[0], fractions[-1], len(fractions)) == (0.0, 1.0, 10)  # 81 patches


def test_torch_keeps_its_number_of_threads() -> None:
    before = torch.get_num_threads()
    run_voting(Small(), picture(16, 16), patch=8, stride=4)
    assert torch.get_num_threads() == before
    inner: list[int] = []
    thread = threading.Thread(target=lambda: inner.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert inner == [before]


def test_the_number_of_cores_does_not_change_the_result() -> None:
    network, image = Small(), picture(30, 30)
    several = run_voting(network, image, patch=8, stride=2, precision="float32", batch=8)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = run_voting(network, image, patch=8, stride=2, precision="float32", batch=8)
    finally:
        torch.set_num_threads(before)
    np.testing.assert_allclose(several.probability, alone.probability, atol=1e-6)


def test_the_network_is_left_as_it_was() -> None:
    network = Small().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    run_voting(network, picture(16, 16), patch=8, stride=4, precision="bfloat16")
    assert network.training
    for name, value in network.state_dict().items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("stride", [0, 9])
def test_a_stride_that_does_not_fit_is_refused(stride: int) -> None:
    with pytest.raises(ValueError, match="choose 1 to 8"):
        run_voting(Small(), picture(16, 16), patch=8, stride=stride)


def test_an_empty_field_of_view_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        run_voting(Small(), picture(16, 16), patch=8, stride=4, inside=np.zeros((16, 16), np.bool_))
