"""Minimum-cost matching of rows to columns: shortest augmenting paths (Jonker and Volgenant; Crouse 2016)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sam3_edge.errors import UsageError

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


def assign(cost: Floats) -> list[tuple[int, int]]:
    """The pairs (row, column) of least total cost: min(N, M) of them, by row, each row and column once.

    `cost` is [N, M] and finite; give a forbidden pair a large cost and drop it afterwards. Among equal totals
    the choice is that of `scipy.optimize.linear_sum_assignment`, on which the official evaluators rest: equal
    sums of IoU can hide different numbers of matches above a threshold.
    Time is O(min(N, M)^2 * max(N, M)). Raises UsageError if a cost is not finite.
    """
    cost = np.asarray(cost, np.float64)
    if not np.isfinite(cost).all():
        raise UsageError("costs of an assignment must be finite: give a forbidden pair a large cost")
    if cost.shape[0] > cost.shape[1]:
        return sorted((row, column) for column, row in assign(cost.T))
    return [(row, int(column)) for row, column in enumerate(solve(np.ascontiguousarray(cost)))]


def solve(cost: Floats) -> Indices:
    """The column of every row of `cost` [N, M], N <= M."""
    rows, columns = cost.shape
    column_of, row_of = np.full(rows, -1), np.full(columns, -1)
    u, v = np.zeros(rows), np.zeros(columns)  # dual prices; cost - u - v >= 0 everywhere, 0 where matched
    for row in range(rows):
        path = ShortestPath(cost, row_of, u, v)
        end = path.search(row)
        reached = path.reached
        others = path.rows[1:]
        u[row] += path.length
        u[others] += path.length - path.distance[column_of[others]]
        v[reached] -= path.length - path.distance[reached]
        while end >= 0:  # flip the path: every row on it takes the column it was reached by
            via = int(path.via[end])
            row_of[end] = via
            column_of[via], end = end, int(column_of[via])
    return column_of


class ShortestPath:
    """The shortest way from one free row to a free column, over the pairs matched so far (Dijkstra)."""

    def __init__(self, cost: Floats, row_of: Indices, u: Floats, v: Floats) -> None:
        self.cost, self.row_of, self.u, self.v = cost, row_of, u, v
        self.distance = np.full(len(row_of), np.inf)
        self.via = np.full(len(row_of), -1)
        self.left = np.arange(len(row_of))[::-1].copy()  # columns not yet reached, last first: decides ties
        self.rows: list[int] = []
        self.reached: list[int] = []
        self.length = 0.0

    def search(self, row: int) -> int:
        """Grow the tree from `row`. Returns the free column it ends in."""
        while True:
            self.rows.append(row)
            column = self.step(row)
            if self.row_of[column] < 0:
                return column
            row = int(self.row_of[column])

    def step(self, row: int) -> int:
        """Offer what `row` reaches, and take the nearest column: of equals a free one, the last."""
        left = self.left[: len(self.left) - len(self.reached)]
        distance = self.length + self.cost[row, left] - self.u[row] - self.v[left]
        nearer = distance < self.distance[left]
        self.distance[left[nearer]], self.via[left[nearer]] = distance[nearer], row
        so_far = self.distance[left]
        self.length = float(so_far.min())
        nearest = np.flatnonzero(so_far == self.length)
        free = nearest[self.row_of[left[nearest]] < 0]
        place = free[-1] if len(free) else nearest[0]
        column = int(left[place])
        left[place] = left[-1]
        self.reached.append(column)
        return column
