"""Attention whose rows pass through learned functions in the place of a softmax.

Source: Maity, Hitsman, Li, Dutta (2025), Kolmogorov-Arnold Attention, arXiv 2503.10632.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

import pallas_kernels
from kanjax import bases, model, nn
from kanjax.kan.layers import Activation, KANLayer, check_inputs
from kanjax.nn.checks import check_positive

VARIANTS = ("w_phi", "phi_w", "phi_phi")
SIMPLEX = ("hidden", "row")
PUBLISHED = bases.Fourier(3, frequency=1.0, constant=False)
"""The paper's functions: three cosines and three sines, no constant."""

Params = dict[str, Any]


@model.dataclass
class RationalEdges:
    """``y_o = sum_i P_io(x_i) / Q_io(x_i)``, a rational function on each edge.

    Args:
        in_features: number of inputs.
        out_features: number of outputs.
        basis: its orders and its form are taken, nothing else of it.
        coef_std: standard deviation of the numerators' coefficients at initialisation,
            None for ``1 / sqrt(in_features)``; that of the denominators' is 1.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> layer = RationalEdges(4, 3)
        >>> params = layer.init(jax.random.key(0))
        >>> layer.apply(params, jnp.ones((5, 4))).shape
        (5, 3)
    """

    in_features: int
    out_features: int
    basis: bases.Rational = model.child(default=bases.Rational(form="B"))
    coef_std: float | None = 1.0

    def __post_init__(self) -> None:
        KANLayer(self.in_features, self.out_features)
        _check_std(self.coef_std)

    def init(self, key: Array) -> Params:
        """Draw "numerator" (out, in, m + 1) and "denominator" (out, in, n)."""
        above, below = jax.random.split(key)
        m, n = self.basis.orders
        shape = (self.out_features, self.in_features)
        std = self.coef_std
        std = 1 / math.sqrt(self.in_features) if std is None else std
        return {
            "numerator": std * jax.random.normal(above, (*shape, m + 1)),
            "denominator": jax.random.normal(below, (*shape, n)),
        }

    def apply(
        self, params: Params, x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch out"]:
        """Return the outputs for x (..., in); no value per edge and row is stored."""
        check_inputs(x, self.in_features)

        @jax.checkpoint
        def output(_: None, coefficients: Params) -> tuple[None, Array]:
            values = pallas_kernels.group_rational(
                x,
                coefficients["numerator"],
                coefficients["denominator"],
                self.basis.form,
            )
            return None, jnp.sum(values, axis=-1)

        return jnp.moveaxis(jax.lax.scan(output, None, params)[1], 0, -1)


@model.dataclass
class AttentionOperator:
    """A learned map of one head's rows of logits to rows of attention.

    ``W Phi(a)``, ``Phi(W a)`` or ``Phi2(Phi1(a))``, where ``Phi(a)_p = sum_q
    phi_pq(a_q)`` has a learned function on each edge. Of low rank, N tokens go to r
    numbers and back; the full operator is one Phi from N to N. Rows are no
    probabilities: they may be negative, and sum to anything.

    Args:
        tokens: N, the length of a row, which is fixed.
        rank: r; None is the full operator.
        basis: the functions on the edges, any of :mod:`kanjax.bases`; of a
            :class:`kanjax.bases.Rational`, each edge has coefficients of its own.
            Logits pass as they are: a basis that lives on an interval wants a domain
            that holds them.
        base: a function that each edge has beside the basis, times a trained number;
            None is none, as published.
        variant: "w_phi" (published), "phi_w" or "phi_phi", the orders above.
        coef_std: standard deviation of the coefficients at initialisation; 1 is
            published and gives outputs of the size ``sqrt(N G)``; None keeps the
            variance of inputs spread over the basis' domain.
        simplex: where rows are projected onto the probability simplex: "hidden", what
            goes from the first map to the second (the published option), "row", the
            result, or None. A full operator has no "hidden".

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> operator = AttentionOperator(tokens=9, rank=4)
        >>> params = operator.init(jax.random.key(0))
        >>> operator.apply(params, jnp.ones((2, 9, 9))).shape
        (2, 9, 9)
    """

    tokens: int
    rank: int | None = 12
    basis: Any = model.child(default=PUBLISHED)
    base: Activation | None = None
    variant: str = "w_phi"
    coef_std: float | None = 1.0
    simplex: str | None = None

    def __post_init__(self) -> None:
        check_positive(tokens=self.tokens)
        if self.rank is not None:
            check_positive(rank=self.rank)
        if self.variant not in VARIANTS:
            raise ValueError(
                f"variant must be one of {VARIANTS}; got {self.variant!r}."
            )
        if self.rank is None and self.variant != "w_phi":
            raise ValueError(
                "rank=None is the full operator, which has one map and no order; give "
                f"a rank, or leave variant={self.variant!r} out."
            )
        _check_std(self.coef_std)
        if self.simplex is not None and self.simplex not in SIMPLEX:
            raise ValueError(
                f"simplex must be None or one of {SIMPLEX}; got {self.simplex!r}."
            )
        if self.simplex == "hidden" and self.rank is None:
            raise ValueError(
                "simplex='hidden' projects what stands between two maps, and the full "
                "operator (rank=None) has one; use simplex='row'."
            )

    @property
    def maps(self) -> dict[str, Any]:
        """The maps by the names of their parameters, first to last."""
        n, r = self.tokens, self.rank
        if r is None:
            return {"functions": self._functions(n, n)}
        if self.variant == "w_phi":
            return {"functions": self._functions(n, r), "projection": _linear(r, n)}
        if self.variant == "phi_w":
            return {"projection": _linear(n, r), "functions": self._functions(r, n)}
        return {"functions": self._functions(n, r), "others": self._functions(r, n)}

    def _functions(self, inputs: int, outputs: int) -> KANLayer | RationalEdges:
        if isinstance(self.basis, bases.Rational):
            if self.base is not None:
                raise ValueError(
                    "base stands beside an expansion in a basis; rational edges have "
                    "none, so leave it out."
                )
            return RationalEdges(inputs, outputs, self.basis, self.coef_std)
        return KANLayer(inputs, outputs, self.basis, self.base, noise=1.0)

    def init(self, key: Array) -> Params:
        """Draw the maps' parameters by their names in :attr:`maps`.

        "functions" and "others" are those of a :class:`kanjax.kan.KANLayer` or of
        :class:`RationalEdges`, "projection" has a "kernel" with entries uniform within
        ``1 / sqrt(inputs)``.
        """
        maps = self.maps
        params: Params = {}
        for k, (name, each) in zip(
            jax.random.split(key, 2), maps.items(), strict=False
        ):
            params[name] = drawn = each.init(k)
            if isinstance(each, nn.Dense):
                bound = 1 / math.sqrt(each.in_features)
                drawn["kernel"] = jax.random.uniform(
                    k, drawn["kernel"].shape, minval=-bound, maxval=bound
                )
            elif isinstance(each, KANLayer) and self.coef_std is not None:
                shape = drawn["coef"].shape
                drawn["coef"] = self.coef_std * jax.random.normal(k, shape)
        return params

    def apply(
        self, params: Params, logits: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch tokens"]:
        """Return the rows for logits (..., tokens), each on its own.

        The functions' values on the edges are never stored, only the rows and the
        r numbers of each.

        Raises:
            ValueError: if a row has another number of tokens.
        """
        if jnp.ndim(logits) == 0 or logits.shape[-1] != self.tokens:
            raise ValueError(
                f"logits must have shape (..., {self.tokens}), a row for {self.tokens} "
                f"tokens; got {jnp.shape(logits)}. An operator is made for one number "
                "of tokens."
            )
        y = logits
        for i, (name, each) in enumerate(self.maps.items()):
            y = each.apply(params[name], y)
            if self.simplex == "hidden" and i == 0:
                y = nn.project_simplex(y)
        return nn.project_simplex(y) if self.simplex == "row" else y


@model.dataclass
class KANAttention:
    """``operator(Q K^T / sqrt(head size)) V`` in each head, then a dense layer.

    Args:
        features: number of features of a token, of queries, keys, values and outputs.
        heads: number of heads; divides features.
        operator: of each head, with parameters of its own.
        learned: which heads have the operator; the others have a softmax. None is all.
        use_bias: whether the four dense layers have biases.
        initialization: of their kernels, as of :class:`kanjax.nn.Attention`.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> attention = KANAttention(8, 2, AttentionOperator(tokens=5, rank=2))
        >>> params = attention.init(jax.random.key(0))
        >>> x = jnp.ones((3, 5, 8))
        >>> attention.apply(params, x).shape, attention.matrices(params, x).shape
        ((3, 5, 8), (3, 2, 5, 5))
    """

    features: int
    heads: int
    operator: AttentionOperator = model.child()
    learned: tuple[bool, ...] | None = None
    use_bias: bool = True
    initialization: str = "lecun"

    def __post_init__(self) -> None:
        nn.Attention(self.features, self.heads, initialization=self.initialization)
        if self.learned is not None and (
            not isinstance(self.learned, tuple) or len(self.learned) != self.heads
        ):
            raise ValueError(
                f"learned must be None or a tuple of {self.heads} booleans, one for "
                f"each head; got {self.learned!r}."
            )

    @property
    def dense(self) -> nn.Attention:
        """The attention by softmax that has the same four dense layers."""
        return nn.Attention(
            self.features,
            self.heads,
            use_bias=self.use_bias,
            initialization=self.initialization,
        )

    @property
    def _order(self) -> tuple[list[int], list[int]]:
        """The heads with an operator, and those with a softmax."""
        learned = (True,) * self.heads if self.learned is None else self.learned
        return (
            [h for h in range(self.heads) if learned[h]],
            [h for h in range(self.heads) if not learned[h]],
        )

    def init(self, key: Array) -> Params:
        """Draw the layers of :class:`kanjax.nn.Attention`, and "operators".

        Their leaves have a leading axis over the heads that have an operator; without
        such heads there are no "operators".
        """
        first, second = jax.random.split(key)
        params: Params = self.dense.init(first)
        number = len(self._order[0])
        if number:
            keys = jax.random.split(second, number)
            params["operators"] = jax.vmap(self.operator.init)(keys)
        return params

    def matrices(
        self, params: Params, x: Array
    ) -> Float[Array, "*batch heads tokens tokens"]:
        """Return what each head multiplies its values with, for x (..., tokens,
        features): rows are queries.

        Raises:
            ValueError: if x has another number of tokens than the operator, or of
                features.
        """
        _check_tokens(x, self.features)
        query, keys = (self._heads(params, name, x) for name in ("query", "key"))
        scale = 1 / math.sqrt(self.features // self.heads)
        logits = scale * jnp.einsum("...qhd,...khd->...hqk", query, keys)
        learned, soft = self._order
        blocks = []
        if learned:
            rows = logits if not soft else logits[..., jnp.asarray(learned), :, :]
            over_heads = jax.vmap(self.operator.apply, (0, -3), -3)
            blocks.append(over_heads(params["operators"], rows))
        if soft:
            rows = logits if not learned else logits[..., jnp.asarray(soft), :, :]
            blocks.append(jax.nn.softmax(rows, axis=-1))
        if len(blocks) == 1:
            return blocks[0]
        place = [(learned + soft).index(h) for h in range(self.heads)]
        return jnp.concatenate(blocks, axis=-3)[..., jnp.asarray(place), :, :]

    def apply(
        self,
        params: Params,
        x: Array,
        *,
        key: Array | None = None,
        mask: None = None,
        matrices: Array | None = None,
    ) -> Float[Array, "*batch tokens features"]:
        """Return the layer's outputs for x (..., tokens, features).

        Args:
            params: as :meth:`init` gives them; with ``matrices``, only "value" and
                "output" are read.
            x: (..., tokens, features).
            key: not used.
            mask: None; an operator needs all tokens.
            matrices: (..., heads, tokens, tokens), to attend with instead of
                :meth:`matrices` of x.

        Raises:
            ValueError: if shapes do not fit, or for a mask.
        """
        if mask is not None:
            raise ValueError(
                "mask must be None: an operator is made for a fixed number of tokens "
                "and needs all of them. Use kanjax.nn.Attention for masked tokens."
            )
        _check_tokens(x, self.features)
        if matrices is None:
            matrices = self.matrices(params, x)
        expected = (*x.shape[:-2], self.heads, x.shape[-2], x.shape[-2])
        if matrices.shape != expected:
            raise ValueError(
                f"matrices must have shape {expected}, (..., heads, tokens, tokens); "
                f"got {matrices.shape}."
            )
        values = self._heads(params, "value", x)
        attended = jnp.einsum("...hqk,...khd->...qhd", matrices, values)
        projection = self.dense.projection
        return projection.apply(params["output"], attended.reshape(x.shape))

    def _heads(
        self, params: Params, name: str, x: Array
    ) -> Float[Array, "*batch tokens heads head_features"]:
        y = self.dense.projection.apply(params[name], x)
        return y.reshape(*x.shape[:-1], self.heads, self.features // self.heads)


def _linear(inputs: int, outputs: int) -> nn.Dense:
    return nn.Dense(inputs, outputs, use_bias=False)


def _check_std(coef_std: float | None) -> None:
    if coef_std is not None and not 0 <= coef_std < math.inf:
        raise ValueError(
            f"coef_std must be at least 0 and finite, or None; got {coef_std!r}."
        )


def _check_tokens(x: Array, features: int) -> None:
    if jnp.ndim(x) < 2 or x.shape[-1] != features:
        raise ValueError(
            f"x must have shape (..., tokens, {features}); got {jnp.shape(x)}."
        )
