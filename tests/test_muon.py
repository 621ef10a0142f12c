"""Muon beside PyTorch's own, which knows matrices alone and works in bf16."""

from __future__ import annotations

import torch
from torch import nn

from sam3_edge.export.muon import Muon, optimisers, orthogonalised


def test_singular_values_become_one_and_singular_vectors_stay() -> None:
    matrix = torch.randn(24, 60, generator=torch.Generator().manual_seed(1))
    made = orthogonalised(matrix)
    values = torch.linalg.svdvals(made)
    assert values.min() > 0.6 and values.max() < 1.3
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    turned = left.T @ made @ right.T
    assert (turned - torch.diag(turned.diag())).abs().max() < 1e-4
    torch.testing.assert_close(orthogonalised(matrix.T), made.T)


def test_steps_are_those_of_torch() -> None:
    generator = torch.Generator().manual_seed(2)
    start = torch.randn(32, 48, generator=generator)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    pair = (
        Muon([ours], lr=0.1, weight_decay=0.1),
        torch.optim.Muon([theirs], lr=0.1, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
    )
    for _ in range(5):
        ours.grad = torch.randn(32, 48, generator=generator)
        theirs.grad = ours.grad.clone()
        for optimiser in pair:
            optimiser.step()
    moved = (theirs - start).norm()
    assert moved > 1 and (ours - theirs).norm() < 0.02 * moved  # bf16 has 8 bits


def test_a_kernel_is_the_matrix_of_its_channels() -> None:
    gradient = torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(3))
    kernel, matrix = nn.Parameter(torch.zeros(8, 4, 3, 3)), nn.Parameter(torch.zeros(8, 36))
    kernel.grad, matrix.grad = gradient, gradient.flatten(1)
    Muon([kernel, matrix], lr=1e-2, weight_decay=0.0).step()
    torch.testing.assert_close(kernel.detach().flatten(1), matrix.detach())


def test_what_is_no_matrix_is_adamws() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 2, 2), nn.Conv2d(8, 8, 3, groups=8), nn.LayerNorm(8), nn.Linear(8, 4)
    )
    matrices, others = optimisers(model, decay=0.0, betas=(0.9, 0.98))
    shapes = [[tuple(w.shape) for w in one.param_groups[0]["params"]] for one in (matrices, others)]
    assert shapes[0] == [(8, 3, 2, 2), (4, 8)]
    assert shapes[1] == [(8,), (8, 1, 3, 3), (8,), (8,), (8,), (4,)]
    assert isinstance(matrices, Muon) and isinstance(others, torch.optim.AdamW)
