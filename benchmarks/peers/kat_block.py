"""A block of the Kolmogorov-Arnold transformer in PyTorch.

The authors' kernels run on CUDA only. With a folder that holds their ``kat_rational``
the block has their own function for a CPU, ``KAT_Group_Torch``; without one it has the
same formula by Horner's scheme, under autodiff. All else is a pre-norm block of the
layers of PyTorch, as theirs is.
"""

import importlib.util
import pathlib
import sys

from benchmarks.peers import server

PACKAGES = ("torch",)
HEADS, GROUPS = 3, 8
TOY = (2, 3, 24)


def make(shape: tuple[int, ...]) -> server.Runs:
    """The runs of a block of shape (batch, tokens, features)."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    batch, tokens, features = shape

    class Rational(nn.Module):
        def __init__(self, mode: str) -> None:
            super().__init__()
            a = [0, 1, 0, 0, 0, 0] if mode == "identity" else [0, 0.5, 0.25, 0.05, 0, 0]
            b = [0.0] * 4 if mode == "identity" else [0.0, 0.1, 0.0, 0.001]
            self.a = nn.Parameter(torch.tensor(a, dtype=torch.float32))
            self.b = nn.Parameter(torch.tensor([b] * GROUPS))

        def forward(self, x):
            channels = x.shape[-1] // GROUPS
            b = self.b.abs().repeat_interleave(channels, dim=0).T
            z, top, bottom = x.abs(), self.a[5], b[3]
            for i in (4, 3, 2, 1, 0):
                top = top * x + self.a[i]
            for j in (2, 1, 0):
                bottom = bottom * z + b[j]
            return top / (1 + bottom * z)

    rational = _official() or Rational

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1 = nn.LayerNorm(features, eps=1e-6)
            self.qkv = nn.Linear(features, 3 * features)
            self.proj = nn.Linear(features, features)
            self.norm2 = nn.LayerNorm(features, eps=1e-6)
            self.act1, self.act2 = rational(mode="identity"), rational(mode="swish")
            self.fc1 = nn.Linear(features, 4 * features)
            self.fc2 = nn.Linear(4 * features, features)

        def forward(self, x):
            parts = self.qkv(self.norm1(x)).reshape(batch, tokens, 3, HEADS, -1)
            query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
            attended = nn.functional.scaled_dot_product_attention(query, key, value)
            x = x + self.proj(attended.transpose(1, 2).reshape(x.shape))
            return x + self.fc2(self.act2(self.fc1(self.act1(self.norm2(x)))))

    block = Block()
    x = torch.randn(batch, tokens, features)
    optimizer = torch.optim.AdamW(block.parameters(), lr=1e-4)

    def forward() -> None:
        with torch.no_grad():
            block(x)

    def step() -> None:
        optimizer.zero_grad()
        block(x).square().mean().backward()
        optimizer.step()

    return {"forward": forward, "step": step}


def _official():
    """The authors' function for a CPU, by file: their package asks for CUDA."""
    for folder in sys.path:
        path = pathlib.Path(folder) / "kat_rational" / "kat_1dgroup_torch.py"
        if path.is_file():
            spec = importlib.util.spec_from_file_location("kat_1dgroup_torch", path)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module.KAT_Group_Torch
    return None


if __name__ == "__main__":
    server.main(make, PACKAGES, TOY)
