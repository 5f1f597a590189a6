"""Losses: the paper's formula on worked examples; classes not annotated do not count."""

from __future__ import annotations

import math

import pytest
import torch

from napari_fundus.training.losses import (
    angular_distance,
    bce_dice_loss,
    dice_coefficient,
    dice_loss,
    masked_bce_with_logits,
    triplet_loss,
)


def test_dice_of_a_worked_example() -> None:
    target = torch.tensor([[[[1.0, 1.0], [0.0, 0.0]]]])
    probability = torch.tensor([[[[0.5, 1.0], [0.25, 0.0]]]])
    expected = (2 * 1.5 + 1) / (2 + 1.75 + 1)
    assert dice_coefficient(probability, target).item() == pytest.approx(expected)
    assert dice_loss(probability, target).item() == pytest.approx(1 - expected)


def test_nothing_there_and_nothing_found_is_perfect() -> None:
    nothing = torch.zeros(2, 1, 4, 4)
    assert dice_coefficient(nothing, nothing).item() == 1


def test_dice_over_the_batch_pools_the_patches_and_per_image_does_not() -> None:
    target = torch.zeros(2, 1, 2, 2)
    target[0] = 1
    probability = target.clone()
    probability[1, 0, 0, 0] = 1
    pooled = (2 * 4 + 1) / (4 + 5 + 1)
    each = ((2 * 4 + 1) / (4 + 4 + 1) + 1 / (0 + 1 + 1)) / 2
    assert dice_coefficient(probability, target).item() == pytest.approx(pooled)
    assert dice_coefficient(probability, target, per_image=True).item() == pytest.approx(each)


@pytest.mark.parametrize("loss", [dice_loss, masked_bce_with_logits, bce_dice_loss])
def test_classes_not_annotated_change_neither_loss_nor_gradient(loss) -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 2, 8, 8)
    target = (torch.rand(3, 2, 8, 8) > 0.7).float()
    annotated = torch.tensor([[1, 1], [1, 0], [0, 0]])
    other = target.clone()
    other[1, 1] = 1 - other[1, 1]
    other[2] = 1 - other[2]
    values, gradients = [], []
    for truth in (target, other):
        x = logits.clone().requires_grad_()
        value = loss(x.sigmoid() if loss is dice_loss else x, truth, annotated)
        value.backward()
        values.append(value.item())
        gradients.append(x.grad)
    assert values[0] == values[1]
    assert torch.equal(*gradients)
    assert not gradients[0][2].any()
    assert gradients[0][0].any()


def test_entropy_agrees_with_torch_where_all_is_annotated() -> None:
    logits, target = torch.randn(2, 3, 4, 4), torch.randint(0, 2, (2, 3, 4, 4)).float()
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, target)
    torch.testing.assert_close(masked_bce_with_logits(logits, target), expected)


def test_weights_act_on_their_class_or_on_its_lesion_pixels() -> None:
    logits = torch.zeros(1, 2, 1, 2)
    target = torch.tensor([[[[1.0, 0.0]], [[1.0, 0.0]]]])
    plain = masked_bce_with_logits(logits, target).item()
    by_class = masked_bce_with_logits(logits, target, class_weights=[3, 1]).item()
    assert by_class == pytest.approx(plain * (3 + 1) / 2)
    by_pixel = masked_bce_with_logits(logits, target, positive_weights=[3, 1]).item()
    assert by_pixel == pytest.approx(plain * (3 + 1 + 1 + 1) / 4)


def test_the_sum_is_of_its_parts() -> None:
    logits, target = torch.randn(2, 1, 4, 4), torch.randint(0, 2, (2, 1, 4, 4)).float()
    expected = 4 * masked_bce_with_logits(logits, target) + 1 * dice_loss(logits.sigmoid(), target)
    torch.testing.assert_close(bce_dice_loss(logits, target), expected)


def test_nothing_annotated_gives_no_gradient() -> None:
    logits = torch.randn(2, 2, 4, 4, requires_grad=True)
    value = bce_dice_loss(logits, torch.ones(2, 2, 4, 4), torch.zeros(2, 2))
    value.backward()
    assert value.item() == 0
    assert not logits.grad.any()


