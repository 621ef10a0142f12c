"""Our assignment against scipy's."""

from __future__ import annotations

import time

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from sam3_edge.errors import UsageError
from sam3_edge.judge.assignment import assign


def costs(stream: np.random.RandomState, kind: str) -> NDArray[np.float64]:
    shape = (
        tuple(stream.randint(0, 10, size=2)) if stream.randint(4) else tuple(stream.randint(0, 40, size=2))
    )
    if kind == "integers":  # full of ties
        return stream.randint(0, int(stream.choice([1, 2, 4, 20])), size=shape).astype(np.float64)
    if kind == "overlaps":  # mostly zero, as IoU is
        return np.asarray(-stream.rand(*shape) * (stream.rand(*shape) < 0.2))
    return np.asarray(stream.standard_normal(shape) * 10 ** stream.randint(-6, 7))


@pytest.mark.parametrize("kind", ["integers", "overlaps", "normal"])
def test_assignment_is_scipys_even_among_equals(kind: str) -> None:
    stream = np.random.RandomState(7)
    for _ in range(300):
        cost = costs(stream, kind)
        rows, columns = linear_sum_assignment(cost)
        pairs = assign(cost)
        assert len(pairs) == min(cost.shape)
        assert sum(cost[pair] for pair in pairs) == pytest.approx(cost[rows, columns].sum(), rel=1e-12)
        assert pairs == list(zip(rows.tolist(), columns.tolist(), strict=True))


def test_assignment_does_not_write_into_its_input() -> None:
    for shape in ((3, 5), (5, 3)):
        cost = np.random.RandomState(1).rand(*shape)
        before = cost.copy()
        assign(cost)
        np.testing.assert_array_equal(cost, before)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_assignment_refuses_costs_that_are_not_finite(value: float) -> None:
    with pytest.raises(UsageError, match="finite"):
        assign(np.array([[1.0, value]]))


def test_assignment_is_quick() -> None:
    cost = np.random.RandomState(3).rand(200, 200)
    start = time.process_time()
    assign(cost)
    assert time.process_time() - start < 0.5  # 0.05 where nothing else runs
