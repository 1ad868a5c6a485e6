import numpy as np

from tamis.curate.longtail import longtail_score


def distances(n=50, k=12, seed=0):
    return np.sort(np.random.default_rng(seed).random((n, k)), axis=1).astype(np.float32)


def test_it_is_the_published_formula_of_the_mean_distance():
    dist = distances()
    x = dist[:, :10].astype(np.float64).mean(axis=1)
    found = longtail_score(dist, 10)
    np.testing.assert_allclose(found, np.tanh(x / 2), rtol=1e-12)
    np.testing.assert_allclose(found, 2 / (1 + np.exp(-x)) - 1, rtol=1e-12)


def test_it_ranks_as_the_mean_distance_does():
    dist = distances(500)
    assert (np.argsort(longtail_score(dist, 10)) == np.argsort(dist[:, :10].mean(axis=1, dtype=np.float64))).all()


def test_the_official_form_counts_the_record_itself_at_distance_zero():
    dist = distances()
    with_self = np.hstack([np.zeros((50, 1)), dist[:, :9].astype(np.float64)])
    np.testing.assert_allclose(longtail_score(dist, 10, include_self=True), np.tanh(with_self.mean(axis=1) / 2))


def test_a_padded_row_is_averaged_over_the_neighbours_it_has():
    dist = np.array([[0.2, 0.4, np.inf, np.inf], [np.inf] * 4], dtype=np.float32)
    np.testing.assert_allclose(longtail_score(dist, 4), [np.tanh(0.15), 0.0], rtol=1e-6)


def test_fewer_columns_than_asked_for():
    np.testing.assert_allclose(longtail_score(np.array([[0.4]], dtype=np.float32), 10), [np.tanh(0.2)], rtol=1e-6)
    assert longtail_score(np.empty((1, 0), dtype=np.float32), 10).tolist() == [0.0]