@pytest.mark.parametrize("loss", [dice_loss, masked_bce_with_logits, bce_dice_loss])
@pytest.mark.parametrize("annotated", [None, torch.tensor([[1, 1], [1, 0]])])
def test_pixels_outside_the_reviewed_region_have_no_gradient(loss, annotated) -> None:
    torch.manual_seed(1)
    logits = torch.randn(2, 2, 8, 8)
    target = (torch.rand(2, 2, 8, 8) > 0.7).float()
    unknown = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    unknown[0, :, :, 4:] = 1
    outside = unknown.bool().expand_as(logits)
    values, gradients = [], []
    for truth in (target, torch.where(outside, 1 - target, target)):
        x = logits.clone().requires_grad_()
        value = loss(x.sigmoid() if loss is dice_loss else x, truth, annotated, unknown=unknown)
        value.backward()
        values.append(value.item())
        gradients.append(x.grad)
    assert values[0] == values[1]
    assert torch.equal(*gradients)
    assert not gradients[0][outside].any()
    assert gradients[0][0, 0, :, :4].all()


@pytest.mark.parametrize("loss", [dice_loss, masked_bce_with_logits, bce_dice_loss])
def test_a_region_of_everything_changes_nothing(loss) -> None:
    torch.manual_seed(2)
    logits, target = torch.randn(2, 2, 8, 8), (torch.rand(2, 2, 8, 8) > 0.7).float()
    given = logits.sigmoid() if loss is dice_loss else logits
    everywhere = loss(given, target, unknown=torch.zeros(2, 1, 8, 8))
    torch.testing.assert_close(everywhere, loss(given, target))


@pytest.mark.parametrize(
    ("other", "distance"), [((2.0, 0.0), 0.0), ((1.0, 1.0), 0.5), ((0.0, 3.0), 1.0), ((-1, 0), 2)]
)
def test_distance_is_the_angle_as_a_share_of_a_right_one(other, distance) -> None:
    first, second = torch.tensor([[1.0, 0.0]]), torch.tensor([other], dtype=torch.float32)
    assert float(angular_distance(first, second)) == pytest.approx(distance, abs=2e-3)


def test_triplet_loss_of_a_worked_example() -> None:
    anchor = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    positive = torch.tensor([[1.0, 1.0], [1.0, 0.0]])  # distances .5 and 0
    negative = torch.tensor([[1.0, 1.0], [0.0, 1.0]])  # distances .5 and 1
    found = float(triplet_loss(anchor, positive, negative, margin=0.5))
    assert found == pytest.approx((0.5 + 0) / 2, abs=2e-3)


def test_gradient_stays_finite_where_all_are_the_same() -> None:
    same = torch.ones(2, 4, requires_grad=True)
    triplet_loss(same, same, same).backward()
    assert torch.isfinite(same.grad).all()


LOGITS = torch.tensor(
    [
        [[[0.5, -1.0], [2.0, 0.0]], [[-0.5, 1.5], [0.25, -2.0]], [[3.0, -1.0], [-0.75, 0.5]]],
        [[[-1.5, 0.75], [0.5, 1.0]], [[2.0, -0.25], [-1.0, 1.0]], [[0.5, 0.5], [-3.0, 2.0]]],
        [[[1.0, 1.0], [-2.0, 0.5]], [[0.0, -1.0], [1.0, -0.5]], [[-1.0, 2.0], [1.5, -0.5]]],
    ]
)
TARGET = torch.tensor(
    [
        [[[1, 0], [1, 0]], [[0, 1], [0, 0]], [[1, 1], [0, 0]]],
        [[[0, 1], [1, 1]], [[1, 0], [0, 1]], [[0, 0], [0, 1]]],
        [[[1, 0], [0, 0]], [[0, 0], [1, 1]], [[0, 1], [1, 0]]],
    ]
).float()
PARTLY = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 1, 0]])
"""Experts looked for the first and the second class in two images, for the third in none."""
REGION = torch.zeros(3, 1, 2, 2)
REGION[0, 0, 0, 1] = 1
REGION[2] = 1
"""Unknown: one pixel of the first image, and the whole third one."""


def counted(annotated, unknown) -> list[tuple[int, int, list[tuple[int, int]]]]:
    """Return image, class and pixels of all that counts, one by one."""
    found = []
    for image in range(3):
        for number in range(3):
            pixels = [
                (row, col)
                for row in range(2)
                for col in range(2)
                if unknown is None or not unknown[image, 0, row, col]
            ]
            if pixels and (annotated is None or annotated[image, number]):
                found.append((image, number, pixels))
    return found


