"""Images cut into patches, each a token.

Source: Dosovitskiy et al. (2021), An Image is Worth 16x16 Words, arXiv 2010.11929.
"""

from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.nn import checks, dense


@model.dataclass
class PatchEmbedding:
    """A dense layer of each square patch of an image.

    The same map as a convolution whose stride is its kernel's extent, as one product.

    Args:
        patch_size: the edge of a patch, in pixels.
        channels: number of channels of the image.
        features: number of features of a token.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> patches = PatchEmbedding(4, 3, 16)
        >>> params = patches.init(jax.random.key(0))
        >>> patches.apply(params, jnp.ones((5, 32, 24, 3))).shape
        (5, 48, 16)
    """

    patch_size: int
    channels: int
    features: int

    def __post_init__(self) -> None:
        checks.check_positive(
            patch_size=self.patch_size, channels=self.channels, features=self.features
        )

    @property
    def projection(self) -> dense.Dense:
        """The dense layer of a flattened patch: rows, then columns, then channels."""
        return dense.Dense(self.patch_size**2 * self.channels, self.features)

    def init(self, key: Array) -> dict[str, Array]:
        """Draw "kernel" (patch_size^2 channels, features) and "bias" (features,)."""
        return self.projection.init(key)

    def apply(
        self, params: dict[str, Array], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch tokens features"]:
        """Return the tokens of images x (..., height, width, channels), row by row.

        Raises:
            ValueError: if the patches do not divide the image, or for other channels.
        """
        checks.check_last_axis(x, self.channels)
        check_divides(self.patch_size, x.shape[-3:-1])
        *batch, height, width, channels = x.shape
        size = self.patch_size
        rows, columns = height // size, width // size
        x = x.reshape(-1, rows, size, columns, size, channels)
        x = x.swapaxes(2, 3).reshape(*batch, rows * columns, size * size * channels)
        return self.projection.apply(params, x)


def check_divides(patch_size: int, image_size: tuple[int, ...]) -> None:
    """Raise ``ValueError`` unless patches fill the image (height, width)."""
    if len(image_size) != 2 or any(edge % patch_size for edge in image_size):
        shown = " x ".join(map(str, image_size))
        raise ValueError(
            f"patch_size={patch_size} does not divide an image of {shown} pixels; "
            "choose a divisor, or resize the images."
        )
