"""Prototype probes: cosines of tokens with prototypes, and learned weights of layers."""

import numpy as np
import pytest
import torch

from ablate.probing.attentive import create_token_reader
from ablate.probing.probe import ProbeData
from ablate.probing.prototypes import PrototypePooling, Prototypes
from ablate.probing.training import CosineDecay, train_and_predict
from ablate.testing import check_probe


def make_noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("binary", [False, True])
def test_our_probes_pass(binary):
    check_probe(Prototypes(epochs=40, rate=0.01, seeds=1, num_prototypes=32, binary=binary))


@pytest.mark.parametrize("binary", [False, True])
def test_logits_are_those_of_a_loop_over_tokens_and_prototypes(binary):
    model = PrototypePooling((3, 4), 5, 2, binary=binary, seed=0)
    with torch.no_grad():
        model.gate.copy_(torch.tensor([0.5, -1.0, 2.0]))
    tokens, real = make_noise(2, 6, 12), torch.ones(2, 6, dtype=torch.bool)
    real[1, 4:] = False
    gate = np.exp([0.5, -1.0, 2.0]) / np.exp([0.5, -1.0, 2.0]).sum()
    logits = model(tokens, real).detach().numpy()
    for item in range(2):
        cosines = np.zeros((int(real[item].sum()), 5))
        for token in range(len(cosines)):
            layers = tokens[item, token].numpy().reshape(3, 4)
            mixed = sum(w * row / np.linalg.norm(row) for w, row in zip(gate, layers, strict=True))
            for number, prototype in enumerate(model.prototypes.detach().numpy()):
                if binary:
                    prototype = np.where(prototype < 0, -1, 1)
                cosines[token, number] = mixed @ prototype / np.linalg.norm(prototype) * 2
        pooled = np.concatenate([cosines.min(axis=0), cosines.max(axis=0)]).astype(np.float32)
        expected = model.classify(torch.from_numpy(pooled)).detach().numpy()
        assert np.allclose(logits[item], expected, atol=1e-5)


@pytest.mark.parametrize("binary", [False, True])
def test_prototypes_and_gate_are_trained(binary):
    model = PrototypePooling((2, 4), 3, 2, binary=binary, seed=0)
    model(make_noise(4, 5, 8), torch.ones(4, 5, dtype=torch.bool)).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


@pytest.mark.parametrize("binary", [False, True])
def test_the_layer_that_separates_the_classes_gets_the_largest_weight(binary):
    rng = np.random.default_rng(0)
    clips, tokens, width = 90, 4, 16
    rows = rng.normal(size=(clips, tokens, 3, width)).astype(np.float32)
    labels = np.arange(clips) % 2
    rows[labels == 1, :, 1, :8] += 1.5
    data = ProbeData(
        features=rows.reshape(clips * tokens, 3 * width),
        labels=np.where(np.arange(clips) < 60, labels, -1),
        num_classes=2,
        train=np.arange(60),
        valid=np.zeros(0, dtype=np.int64),
        query=np.arange(60, clips),
        bounds=np.arange(clips + 1) * tokens,
    )
    model = PrototypePooling((3, width), 16, 2, binary=binary, seed=0)
    schedule = CosineDecay(rate=0.02, batch=30, epochs=30)
    scores = train_and_predict(model, data, create_token_reader(data), schedule, select=False)
    weights = model.gate.softmax(dim=0)
    assert weights[1] > 0.45 > weights[[0, 2]].max()
    assert (scores.argmax(axis=1) == labels[60:]).mean() > 0.8
