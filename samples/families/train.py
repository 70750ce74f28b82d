r"""Train one small model of each published family, distilled from the teacher of samples/stories.

Run from the root of the repository, with torch, safetensors, numpy and click installed:

    python -m samples.stories.train sample --teacher stories260K.bin --output tokens.u16
    python -m samples.families.train train falcon --teacher stories260K.bin --tokens tokens.u16 \
        --state falcon.pt
    python -m samples.families.train save falcon --state falcon.pt

`FAMILIES` says what differs: sizes, norms, activation, and what rounding a linear layer does in
training.  A layer computes in training what the exported one will compute; gradients pass the
roundings as if they were not there (straight-through).  The same seed, machine and number of
threads give the same weights.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import time
from pathlib import Path
from typing import Any, Literal

import click
import numpy as np
import torch
from safetensors.torch import save_file
from samples.families.gguf_file import (
    F16,
    GgufTensor,
    floats,
    gguf_name,
    interleaved,
    metadata_of,
    pack_pq2_0,
    pack_q1_0,
    pack_tq2_0,
    write_gguf,
)
from samples.stories.train import BOS, HELD_OUT_TOKENS, Teacher, Windows, nucleus, rotate_half
from torch import Tensor, nn
from torch.nn import functional as F

HERE = Path(__file__).parent
TOKENIZER = HERE.parent / "stories" / "model"
EPSILON = 1e-5
Rounding = Literal["absmean int8", "absmean blocks", "binary groups", "ternary groups"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """What a model of a family is, and how long it is trained."""

    rounding: Rounding
    hidden: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    theta: float = 10000.0
    tied: bool = False
    sub_norms: bool = False
    head_norms: bool = False
    projection_norms: bool = False
    vocabulary: int = 512
    context: int = 256
    group: int = 128
    blocks: int = 2
    rate: float = 4e-3
    steps: int = 2000

    @property
    def low_bit_table(self) -> bool:
        """Whether embedding and head are rounded as the linear layers are."""
        return self.rounding in {"binary groups", "ternary groups"}


FAMILIES = {
    # tiiuae/Falcon3-*-1.58bit: llama, no sub-norms, untied, heads wider than hidden / heads.
    "falcon": Family(
        rounding="absmean int8", hidden=128, inner=384, layers=3,
        heads=4, kv_heads=2, head_dim=64, theta=1000042.0,
    ),
    # SpectraSuite/TriLM_*: one scale for each half of the rows, activations left alone.
    "trilm": Family(
        rounding="absmean blocks", hidden=256, inner=512, layers=2,
        heads=4, kv_heads=4, head_dim=64,
    ),
    # prism-ml/Bonsai-*: Qwen3, scales in groups of 128, embedding and head rounded too.
    "bonsai-binary": Family(
        rounding="binary groups", hidden=256, inner=384, layers=2,
        heads=4, kv_heads=2, head_dim=32, theta=1e6, head_norms=True,
    ),
    "bonsai-ternary": Family(
        rounding="ternary groups", hidden=256, inner=384, layers=2,
        heads=4, kv_heads=2, head_dim=32, theta=1e6, head_norms=True, tied=True,
    ),
    # 1bitLLM/bitnet_b1_58-*: SiLU between sub-norms; as in -xl, ffn columns no block divides.
    "onebit": Family(
        rounding="absmean int8", hidden=256, inner=172, layers=2,
        heads=4, kv_heads=4, head_dim=64, tied=True, sub_norms=True,
    ),
    # Qwen3 with `use_rms_norm`: a norm of its own before each projection is rounded.
    "qwen": Family(
        rounding="absmean int8", hidden=128, inner=384, layers=2,
        heads=4, kv_heads=2, head_dim=64, theta=1e6, tied=True, head_norms=True,
        projection_norms=True,
    ),
}  # fmt: skip


def absmean(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return trits and scale of a matrix: mean |W|, round(W / scale)."""
    scale = weight.abs().mean().clamp(min=EPSILON)
    return (weight / scale).round().clamp(-1, 1), scale


