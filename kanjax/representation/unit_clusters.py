"""Groups of units of two networks that span the same directions.

Li et al. (2016), "Convergent Learning", arXiv 1511.07543, section 5; spectral
clustering: Ng, Jordan, Weiss (2001); seeding: Arthur, Vassilvitskii (2007),
"k-means++".
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from kanjax.representation.unit_matching import Correlations


class Clusters(NamedTuple):
    """Units in groups.

    Attributes:
        labels: (units,) the number of each unit's group.
        inertia: sum of squared distances from the groups' centers.
        embedding: (units, k), of norm 1, in which the groups are near each other.
    """

    labels: Int[Array, " units"]
    inertia: Float[Array, ""]
    embedding: Float[Array, "units k"]


def joint_affinity(table: Correlations) -> Float[Array, "units units"]:
    """Return magnitudes of correlation among the units of both networks, 1 with itself.

    Args:
        table: of :func:`kanjax.representation.unit_matching.correlate`; the first
            network's units come first.
    """
    rows = [
        jnp.concatenate([table.x, table.xy], axis=1),
        jnp.concatenate([table.xy.T, table.y], axis=1),
    ]
    affinity = jnp.abs(jnp.concatenate(rows))
    return jnp.where(jnp.eye(len(affinity), dtype=bool), 1.0, affinity)


def spectral_embedding(
    affinity: Float[Array, "units units"], k: int
) -> Float[Array, "units k"]:
    """Return rows of norm 1, alike for units that are tied by affinity.

    They are those of the k first eigenvectors of ``I - D^-1/2 W D^-1/2``.

    Args:
        affinity: W, symmetric, at least 0, its diagonal above.
        k: how many eigenvectors, from 1 to the number of units.

    Raises:
        ValueError: if affinity is not square, or for k out of range.
    """
    units = len(affinity)
    if affinity.ndim != 2 or affinity.shape[1] != units:
        raise ValueError(
            f"affinity has shape {affinity.shape}; it must be (units, units)."
        )
    if not 1 <= k <= units:
        raise ValueError(f"k is {k}; it must be from 1 to the {units} units.")
    root = 1 / jnp.sqrt(jnp.sum(affinity, axis=1))
    # Eigenvectors of the Laplacian's smallest eigenvalues are those of W's largest.
    scaled = root[:, None] * affinity * root[None, :]
    vectors = jnp.linalg.eigh(scaled)[1][:, ::-1][:, :k]
    size = jnp.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / jnp.where(size > 0, size, 1.0)


def spectral_clusters(
    affinity: Float[Array, "units units"],
    k: int,
    *,
    key: Array,
    restarts: int = 10,
    iterations: int = 100,
) -> Clusters:
    """Divide units into k groups with much affinity inside and little between.

    Works under jit and vmap; labels have no derivative.

    Args:
        affinity: (units, units), such as :func:`joint_affinity`.
        k: how many groups, from 1 to the number of units.
        key: for the seeds of k-means.
        restarts: of k-means, of which the best is kept.
        iterations: of k-means in each.

    Raises:
        ValueError: for affinity that is not square, or numbers out of range.
    """
    for name, number in (("restarts", restarts), ("iterations", iterations)):
        if number < 1:
            raise ValueError(f"{name} is {number}; it must be at least 1.")
    embedding = spectral_embedding(affinity, k)
    keys = jax.random.split(key, restarts)
    labels, inertia = jax.vmap(lambda r: _k_means(embedding, k, iterations, r))(keys)
    best = jnp.argmin(inertia)
    return Clusters(labels[best], inertia[best], embedding)


def count_members(
    labels: Int[Array, " units"], units: int, k: int
) -> Int[Array, "k 2"]:
    """Return how many units of the first and the second network each group has.

    Args:
        labels: (units,) from 0 to k - 1.
        units: how many are the first network's.
        k: the number of groups.
    """
    hot = jax.nn.one_hot(labels, k, dtype=jnp.int32)
    return jnp.stack([hot[:units].sum(axis=0), hot[units:].sum(axis=0)], axis=1)


def hierarchy(embedding: Float[Array, "units k"]) -> Float[Array, "merges 4"]:
    """Merge units and groups step by step, by the mean distance of their members.

    It runs on the host, by ``scipy.cluster.hierarchy.linkage``, whose ``fcluster`` and
    ``dendrogram`` take the result; under jit as well. It has no derivative.

    Args:
        embedding: (units, k), such as :func:`spectral_embedding`.

    Returns:
        (units - 1, 4): for each merge the two groups, their distance and the number of
        units.
    """
    shape = jax.ShapeDtypeStruct((len(embedding) - 1, 4), embedding.dtype)
    embedding = jax.lax.stop_gradient(embedding)
    return jax.pure_callback(_linkage, shape, embedding, vmap_method="sequential")


def _linkage(embedding: Any) -> np.ndarray:
    from scipy.cluster import hierarchy as scipy_hierarchy

    values = np.asarray(embedding, np.float64)
    merges = scipy_hierarchy.linkage(values, method="average")
    return merges.astype(np.asarray(embedding).dtype)


def _k_means(
    points: Float[Array, "units d"], k: int, iterations: int, key: Array
) -> tuple[Array, Array]:
    """Give labels and inertia from one seeding; a group that empties keeps its
    center.
    """
    first_key, key = jax.random.split(key)
    first = jax.random.randint(first_key, (), 0, len(points))
    centers = jnp.broadcast_to(points[first], (k, points.shape[1]))

    def squares_from(index: Array) -> Float[Array, " units"]:
        return jnp.sum((points - points[index][None]) ** 2, axis=1)

    def seed(i: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        centers, least = carry
        # All points may lie on a center already; then any is as good.
        weights = jnp.where(jnp.sum(least) > 0, least, 1.0)
        drawn = jax.random.categorical(jax.random.fold_in(key, i), jnp.log(weights))
        return centers.at[i].set(points[drawn]), jnp.minimum(least, squares_from(drawn))

    centers, _ = jax.lax.fori_loop(1, k, seed, (centers, squares_from(first)))

    def distances(centers: Array) -> Float[Array, "units k"]:
        return jnp.sum((points[:, None] - centers[None]) ** 2, axis=-1)

    def move(_: Array, centers: Array) -> Array:
        hot = jax.nn.one_hot(
            jnp.argmin(distances(centers), axis=1), k, dtype=points.dtype
        )
        count = jnp.sum(hot, axis=0)[:, None]
        means = hot.T @ points / jnp.maximum(count, 1.0)
        return jnp.where(count > 0, means, centers)

    centers = jax.lax.fori_loop(0, iterations, move, centers)
    last = distances(centers)
    return jnp.argmin(last, axis=1).astype(jnp.int32), jnp.sum(jnp.min(last, axis=1))