def expected_dice(annotated, unknown, *, per_image: bool, delta: float = 1.0) -> float:
    """Return the loss by the paper's formula, summed in plain Python."""
    probability = (1 / (1 + (-LOGITS).exp())).tolist()
    groups: dict[object, list[float]] = {}
    for image, number, pixels in counted(annotated, unknown):
        both, size = groups.setdefault((image, number) if per_image else number, [0.0, 0.0])
        for row, col in pixels:
            p, y = probability[image][number][row][col], float(TARGET[image, number, row, col])
            both, size = both + p * y, size + p + y
        groups[(image, number) if per_image else number] = [both, size]
    each = [(2 * both + delta) / (size + delta) for both, size in groups.values()]
    return 1 - sum(each) / len(each)


def expected_entropy(annotated, unknown, class_weights, positive_weights) -> float:
    """Return the mean cross-entropy of the pixels that count, in plain Python."""
    losses = []
    for image, number, pixels in counted(annotated, unknown):
        for row, col in pixels:
            p = 1 / (1 + math.exp(-float(LOGITS[image, number, row, col])))
            y = float(TARGET[image, number, row, col])
            loss = -(positive_weights[number] * y * math.log(p) + (1 - y) * math.log(1 - p))
            losses.append(class_weights[number] * loss)
    return sum(losses) / len(losses)


PARTIAL = pytest.mark.parametrize(
    ("annotated", "unknown"),
    [(None, None), (PARTLY, None), (None, REGION), (PARTLY, REGION)],
    ids=["all", "classes", "region", "classes and region"],
)


@PARTIAL
@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize("delta", [1.0, 0.25])
def test_the_value_of_dice_is_the_formula_s_over_what_was_annotated(
    annotated, unknown, per_image, delta
) -> None:
    found = dice_loss(
        LOGITS.sigmoid(), TARGET, annotated, unknown=unknown, per_image=per_image, delta=delta
    )
    expected = expected_dice(annotated, unknown, per_image=per_image, delta=delta)
    assert found.item() == pytest.approx(expected, abs=1e-6)


@PARTIAL
@pytest.mark.parametrize("weights", [((1, 1, 1), (1, 1, 1)), ((3, 0.5, 2), (1, 4, 0.5))])
def test_the_value_of_the_entropy_is_the_mean_over_what_was_annotated(
    annotated, unknown, weights
) -> None:
    by_class, by_pixel = weights
    found = masked_bce_with_logits(
        LOGITS,
        TARGET,
        annotated,
        unknown=unknown,
        class_weights=by_class,
        positive_weights=by_pixel,
    )
    expected = expected_entropy(annotated, unknown, by_class, by_pixel)
    assert found.item() == pytest.approx(expected, abs=1e-6)


@PARTIAL
def test_the_value_of_the_sum_is_weighted_and_passes_all_on(annotated, unknown) -> None:
    by_class, by_pixel = (3, 0.5, 2), (1, 4, 0.5)
    found = bce_dice_loss(
        LOGITS,
        TARGET,
        annotated,
        unknown=unknown,
        bce_weight=2.5,
        dice_weight=0.75,
        class_weights=by_class,
        positive_weights=by_pixel,
        delta=0.25,
    )
    expected = 2.5 * expected_entropy(annotated, unknown, by_class, by_pixel)
    expected += 0.75 * expected_dice(annotated, unknown, per_image=False, delta=0.25)
    assert found.item() == pytest.approx(expected, abs=1e-6)


def test_the_triplet_loss_is_the_mean_over_the_batch_of_what_exceeds_the_margin() -> None:
    anchor = torch.tensor([[1.0, 0.0]]).repeat(3, 1)
    positive = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0]])  # distances .5, 0 and 1
    negative = torch.tensor([[0.0, 1.0], [1.0, 1.0], [1.0, 1.0]])  # distances 1, .5 and .5
    found = float(triplet_loss(anchor, positive, negative, margin=0.75))
    assert found == pytest.approx((0.25 + 0.25 + 1.25) / 3, abs=2e-3)
