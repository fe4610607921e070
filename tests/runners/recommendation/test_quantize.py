"""Residual k-means, and semantic ids without collisions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from runners.recommendation.quantize import Quantized, residual_kmeans, without_collisions


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(300, 12))


@pytest.fixture(scope="module")
def quantized(vectors: np.ndarray) -> Quantized:
    return residual_kmeans(vectors, levels=3, codes=8, seed=0)


def test_each_level_reduces_what_the_levels_before_have_left(
    vectors: np.ndarray, quantized: Quantized
) -> None:
    left = [np.square(vectors - vectors.mean(axis=0)).sum()]
    left += [np.square(vectors - quantized.reconstruct(levels)).sum() for levels in (1, 2, 3)]
    assert all(after < 0.9 * before for before, after in itertools.pairwise(left))


def test_every_code_is_the_nearest_to_the_residual_of_its_level(
    vectors: np.ndarray, quantized: Quantized
) -> None:
    for level in range(3):
        residual = vectors - (quantized.reconstruct(level) if level else 0)
        distances = np.square(residual[:, None] - quantized.codebooks[level][None]).sum(axis=-1)
        np.testing.assert_array_equal(quantized.codes[:, level], distances.argmin(axis=1))


def test_each_centre_of_the_first_level_is_the_mean_of_its_vectors(
    vectors: np.ndarray, quantized: Quantized
) -> None:
    for code, centre in enumerate(quantized.codebooks[0]):
        np.testing.assert_allclose(centre, vectors[quantized.codes[:, 0] == code].mean(axis=0))


def test_well_separated_clusters_are_found_and_equal_vectors_get_equal_codes() -> None:
    rng = np.random.default_rng(1)
    centres = 20 * rng.normal(size=(6, 5))
    planted = np.repeat(np.arange(6), 10)
    points = centres[planted] + 0.1 * rng.normal(size=(60, 5))
    found = residual_kmeans(points, levels=1, codes=6, seed=3).codes[:, 0]
    assert len({(a, b) for a, b in zip(planted, found, strict=True)}) == 6
    same = residual_kmeans(np.ones((9, 2)), levels=2, codes=4, seed=0)
    assert len(np.unique(same.codes, axis=0)) == 1


def test_the_same_seed_gives_the_same_codes(vectors: np.ndarray, quantized: Quantized) -> None:
    np.testing.assert_array_equal(residual_kmeans(vectors, levels=3, codes=8, seed=0).codes, quantized.codes)


def test_without_collisions_every_item_is_alone_and_only_last_codes_of_colliding_items_change() -> None:
    vectors = np.random.default_rng(2).normal(size=(300, 4))
    quantized = residual_kmeans(vectors, levels=3, codes=16, seed=0)
    assert len(np.unique(quantized.codes, axis=0)) < 300
    unique = without_collisions(quantized, vectors)
    assert len(np.unique(unique, axis=0)) == 300
    np.testing.assert_array_equal(unique[:, :2], quantized.codes[:, :2])
    _, group, sizes = np.unique(quantized.codes, axis=0, return_inverse=True, return_counts=True)
    colliding = {tuple(row[:2]) for row in quantized.codes[sizes[group.reshape(-1)] > 1]}
    for before, after in zip(quantized.codes, unique, strict=True):
        assert before[2] == after[2] or tuple(before[:2]) in colliding


def test_more_items_than_codes_behind_one_prefix_are_refused_with_the_numbers() -> None:
    vectors = np.ones((9, 2))
    quantized = residual_kmeans(vectors, levels=3, codes=4, seed=0)
    with pytest.raises(ValueError, match=r"9 items share the codes .* the last level has only 4: more codes"):
        without_collisions(quantized, vectors)


def test_fewer_vectors_than_codes_are_refused() -> None:
    with pytest.raises(ValueError, match="3 vectors cannot fill 4 codes"):
        residual_kmeans(np.ones((3, 2)), levels=1, codes=4, seed=0)
