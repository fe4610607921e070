"""Semantic ids: embeddings quantised level by level, so that items which are alike share their first tokens.

Residual k-means: level 1 clusters the vectors, level 2 what level 1 leaves of them, and so on (the residual
quantisation of TIGER, arXiv:2305.05065, sec. 3.1, with k-means codebooks in place of a trained RQ-VAE).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Quantized(NamedTuple):
    """N vectors of dimension D in L levels of K codes."""

    codes: np.ndarray  # (N, L) int64
    codebooks: np.ndarray  # (L, K, D) float64

    def reconstruct(self, levels: int | None = None) -> np.ndarray:
        """The vectors as the first `levels` levels have them: (N, D) float64."""
        chosen = [book[code] for book, code in zip(self.codebooks, self.codes.T, strict=True)]
        total: np.ndarray = np.sum(chosen[:levels], axis=0)
        return total


def residual_kmeans(
    vectors: np.ndarray, *, levels: int, codes: int, seed: int, iterations: int = 50
) -> Quantized:
    """Quantise `vectors` (N, D) in `levels` levels of `codes` codes each; the same result for the same seed.

    Raises:
        ValueError: there are fewer vectors than codes.

    Example:
        >>> points = np.random.default_rng(0).normal(size=(100, 8))
        >>> quantized = residual_kmeans(points, levels=3, codes=8, seed=0)
        >>> [round(float(np.square(points - quantized.reconstruct(n)).mean()), 2) for n in (1, 2, 3)]
        [0.56, 0.32, 0.2]
    """
    if len(vectors) < codes:
        raise ValueError(f"{len(vectors)} vectors cannot fill {codes} codes; expected at least as many")
    rng = np.random.default_rng(seed)
    residual = np.array(vectors, np.float64)
    books, chosen = [], []
    for _ in range(levels):
        centres, nearest = _kmeans(residual, codes, iterations, rng)
        residual -= centres[nearest]
        books.append(centres)
        chosen.append(nearest)
    return Quantized(np.stack(chosen, axis=1), np.stack(books))


def without_collisions(quantized: Quantized, vectors: np.ndarray) -> np.ndarray:
    """Codes (N, L) int64 in which no two rows are equal: of rows that collide, one keeps its last code.

    The others take the nearest code of the last level that is still free behind the same first codes, nearest
    pairs first. So a collision costs a little exactness in the last token alone, and each item still has
    exactly L tokens. (MiniOneRec's RQ-VAE spreads colliding items over the last level too, by Sinkhorn; its
    k-means variant adds a further token.)

    Raises:
        ValueError: more rows share the first codes than the last level has codes.
    """
    codes = quantized.codes.copy()
    levels, available = codes.shape[1], quantized.codebooks.shape[1]
    residual = vectors - quantized.reconstruct(levels - 1)
    prefixes, group_of = np.unique(codes[:, :-1], axis=0, return_inverse=True)
    group_of = group_of.reshape(-1)
    for group in range(len(prefixes)):
        rows = np.flatnonzero(group_of == group)
        if len(rows) == len(np.unique(codes[rows, -1])):
            continue
        if len(rows) > available:
            raise ValueError(
                f"{len(rows)} items share the codes {prefixes[group].tolist()}, and the last level has only "
                f"{available}: more codes per level are needed"
            )
        distances = _squared_distances(residual[rows], quantized.codebooks[-1])
        free, waiting = np.ones(available, bool), np.ones(len(rows), bool)
        for pair in np.argsort(distances, axis=None, kind="stable"):
            row, code = divmod(int(pair), available)
            if free[code] and waiting[row]:
                codes[rows[row], -1] = code
                free[code] = waiting[row] = False
    return codes


def _kmeans(
    points: np.ndarray, k: int, iterations: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Lloyd's algorithm from a k-means++ start: centres (k, D) and each point's nearest one (N,)."""
    centres = _spread_out(points, k, rng)
    nearest = np.full(len(points), -1)
    for _ in range(iterations):
        distances = _squared_distances(points, centres)
        found = distances.argmin(axis=1)
        counts = np.bincount(found, minlength=k)
        # A code that nobody uses moves to the points that are worst off.
        worst = np.argsort(-distances[np.arange(len(points)), found], kind="stable")
        for empty, point in zip(np.flatnonzero(counts == 0), worst, strict=False):
            found[point] = empty
        if np.array_equal(found, nearest):
            break
        nearest = found
        counts = np.bincount(nearest, minlength=k)
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, points)
        centres = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centres)
    return centres, _squared_distances(points, centres).argmin(axis=1)


def _spread_out(points: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """k-means++ (Arthur and Vassilvitskii 2007): each next centre is drawn by its squared distance."""
    centres = [points[rng.integers(len(points))]]
    closest = _squared_distances(points, centres[0][None])[:, 0]
    for _ in range(k - 1):
        total = closest.sum()
        drawn = rng.choice(len(points), p=closest / total if total > 0 else None)
        centres.append(points[drawn])
        closest = np.minimum(closest, _squared_distances(points, points[drawn][None])[:, 0])
    return np.stack(centres)


def _squared_distances(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """(N, K) float64."""
    cross = points @ centres.T
    squares = np.square(points).sum(axis=1)[:, None] + np.square(centres).sum(axis=1)[None]
    distances: np.ndarray = np.maximum(squares - 2 * cross, 0.0)
    return distances
