"""Classes of predictions: what a head assigns, how centre and head follow, and the loss."""

import copy

import pytest
import torch
from torch.nn import functional as F

import maskers
from ablate.model.class_head import ClassHead
from ablate.model.class_objective import DistanceAndClasses
from ablate.model.class_target import Classes
from ablate.model.objectives import L1, CrossEntropy
from ablate.model.predictor import Joint
from ablate.model.targets import Pixels, Teacher

PREDICTOR = ClassHead(predictor=Joint(dim=8, layers=1, heads=2), depth=2, hidden=12, bottleneck=6)


def build(models, **settings):
    settings = {"classes": 5, "momentum": (0.5, 0.9), "warmup": 0.5, **settings}
    return models.jepa(Classes(target=Teacher(normalise="none"), **settings), PREDICTOR)


def compute_scores(head, token):
    """Computes the scores of one token by the definition of the head."""
    linear, _, last = head.perceptron
    hidden = F.gelu(linear.weight @ token + linear.bias)
    unit = last.weight @ hidden + last.bias
    unit = unit / unit.norm()
    lengths = [weight / way.norm() for weight, way in zip(head.weight, head.direction, strict=True)]
    return torch.stack([s * way @ unit for s, way in zip(lengths, head.direction, strict=True)])


@pytest.mark.parametrize("as_in_code", [False, True])
def test_classes_centre_and_head_follow_their_definitions_over_steps(models, as_in_code):
    """Three steps, in two parts each, against one token at a time."""
    jepa, batch = build(models, as_in_reference_code=as_in_code), models.batch()
    centre, head = torch.zeros(5), copy.deepcopy(jepa.predictor.head)
    for step, progress in enumerate((0.0, 0.25, 1.0)):
        averaged = []
        for part in (slice(0, 2), slice(2, 5)):
            mask = type(batch.mask)(batch.mask.context[part], batch.mask.targets[part])
            prediction = jepa(batch.patches[part], mask, batch.valid[part], progress=progress)
            temperature = {0.0: 0.04, 0.25: 0.055, 1.0: 0.07}[progress]
            values = jepa.target.inner(batch.patches[part], prediction.query).tokens
            for row, token in enumerate(values):
                scores = compute_scores(head, token)
                classes = ((scores - centre) / temperature).softmax(0)
                expected = torch.cat([token, classes])
                assert torch.allclose(prediction.target[row], expected, atol=1e-4), step
                averaged.append(classes if as_in_code else scores)
                predicted = prediction.predicted[row]
                own = compute_scores(jepa.predictor.head, predicted[: len(token)])
                assert torch.allclose(predicted[len(token) :], own, atol=1e-5)
        with torch.no_grad():
            for parameter in jepa.predictor.head.parameters():
                parameter += 0.1 * (step + 1)
        jepa.update_target(0.99, progress)
        centre = 0.9 * centre + 0.1 * torch.stack(averaged).mean(0).detach()
        momentum = {0.0: 0.5, 0.25: 0.6, 1.0: 0.9}[progress]
        pairs = zip(head.parameters(), jepa.predictor.head.parameters(), strict=True)
        with torch.no_grad():
            for average, source in pairs:
                average.copy_(momentum * average + (1 - momentum) * source)


def test_a_step_that_is_repeated_counts_once(models):
    jepa, batch = build(models), models.batch()
    jepa(batch.patches, batch.mask, batch.valid)
    jepa.target.discard_pending()
    jepa(batch.patches, batch.mask, batch.valid)
    once = build(models)
    once(batch.patches, batch.mask, batch.valid)
    for target in (jepa.target, once.target):
        target.finish_step(0.0)
    assert torch.equal(jepa.target.centre, once.target.centre)


def test_only_the_head_of_the_predictor_is_trained(models):
    jepa, batch = build(models), models.batch()
    objective = DistanceAndClasses(classes=5)
    jepa(batch.patches, batch.mask, batch.valid).loss(objective).backward()
    assert all(p.grad is not None for p in jepa.predictor.head.parameters())
    assert not any(p.requires_grad for p in jepa.target.parameters())
    names = [name for name, _ in jepa.named_parameters()]
    assert len(names) == len(set(names))


def test_the_loss_is_the_weighted_sum_of_a_distance_and_a_cross_entropy():
    predicted, target = torch.randn(2, 7, 9, generator=torch.Generator().manual_seed(0))
    target[:, 4:] = target[:, 4:].softmax(dim=1)
    objective = DistanceAndClasses(objective=L1(), classes=5, share=0.25, temperature=0.5)
    distance = L1().distance(predicted[:, :4], target[:, :4], None)
    entropy = CrossEntropy().distance(predicted[:, 4:] / 0.5, target[:, 4:], None)
    expected = 0.75 * distance + 0.25 * entropy
    assert torch.allclose(objective.distance(predicted, target, None), expected, atol=1e-6)
    mean = target.mean(dim=0, keepdim=True)
    from_mean = objective.predict_from_mean(mean)
    assert torch.allclose((from_mean[:, 4:] / 0.5).softmax(1), mean[:, 4:], atol=1e-4)


def test_classes_without_a_head_are_an_error_with_the_part_to_use(models):
    with pytest.raises(ValueError, match=r"use `ablate\.model\.class_head\.ClassHead`"):
        models.jepa(Classes(), Joint(dim=8, layers=1, heads=2))
    with pytest.raises(ValueError, match=r"`ablate\.model\.class_target\.Classes` as the target"):
        models.jepa(Teacher(), PREDICTOR)


def test_classes_of_values_that_the_head_cannot_read_are_an_error(models):
    with pytest.raises(ValueError, match=r"as wide as the encoder, 16, .* `Pixels` is 6 wide"):
        models.jepa(Classes(target=Pixels()), PREDICTOR)


def test_classes_are_predicted_by_block_if_the_other_predictor_does(models):
    from ablate.model.predictor import PerTarget

    predictor = ClassHead(predictor=PerTarget(dim=8, layers=1, heads=2), hidden=12, bottleneck=6)
    jepa = models.jepa(Classes(classes=5), predictor)
    batch = models.batch(maskers.MultiBlock(num_targets=2))
    loss = jepa(batch.patches, batch.mask, batch.valid).loss(
        DistanceAndClasses(classes=5, reduction="target")
    )
    assert loss.isfinite()
