"""Means over seeds with their intervals, and what pairing seeds is for."""

import numpy as np
import pytest

from crvae3d.evaluation.estimates import estimate, paired_difference


def test_the_interval_holds_the_true_mean_as_often_as_it_says():
    draw = np.random.default_rng(0)
    found = [estimate(dict(enumerate(draw.normal(5, 2, 3)))) for _ in range(2000)]
    assert np.mean([one.low <= 5 <= one.high for one in found]) == pytest.approx(0.95, abs=0.015)


def test_one_seed_has_no_interval_and_none_no_estimate():
    alone = estimate({4: 0.5})
    assert (alone.mean, alone.low, alone.deviation, alone.is_apart_from_nought) == (0.5, None, None, False)
    assert estimate({}) is None and estimate({0: None}) is None


def test_seeds_that_agree_to_the_digit_tell_no_interval():
    counts = paired_difference({0: 40 / 48, 1: 39 / 48}, {0: 41 / 48, 1: 40 / 48})  # one shape of 48 each time
    assert counts.mean == pytest.approx(-1 / 48)
    assert (counts.deviation, counts.low, counts.high, counts.is_apart_from_nought) == (0, None, None, False)
    assert estimate({0: 3e5, 1: 3e5, 2: 3e5}).low is None and estimate({0: 0.0, 1: 0.0}).low is None
    assert estimate({0: 1.0, 1: 1.00001}).is_apart_from_nought


def test_missing_seeds_are_left_out():
    assert estimate({0: 1.0, 1: None, 2: 3.0}).values == (1.0, 3.0)
    assert paired_difference({0: 1.0, 1: 2.0, 2: 5.0}, {2: 1.0, 1: None, 3: 7.0}).values == (4.0,)


def test_pairing_finds_a_small_difference_that_the_seeds_hide():
    noise = {0: 0.0, 1: 10.0, 2: -7.0}
    better = {seed: value + 1 + 0.01 * seed for seed, value in noise.items()}
    difference = paired_difference(better, noise)
    assert difference.mean == pytest.approx(1.01) and difference.is_apart_from_nought
    assert not estimate(better).is_apart_from_nought