def integers(weight: Tensor, family: Family) -> tuple[Tensor, Tensor]:
    """Return a matrix as small integers and scales of shape [blocks of rows, groups].

    Blocks and groups are of one size: that many neighbouring rows or columns share a scale.
    """
    rows, columns = weight.shape
    match family.rounding:
        case "absmean int8":
            trits, scale = absmean(weight)
            return trits, scale.view(1, 1)
        case "absmean blocks":
            halves = [absmean(half) for half in weight.chunk(family.blocks)]
            scales = torch.stack([scale for _, scale in halves])[:, None]
            return torch.cat([trits for trits, _ in halves]), scales
        case "binary groups" | "ternary groups":
            groups = weight.view(rows, columns // family.group, family.group)
            scales = groups.abs().mean(-1).clamp(min=EPSILON)
            if family.rounding == "binary groups":
                return torch.where(weight < 0, -1.0, 1.0), scales
            trits = (groups / scales[..., None]).round().clamp(-1, 1)
            return trits.view(rows, columns), scales


def rounded(weight: Tensor, family: Family) -> Tensor:
    """Return a matrix as the exported model will read it; gradients reach the unrounded one."""
    values, scales = integers(weight, family)
    rows, columns = weight.shape
    wide = scales.repeat_interleave(rows // scales.shape[0], 0)
    wide = wide.repeat_interleave(columns // scales.shape[1], 1)
    return weight + (values * wide - weight).detach()


class Norm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight, EPSILON)


class Linear(nn.Linear):
    """A linear layer of a family."""

    def __init__(self, family: Family, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)
        self.family = family
        self.rms_norm = Norm(inputs) if family.projection_norms else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.rms_norm(x)
        if self.family.rounding == "absmean int8":
            scale = 127 / x.abs().amax(-1, keepdim=True).clamp(min=EPSILON)
            x = x + ((x * scale).round().clamp(-128, 127) / scale - x).detach()
        return F.linear(x, rounded(self.weight, self.family))


class Attention(nn.Module):
    """Attention with RoPE; norms of heads and of the output where the family has them."""

    def __init__(self, f: Family) -> None:
        super().__init__()
        self.family = f
        self.q_proj = Linear(f, f.hidden, f.heads * f.head_dim)
        self.k_proj = Linear(f, f.hidden, f.kv_heads * f.head_dim)
        self.v_proj = Linear(f, f.hidden, f.kv_heads * f.head_dim)
        self.o_proj = Linear(f, f.heads * f.head_dim, f.hidden)
        if f.head_norms:
            self.q_norm, self.k_norm = Norm(f.head_dim), Norm(f.head_dim)
        if f.sub_norms:
            self.inner_attn_ln = Norm(f.heads * f.head_dim)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, length, _ = x.shape
        f = self.family
        q = self.q_proj(x).view(batch, length, f.heads, f.head_dim).transpose(1, 2)
        k = self.k_proj(x).view(batch, length, f.kv_heads, f.head_dim).transpose(1, 2)
        v = self.v_proj(x).view(batch, length, f.kv_heads, f.head_dim).transpose(1, 2)
        if f.head_norms:
            q, k = self.q_norm(q), self.k_norm(k)
        q, k = rotate_half(q, cos, sin), rotate_half(k, cos, sin)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        y = y.transpose(1, 2).reshape(batch, length, f.heads * f.head_dim)
        return self.o_proj(self.inner_attn_ln(y) if f.sub_norms else y)


class FeedForward(nn.Module):
    """down(silu(gate x) * up x), a norm before down where the family has it."""

    def __init__(self, f: Family) -> None:
        super().__init__()
        self.gate_proj = Linear(f, f.hidden, f.inner)
        self.up_proj = Linear(f, f.hidden, f.inner)
        self.down_proj = Linear(f, f.inner, f.hidden)
        self.ffn_layernorm = Norm(f.inner) if f.sub_norms else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(self.ffn_layernorm(F.silu(self.gate_proj(x)) * self.up_proj(x)))


class Layer(nn.Module):
    """One transformer block, pre-norm, with the names of the Hugging Face checkpoint."""

    def __init__(self, f: Family) -> None:
        super().__init__()
        self.input_layernorm = Norm(f.hidden)
        self.self_attn = Attention(f)
        self.post_attention_layernorm = Norm(f.hidden)
        self.mlp = FeedForward(f)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Student(nn.Module):
    """The language model: tokens (batch, length) to logits (batch, length, vocabulary)."""

    def __init__(self, family: Family) -> None:
        super().__init__()
        self.family = family
        self.embed_tokens = nn.Embedding(family.vocabulary, family.hidden)
        self.layers = nn.ModuleList(Layer(family) for _ in range(family.layers))
        self.norm = Norm(family.hidden)
        if not family.tied:
            self.lm_head = nn.Linear(family.hidden, family.vocabulary, bias=False)
        for weight in self.parameters():
            if weight.dim() == 2:
                nn.init.normal_(weight, 0, 0.02)

    def table(self, weight: Tensor) -> Tensor:
        """Return the embedding or the head as the exported model will read it."""
        return rounded(weight, self.family) if self.family.low_bit_table else weight

    def forward(self, tokens: Tensor) -> Tensor:
        size = self.family.head_dim
        inverse = self.family.theta ** -(torch.arange(0, size, 2).float() / size)
        angle = torch.outer(torch.arange(tokens.shape[1]).float(), inverse).repeat(1, 2)
        embedding = self.table(self.embed_tokens.weight)
        x = F.embedding(tokens, embedding)
        for layer in self.layers:
            x = layer(x, angle.cos(), angle.sin())
        head = embedding if self.family.tied else self.table(self.lm_head.weight)
        return F.linear(self.norm(x), head)


@torch.no_grad()
def held_out_loss(student: Student, windows: Tensor) -> float:
    """Return nats per token over windows (count, length + 1)."""
    total = 0.0
    for window in windows:
        total += F.cross_entropy(student(window[None, :-1])[0], window[1:]).item()
    return total / len(windows)


@click.group()
def main() -> None:
    """Train the student of a family, save it for export."""
    torch.set_num_threads(1)


@main.command()
@click.argument("name", type=click.Choice(list(FAMILIES)))
@click.option("--teacher", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--tokens", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--state", type=click.Path(path_type=Path), required=True, help="Resumed if there.")
@click.option("--batch", default=4)
@click.option("--seed", default=0)
def train(name: str, teacher: Path, tokens: Path, state: Path, batch: int, seed: int) -> None:
    """Train on the teacher's distribution over the sampled stories."""
    torch.manual_seed(seed)
    family = FAMILIES[name]
    length, steps = family.context, family.steps
    corpus = np.fromfile(tokens, dtype="<u2")
    windows = Windows(corpus[:-HELD_OUT_TOKENS], length)
    unseen = Windows(corpus[-HELD_OUT_TOKENS:], length).draw(60, torch.Generator().manual_seed(0))
    guide, student, generator = Teacher(teacher), Student(family), torch.Generator()
    generator.manual_seed(seed)
    optimizer = torch.optim.AdamW(student.parameters(), family.rate, betas=(0.9, 0.95), fused=True)
    step = 0
    if state.exists():
        saved = torch.load(state)
        student.load_state_dict(saved["student"])
        optimizer.load_state_dict(saved["optimizer"])
        generator.set_state(saved["generator"])
        step = saved["step"]
    compiled, began = torch.compile(student), time.monotonic()
    while step < steps:
        done = step / steps
        for group in optimizer.param_groups:
            group["lr"] = family.rate * min(1, (step + 1) / 100) * (1 - done)
            group["weight_decay"] = 0.05 if done < 0.5 else 0.0
        window = windows.draw(batch, generator)
        target = nucleus(guide.logits(window[:, :-1]))
        loss = F.cross_entropy(compiled(window[:, :-1]).flatten(0, 1), target.flatten(0, 1))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % 200 == 0 or step == steps:
            saved = {"student": student.state_dict(), "optimizer": optimizer.state_dict(),
                     "generator": generator.get_state(), "step": step}  # fmt: skip
            torch.save(saved, state)
            nats = held_out_loss(student, unseen)
            click.echo(
                f"{name} step {step} tokens {step * batch * length} train {loss.item():.3f} "
                f"held-out {nats:.4f} uniform {math.log(family.vocabulary):.3f} "
                f"seconds {time.monotonic() - began:.0f}"
            )


@main.command()
@click.argument("name", type=click.Choice(list(FAMILIES)))
@click.option("--state", type=click.Path(exists=True, path_type=Path), required=True)
def save(name: str, state: Path) -> None:
    """Write the model as its family is published, in one of its containers."""
    family, folder = FAMILIES[name], HERE / name
    saved = torch.load(state)["student"]
    weights = {n if n.startswith("lm_head") else f"model.{n}": w for n, w in saved.items()}
    folder.mkdir(exist_ok=True)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(TOKENIZER / file, folder / file)
    config = config_of(name, family)
    if family.rounding == "absmean int8":
        tensors = masters(weights)
        if quantization := config.get("quantization_config"):
            tensors = packed(weights, divides="linear_class" not in quantization)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        text = json.dumps(config, indent=2) + "\n"
        (folder / "config.json").write_text(text, encoding="utf-8")
    else:
        metadata = metadata_of(config["model_type"], config, folder / "tokenizer.json")
        write_gguf(folder / "model.gguf", metadata, blocks(weights, family))


def config_of(name: str, f: Family) -> dict[str, Any]:
    """Return what config.json says of a model."""
    architecture = {"onebit": "BitnetForCausalLM", "qwen": "Qwen3ForCausalLM"}
    own: dict[str, dict[str, Any]] = {
        "falcon": {
            "is_bitnet_config": True,
            "quantization_config": {
                "quant_method": "bitnet",
                "modules_to_not_convert": ["lm_head"],
            },
        },
        "onebit": {"input_bits": 8, "weight_bits": 1},
        "qwen": {
            "quantization_config": {
                "quant_method": "bitnet",
                "linear_class": "autobitlinear",
                "quantization_mode": "offline",
                "use_rms_norm": True,
                "rms_norm_eps": EPSILON,
                "modules_to_not_convert": None,
            },
        },
    }
    return {
        "_name_or_path": f"bitexport/stories-{name}",
        "architectures": [architecture.get(name, "LlamaForCausalLM")],
        "model_type": "qwen3" if f.head_norms else "llama",
        "vocab_size": f.vocabulary,
        "hidden_size": f.hidden,
        "intermediate_size": f.inner,
        "num_hidden_layers": f.layers,
        "num_attention_heads": f.heads,
        "num_key_value_heads": f.kv_heads,
        "head_dim": f.head_dim,
        "max_position_embeddings": f.context,
        "rms_norm_eps": EPSILON,
        "rope_theta": f.theta,
        "hidden_act": "silu",
        "tie_word_embeddings": f.tied,
        "bos_token_id": BOS,
        "eos_token_id": BOS,
        "torch_dtype": "bfloat16",
        **own.get(name, {}),
    }


def packed(weights: dict[str, Tensor], *, divides: bool) -> dict[str, Tensor]:
    """Pack trits four rows to a byte, n / 4 apart; mean |W| multiplies, or 1 over it divides."""
    tensors: dict[str, Tensor] = {}
    for name, weight in weights.items():
        if not name.endswith("_proj.weight"):
            tensors[name] = weight.to(torch.bfloat16)
            continue
        trits, scale = absmean(weight)
        lanes = (trits + 1).to(torch.uint8).view(4, -1, weight.shape[1])
        byte = lanes[0] | lanes[1] << 2 | lanes[2] << 4 | lanes[3] << 6
        tensors[name] = byte.contiguous()
        said = 1 / scale if divides else scale
        tensors[f"{name}_scale"] = said.view(1).to(torch.bfloat16)
    return tensors


def masters(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Keep the floats that are rounded anew whenever they are used."""
    return {name: weight.to(torch.bfloat16) for name, weight in weights.items()}


def blocks(weights: dict[str, Tensor], family: Family) -> dict[str, GgufTensor]:
    """Pack matrices in the block type of the family; norms stay f32, other tables f16."""
    pack, size = {
        "absmean blocks": (pack_tq2_0, 256),
        "binary groups": (pack_q1_0, 128),
        "ternary groups": (pack_pq2_0, 128),
    }[family.rounding]
    tensors: dict[str, GgufTensor] = {}
    for name, weight in weights.items():
        if weight.dim() == 1:
            tensors[gguf_name(name)] = floats(weight.numpy())
        elif family.low_bit_table or name.endswith("_proj.weight"):
            values, scales = integers(weight, family)
            rows, columns = weight.shape
            wide = scales.repeat_interleave(rows // scales.shape[0], 0)
            wide = wide.repeat_interleave(columns // size // scales.shape[1], 1)
            whole, parts = values.numpy().astype(np.int8), wide.half().numpy()
            heads = {"q_proj": family.heads, "k_proj": family.kv_heads}.get(name.split(".")[-2])
            if heads and not family.head_norms:
                whole, parts = interleaved(whole, heads), interleaved(parts, heads)
            tensors[gguf_name(name)] = pack(whole, parts)
        else:
            tensors[gguf_name(name)] = floats(weight.numpy(), F16)
    return tensors


if __name__ == "__main__":
    main()
