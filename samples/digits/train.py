"""Train a small ternary convolutional network for export, and write it as ONNX with Quant nodes.

    pip install torch scikit-learn onnx numpy click
    python train.py --output digits.onnx --held-out held-out.npz | tee train.log

The data are the 1797 digits of 8 x 8 pixels that come with scikit-learn (`load_digits`, from the
UCI repository, CC BY 4.0); every fifth is held out.  Two things make a network exportable to the
bit, and both are one function each here, with gradients that pass the rounding (straight-through):

  * `ternary`: weights are rounded to {-1, 0, 1} times one scale, mean |W|, in every forward pass;
  * `levels`: activations are clipped and rounded to a few integers times a fixed scale.

What is written are the masters with the QONNX nodes that round them, as Brevitas exports a network:
bitexport reads the rounding from the graph.  The same seed and number of threads give the same
weights on the same machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

QONNX = "qonnx.custom_op.general"
PIXEL_BITS, CODE_BITS = 5, 3
CODE_SCALE = 0.25
HELD_OUT = 5
CLASSES = 10
BATCH = 64


def straight_through(x: Tensor, rounded: Tensor) -> Tensor:
    """Return `rounded` with the gradient of x."""
    return x + (rounded - x).detach()


def ternary_scale(weight: Tensor) -> Tensor:
    """Return the scale of a matrix: its mean magnitude."""
    return weight.abs().mean().clamp(min=1e-5)


def ternary(weight: Tensor) -> Tensor:
    """Round a matrix to trits times its scale."""
    scale = ternary_scale(weight)
    return straight_through(weight, (weight / scale).round().clamp(-1, 1) * scale)


def levels(x: Tensor, bits: int, scale: float) -> Tensor:
    """Round to 0 ... 2^bits - 1 times a scale."""
    inside = (x / scale).clamp(0, 2**bits - 1)
    return straight_through(inside, inside.round()) * scale


class Block(nn.Module):
    """A ternary convolution, its norm, and codes of a few bits."""

    def __init__(self, inputs: int, outputs: int, size: int, *, depthwise: bool = False) -> None:
        super().__init__()
        groups = inputs if depthwise else 1
        self.conv = nn.Conv2d(inputs, outputs, size, padding=size // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def summed(self, x: Tensor) -> Tensor:
        """Return the normalised sums."""
        conv = self.conv
        made = F.conv2d(x, ternary(conv.weight), padding=conv.padding, groups=conv.groups)
        return self.norm(made)

    def forward(self, x: Tensor) -> Tensor:
        """Return codes times their scale."""
        return levels(F.relu(self.summed(x)), CODE_BITS, CODE_SCALE)


class Net(nn.Module):
    """Convolutions of every kind that small networks have, a residual, a mean and a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Block(1, 24, 3)
        self.depthwise = Block(24, 24, 3, depthwise=True)
        self.pointwise = Block(24, 48, 1)
        self.last = Block(48, 48, 3)
        self.scores = nn.Linear(48, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores of pictures (batch, 1, 8, 8) of pixels from 0 to 16."""
        x = self.first(levels(x, PIXEL_BITS, 1.0))
        x = F.max_pool2d(self.pointwise(self.depthwise(x)), 2)
        x = levels(F.relu(self.last.summed(x) + x), CODE_BITS, CODE_SCALE)
        x = x.mean(dim=(2, 3))
        return F.linear(x, ternary(self.scores.weight), self.scores.bias)


def shifted(pictures: Tensor, draw: torch.Generator) -> Tensor:
    """Move each picture by up to a pixel."""
    padded = F.pad(pictures, (1, 1, 1, 1))
    down, right = torch.randint(0, 3, (2, len(pictures)), generator=draw).tolist()
    return torch.stack([
        each[:, y : y + 8, x : x + 8] for each, y, x in zip(padded, down, right, strict=True)
    ])  # fmt: skip


def train(net: Net, pictures: Tensor, labels: Tensor, epochs: int, draw: torch.Generator) -> None:
    """Train with Adam and a cosine schedule."""
    optimizer = torch.optim.Adam(net.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(epochs):
        net.train()
        total = 0.0
        order = torch.randperm(len(pictures), generator=draw)
        for some in order.split(BATCH):
            loss = F.cross_entropy(net(shifted(pictures[some], draw)), labels[some])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(some)
        schedule.step()
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1}: loss {total / len(pictures):.4f}", flush=True)


class Writer:
    """An ONNX graph under construction."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[TensorProto] = []

    def tensor(self, name: str, values: Tensor | float | list[int]) -> str:
        """Add a constant."""
        if isinstance(values, list):
            array: NDArray[Any] = np.array(values, np.int64)
        else:
            array = np.asarray(values.detach() if isinstance(values, Tensor) else values)
            array = array.astype(np.float32)
        self.tensors.append(numpy_helper.from_array(array, name))
        return name

    def op(self, kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        """Add a node that is called as what it makes."""
        domain = QONNX if kind == "Quant" else ""
        node = helper.make_node(kind, inputs, [name], name=name, domain=domain, **attributes)
        self.nodes.append(node)
        return name

    def quant(self, x: str, name: str, scale: Tensor | float, bits: int, **attributes: int) -> str:
        """Add a QONNX `Quant`."""
        given = [self.tensor(f"{name}.{what}", number) for what, number in (
            ("scale", scale), ("zero_point", 0.0), ("bits", float(bits)))]  # fmt: skip
        return self.op("Quant", [x, *given], name, rounding_mode="ROUND", **attributes)

    def weights(self, weight: Tensor, name: str) -> str:
        """Add ternary weights: masters, and the node that rounds them."""
        given = self.tensor(f"{name}.master", weight)
        return self.quant(given, name, ternary_scale(weight), 2, signed=1, narrow=1)

    def summed(self, x: str, block: Block, name: str) -> str:
        """Add a convolution and its norm."""
        conv, norm = block.conv, block.norm
        pad = int(conv.padding[0])
        made = self.op(
            "Conv", [x, self.weights(conv.weight, f"{name}.weight")], f"{name}.conv",
            kernel_shape=list(conv.kernel_size), pads=[pad] * 4, group=conv.groups,
        )  # fmt: skip
        numbers = {
            "scale": norm.weight, "bias": norm.bias, "mean": norm.running_mean,
            "variance": norm.running_var,
        }  # fmt: skip
        given = [self.tensor(f"{name}.norm.{what}", each) for what, each in numbers.items()]
        return self.op(
            "BatchNormalization", [made, *given], f"{name}.norm", epsilon=float(norm.eps)
        )

    def codes(self, x: str, name: str) -> str:
        """Add what makes codes of a few bits."""
        made = self.op("Relu", [x], f"{name}.relu")
        return self.quant(made, name, CODE_SCALE, CODE_BITS, signed=0, narrow=0)


def written(net: Net) -> onnx.ModelProto:
    """Return the network as ONNX, one picture or a batch of them to a call."""
    writer = Writer()
    x = writer.quant("image", "pixels", 1.0, PIXEL_BITS, signed=0, narrow=0)
    for name in ("first", "depthwise", "pointwise"):
        x = writer.codes(writer.summed(x, getattr(net, name), name), f"{name}.codes")
    pooled = writer.op("MaxPool", [x], "pooled", kernel_shape=[2, 2], strides=[2, 2])
    added = writer.op("Add", [writer.summed(pooled, net.last, "last"), pooled], "residual")
    x = writer.op("GlobalAveragePool", [writer.codes(added, "last.codes")], "mean")
    x = writer.op("Flatten", [x], "features", axis=1)
    weight = writer.weights(net.scores.weight, "scores.weight")
    bias = writer.tensor("scores.bias", net.scores.bias)
    writer.op("Gemm", [x, weight, bias], "scores", transB=1)
    graph = helper.make_graph(
        writer.nodes, "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", CLASSES])],
        writer.tensors,
    )  # fmt: skip
    imports = [helper.make_opsetid("", 17), helper.make_opsetid(QONNX, 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8, producer_name="train.py")


@click.command()
@click.option("--output", type=click.Path(path_type=Path), required=True, help="The ONNX file.")
@click.option("--held-out", type=click.Path(path_type=Path), required=True, help="A .npz file.")
@click.option("--epochs", default=160, show_default=True)
@click.option("--seed", default=1, show_default=True)
def main(output: Path, held_out: Path, epochs: int, seed: int) -> None:
    """Train, write the network and the held-out digits."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    draw = torch.Generator().manual_seed(seed)
    digits = load_digits()
    pictures = torch.from_numpy(digits.images.astype(np.float32))[:, None]
    labels = torch.from_numpy(digits.target)
    out = torch.arange(len(labels)) % HELD_OUT == 0
    net = Net()
    train(net, pictures[~out], labels[~out], epochs, draw)
    net.eval()
    with torch.no_grad():
        right = (net(pictures[out]).argmax(dim=1) == labels[out]).float().mean().item()
    print(f"held out: {right:.2%} of {int(out.sum())}")
    output.write_bytes(written(net).SerializeToString(deterministic=True))
    np.savez_compressed(
        held_out, image=pictures[out].numpy().astype(np.uint8), label=labels[out].numpy()
    )


if __name__ == "__main__":
    main()
