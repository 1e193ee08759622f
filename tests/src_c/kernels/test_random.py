"""The random numbers of the reference; ../ops/test_noise.py has the compiled ones against these."""

import numpy as np
import pytest
import reference
from scipy import stats

# Of Random123: rounds, counter and key, result.
KNOWN = [
    (13, (0, 0), (0, 0), (0x9D1C5EC6, 0x8BD50731)),
    (13, (2**32 - 1,) * 2, (2**32 - 1,) * 2, (0xFD36D048, 0x2D17272C)),
    (20, (0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    (20, (0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
]


@pytest.mark.parametrize(("rounds", "counter", "key", "result"), KNOWN)
def test_threefry_known_answers(rounds, counter, key, result):
    words = reference.threefry(key, *np.array(counter, np.uint32).reshape(2, 1), rounds=rounds)
    assert tuple(int(word[0]) for word in words) == result


def words():
    """Words (step, row, unit) of two streams and two seeds that differ in one bit: (4, 8, 64, 256)."""
    return np.array([
        [reference.random_words((seed, 1), step, np.arange(64), stream, 256) for step in range(8)]
        for seed in (6, 7) for stream in (0, 1)
    ])  # fmt: skip


def test_words_are_uniform():
    w = words()
    for shift in (0, 8, 16, 24):
        counts = np.bincount((w.ravel() >> np.uint32(shift)) & np.uint32(255), minlength=256)
        assert stats.chisquare(counts).pvalue > 1e-4
    assert stats.kstest(w.ravel() / 2**32, "uniform").pvalue > 1e-4


def test_words_of_neighbouring_counters_are_independent():
    """Next unit, row and step, other stream and seed: correlation of values, and of each bit, and joint counts."""
    w = words()
    pairs = [(w[..., :-1], w[..., 1:]), (w[..., :16], w[..., 16:32]), (w[:, :, :-1], w[:, :, 1:])]
    pairs += [(w[:, :-1], w[:, 1:]), (w[0], w[1]), (w[0], w[2])]
    for a, b in pairs:
        a, b = a.ravel(), b.ravel()
        bound = 4.5 / np.sqrt(a.size)
        assert abs(np.corrcoef(a, b)[0, 1]) < bound
        joint = np.bincount((a >> np.uint32(28)) * np.uint32(16) + (b >> np.uint32(28)), minlength=256)
        assert stats.chisquare(joint).pvalue > 1e-4
        for bit in range(32):
            same = (((a ^ b) >> np.uint32(bit)) & np.uint32(1)).mean()
            assert abs(same - 0.5) < bound


def test_normal_numbers_are_normal():
    x = reference.normal_numbers((1, 2), 3, np.arange(300), 320)
    assert stats.kstest(x.ravel(), "norm").pvalue > 1e-3
    assert abs(np.corrcoef(x[:, :16].ravel(), x[:, 16:32].ravel())[0, 1]) < 4.5 / np.sqrt(4800)
    assert stats.kstest((x[:, :16] ** 2 + x[:, 16:32] ** 2).ravel(), "chi2", (2,)).pvalue > 1e-3
    assert 4 < np.abs(x).max() < 6.7
