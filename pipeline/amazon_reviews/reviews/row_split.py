"""Which rows are for training and which for testing: the choice of scikit-learn's `train_test_split`, by numpy alone.

Importing scikit-learn takes longer than splitting a million rows, and this is all that the step needs of it. A test
holds the results against scikit-learn's own. Pure.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]


def choose(rows: int, *, test_size: float, random_state: int, classes: Integers | None) -> tuple[Integers, Integers]:
    """Return the numbers of the rows for training and of those for testing, each in random order.

    Args:
        rows: How many there are.
        test_size: Share of those for testing, between 0 and 1.
        random_state: Seed.
        classes: Class of each row, if the share of each is to be equal in both.

    Raises:
        ValueError: There are too few rows.
    """
    tested = math.ceil(test_size * rows)
    trained = rows - tested
    if trained < 1:
        raise ValueError("no row is left for training")
    draws = np.random.RandomState(random_state)
    if classes is None:
        order = draws.permutation(rows)
        return order[tested:], order[:tested]
    _, places, counts = np.unique(classes, return_inverse=True, return_counts=True)
    if min(trained, tested) < len(counts):
        raise ValueError(f"{trained} rows for training and {tested} for testing are too few for {len(counts)} classes")
    by_class = np.split(np.argsort(places, kind="stable"), np.cumsum(counts)[:-1])
    of_train = _shares(counts, trained, draws)
    of_test = _shares(counts - of_train, tested, draws)
    train, test = [], []
    for found, first, second in zip(by_class, of_train, of_test, strict=True):
        shuffled = found[draws.permutation(len(found))]
        train.append(shuffled[:first])
        test.append(shuffled[first : first + second])
    return draws.permutation(np.concatenate(train)), draws.permutation(np.concatenate(test))


def _shares(counts: Integers, wanted: int, draws: np.random.RandomState) -> Integers:
    """Return how many rows of each class are taken, so that their shares stay; equal remainders draw lots."""
    exact = counts / counts.sum() * wanted
    taken = np.floor(exact)
    remainders = exact - taken
    missing = int(wanted - taken.sum())
    for remainder in np.unique(remainders)[::-1]:
        if missing <= 0:
            break
        (equal,) = np.where(remainders == remainder)
        lucky = draws.choice(equal, size=min(len(equal), missing), replace=False)
        taken[lucky] += 1
        missing -= len(lucky)
    whole: Integers = taken.astype(np.int64)
    return whole
