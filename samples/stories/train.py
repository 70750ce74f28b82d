"""Train a small ternary story model for export: BitNet b1.58, distilled from a float teacher.

    pip install torch safetensors numpy click
    python train.py sample --teacher stories260K.bin --output tokens.u16
    python train.py train --teacher stories260K.bin --tokens tokens.u16 --state state.pt
    python train.py save --state state.pt --output model/

The student has the architecture of microsoft/bitnet-b1.58-2B-4T: ReLU^2, sub-norms before the
output and down projections, grouped-query attention, rotate-half RoPE, tied embedding.  Three
things make a model exportable to the bit, and all three are in `TernaryLinear`:

  * weights are rounded to {-1, 0, 1} times one scale, mean |W|, in every forward pass;
  * activations are rounded to int8 with one scale per token, 127 / max |x|;
  * gradients pass both roundings as if they were not there (straight-through).

The same seed, machine and number of threads give the same weights.
"""

from __future__ import annotations

import json
import math
import struct
import time
from pathlib import Path

import click
import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

BOS = 1
HELD_OUT_TOKENS = 60_000
CONFIG = {
    "_name_or_path": "bitexport/stories-ternary-3m",
    "architectures": ["BitNetForCausalLM"],
    "model_type": "bitnet",
    "vocab_size": 512,
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "hidden_act": "relu2",
    "tie_word_embeddings": True,
    "bos_token_id": BOS,
    "eos_token_id": BOS,
    "use_cache": True,
    "torch_dtype": "bfloat16",
    "quantization_config": {
        "quant_method": "bitnet",
        "linear_class": "autobitlinear",
        "quantization_mode": "offline",
        "modules_to_not_convert": None,
    },
}


def ternary(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return the trits {-1, 0, 1} of a weight matrix and its scale, mean |W|."""
    scale = weight.abs().mean().clamp(min=1e-5)
    return (weight / scale).round().clamp(-1, 1), scale


class TernaryLinear(nn.Linear):
    """A linear layer that computes in training what the exported one will compute."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        trits, weight_scale = ternary(self.weight)
        weight = self.weight + (trits * weight_scale - self.weight).detach()
        scale = 127 / x.abs().amax(-1, keepdim=True).clamp(min=1e-5)
        x = x + ((x * scale).round().clamp(-128, 127) / scale - x).detach()
        return F.linear(x, weight)


class RmsNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight, CONFIG["rms_norm_eps"])


class Attention(nn.Module):
    """Grouped-query attention with RoPE and a norm before the output projection."""

    def __init__(self) -> None:
        super().__init__()
        width, self.heads = CONFIG["hidden_size"], CONFIG["num_attention_heads"]
        self.kv_heads, self.size = CONFIG["num_key_value_heads"], width // self.heads
        self.q_proj = TernaryLinear(width, width)
        self.k_proj = TernaryLinear(width, self.kv_heads * self.size)
        self.v_proj = TernaryLinear(width, self.kv_heads * self.size)
        self.o_proj = TernaryLinear(width, width)
        self.attn_sub_norm = RmsNorm(width)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, length, width = x.shape
        q = self.q_proj(x).view(batch, length, self.heads, self.size).transpose(1, 2)
        k = self.k_proj(x).view(batch, length, self.kv_heads, self.size).transpose(1, 2)
        v = self.v_proj(x).view(batch, length, self.kv_heads, self.size).transpose(1, 2)
        q, k = rotate_half(q, cos, sin), rotate_half(k, cos, sin)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return self.o_proj(self.attn_sub_norm(y.transpose(1, 2).reshape(batch, length, width)))


class FeedForward(nn.Module):
    """down(norm(relu(gate x)^2 * up x))."""

    def __init__(self) -> None:
        super().__init__()
        width, inner = CONFIG["hidden_size"], CONFIG["intermediate_size"]
        self.gate_proj = TernaryLinear(width, inner)
        self.up_proj = TernaryLinear(width, inner)
        self.down_proj = TernaryLinear(inner, width)
        self.ffn_sub_norm = RmsNorm(inner)

    def forward(self, x: Tensor) -> Tensor:
        gated = F.relu(self.gate_proj(x)) ** 2 * self.up_proj(x)
        return self.down_proj(self.ffn_sub_norm(gated))


class Layer(nn.Module):
    """One transformer block, pre-norm, with the names of the Hugging Face checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.input_layernorm = RmsNorm(CONFIG["hidden_size"])
        self.self_attn = Attention()
        self.post_attention_layernorm = RmsNorm(CONFIG["hidden_size"])
        self.mlp = FeedForward()

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Student(nn.Module):
    """The ternary language model: tokens (batch, length) to logits (batch, length, vocab)."""

    def __init__(self) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(CONFIG["vocab_size"], CONFIG["hidden_size"])
        self.layers = nn.ModuleList(Layer() for _ in range(CONFIG["num_hidden_layers"]))
        self.norm = RmsNorm(CONFIG["hidden_size"])
        for weight in self.parameters():
            if weight.dim() == 2:
                nn.init.normal_(weight, 0, 0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        size = CONFIG["hidden_size"] // CONFIG["num_attention_heads"]
        inverse = CONFIG["rope_theta"] ** -(torch.arange(0, size, 2).float() / size)
        angle = torch.outer(torch.arange(tokens.shape[1]).float(), inverse).repeat(1, 2)
        x = self.embed_tokens(tokens)
        for layer in self.layers:
            x = layer(x, angle.cos(), angle.sin())
        return F.linear(self.norm(x), self.embed_tokens.weight)


def rotate_half(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate pairs (i, i + size / 2) of the last axis."""
    low, high = x.chunk(2, -1)
    return x * cos + torch.cat([-high, low], -1) * sin


class Teacher:
    """A llama2.c checkpoint (version 0: seven int32, then float32 tensors), run in float32."""

    def __init__(self, path: Path) -> None:
        raw = path.read_bytes()
        header = struct.unpack("<7i", raw[:28])
        width, inner, layers, self.heads, self.kv_heads, vocab, length = header
        self.size = width // self.heads
        kv_width = self.kv_heads * self.size
        data, at = torch.from_numpy(np.frombuffer(raw[28:], np.float32).copy()), 0

        def take(*shape: int) -> Tensor:
            nonlocal at
            at += math.prod(shape)
            return data[at - math.prod(shape) : at].view(shape)

        self.embed = take(vocab, width)
        names = ("attention_norm", "q", "k", "v", "o", "ffn_norm", "gate", "down", "up")
        shapes = ((width,), (width, width), (kv_width, width), (kv_width, width), (width, width),
                  (width,), (inner, width), (width, inner), (inner, width))  # fmt: skip
        stacks = {n: take(layers, *s) for n, s in zip(names, shapes, strict=True)}
        self.layers = [{n: stack[i] for n, stack in stacks.items()} for i in range(layers)]
        self.norm = take(width)
        inverse = 10000.0 ** -(torch.arange(0, self.size, 2).float() / self.size)
        angle = torch.outer(torch.arange(length).float(), inverse)
        self.cos, self.sin = angle.cos(), angle.sin()

    @torch.no_grad()
    def logits(self, tokens: Tensor, cache: list[tuple[Tensor, Tensor]] | None = None) -> Tensor:
        """Return logits; a story (from BOS on) neither sees nor counts the stories before it.

        With a cache, tokens continue the sequences whose keys and values it holds.
        """
        batch, length = tokens.shape
        past = cache[0][0].shape[2] if cache else 0
        if cache is None:
            story = (tokens == BOS).cumsum(-1)
            first = torch.where(tokens == BOS, torch.arange(length), 0).cummax(-1).values
            position = (torch.arange(length) - first).clamp(max=len(self.cos) - 1)
            causal = torch.ones(length, length, dtype=torch.bool).tril()
            mask = ((story[:, :, None] == story[:, None, :]) & causal)[:, None]
        else:
            position, mask = torch.full((batch, length), past), None
        cos, sin = self.cos[position][:, None], self.sin[position][:, None]

        def rotate(x: Tensor) -> Tensor:
            even, odd = x[..., 0::2], x[..., 1::2]
            return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2)

        def split(x: Tensor, heads: int) -> Tensor:
            return x.view(batch, length, heads, self.size).transpose(1, 2)

        x = self.embed[tokens]
        for index, layer in enumerate(self.layers):
            h = F.rms_norm(x, x.shape[-1:], layer["attention_norm"], 1e-5)
            q = rotate(split(F.linear(h, layer["q"]), self.heads))
            k = rotate(split(F.linear(h, layer["k"]), self.kv_heads))
            v = split(F.linear(h, layer["v"]), self.kv_heads)
            if cache:
                k = torch.cat([cache[index][0], k], 2)
                v = torch.cat([cache[index][1], v], 2)
                cache[index] = (k, v)
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
            x = x + F.linear(y.transpose(1, 2).reshape(x.shape), layer["o"])
            h = F.rms_norm(x, x.shape[-1:], layer["ffn_norm"], 1e-5)
            gated = F.silu(F.linear(h, layer["gate"])) * F.linear(h, layer["up"])
            x = x + F.linear(gated, layer["down"])
        return F.linear(F.rms_norm(x, x.shape[-1:], self.norm, 1e-5), self.embed)


def nucleus(logits: Tensor, top_p: float = 0.98) -> Tensor:
    """Return the probabilities that the tokens were sampled with: the top-p set, renormalised."""
    ordered, index = logits.softmax(-1).sort(-1, descending=True)
    kept = ordered * (ordered.cumsum(-1) - ordered < top_p)
    return torch.zeros_like(kept).scatter(-1, index, kept / kept.sum(-1, keepdim=True))


class Windows:
    """Training windows of `length + 1` tokens, each beginning with a story."""

    def __init__(self, tokens: np.ndarray, length: int) -> None:
        self.tokens = torch.from_numpy(tokens.astype(np.int64))
        starts = torch.nonzero(self.tokens == BOS)[:, 0]
        self.starts = starts[starts + length + 1 <= len(self.tokens)]
        self.span = torch.arange(length + 1)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        pick = torch.randint(len(self.starts), (count,), generator=generator)
        return self.tokens[self.starts[pick][:, None] + self.span]


@torch.no_grad()
def held_out_loss(student: Student, tokens: np.ndarray, length: int) -> float:
    """Return nats per token over consecutive windows of the held-out tokens."""
    count = (len(tokens) - 1) // length
    flat = torch.from_numpy(tokens[: count * length + 1].astype(np.int64))
    total = 0.0
    for at in range(0, count * length, length):
        window = flat[at : at + length + 1]
        total += F.cross_entropy(student(window[None, :-1])[0], window[1:]).item()
    return total / count


@click.group()
def main() -> None:
    """Sample a corpus from the teacher, train the student, save it for export."""
    torch.set_num_threads(1)


@main.command()
@click.option("--teacher", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--output", type=click.Path(path_type=Path), required=True)
@click.option("--stories", default=44_000, help="How many stories to sample.")
@click.option("--seed", default=0)
def sample(teacher: Path, output: Path, stories: int, seed: int) -> None:
    """Write stories sampled at temperature 1 and top-p 0.98, as uint16 tokens."""
    model, generator = Teacher(teacher), torch.Generator().manual_seed(seed)
    empty = torch.zeros(0)
    with output.open("wb") as file:
        for done in range(0, stories, 512):
            batch = min(512, stories - done)
            cache = [(empty.view(batch, model.kv_heads, 0, model.size),) * 2 for _ in model.layers]
            token = torch.full((batch, 1), BOS)
            story, ended = [token], torch.zeros(batch, dtype=torch.bool)
            while len(story) <= len(model.cos) and not ended.all():
                chances = nucleus(model.logits(token, cache)[:, -1])
                token = torch.multinomial(chances, 1, generator=generator)
                ended |= token[:, 0] == BOS
                story.append(torch.where(ended[:, None], BOS, token))
            for row in torch.cat(story, 1).numpy():
                length = int(np.append(np.flatnonzero(row[1:] == BOS), len(row) - 1)[0]) + 1
                row[:length].astype("<u2").tofile(file)
            click.echo(f"{done + batch} stories", err=True)


@main.command()
@click.option("--teacher", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--tokens", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--state", type=click.Path(path_type=Path), required=True, help="Resumed if there.")
@click.option("--steps", default=6000)
@click.option("--batch", default=4)
@click.option("--length", default=512)
@click.option("--rate", default=3e-3, help="Peak learning rate.")
@click.option("--seed", default=0)
def train(
    teacher: Path, tokens: Path, state: Path, steps: int, batch: int, length: int, rate: float,
    seed: int,
) -> None:  # fmt: skip
    """Train the student on the teacher's distribution over the sampled stories."""
    torch.manual_seed(seed)
    corpus = np.fromfile(tokens, dtype="<u2")
    held_out, windows = corpus[-HELD_OUT_TOKENS:], Windows(corpus[:-HELD_OUT_TOKENS], length)
    guide, student, generator = Teacher(teacher), Student(), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(student.parameters(), rate, betas=(0.9, 0.95), fused=True)
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
            group["lr"] = rate * min(1, (step + 1) / 200) * (1 - done)
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
            nats = held_out_loss(student, held_out, length)
            seconds = time.monotonic() - began
            click.echo(
                f"step {step} tokens {step * batch * length} train {loss.item():.3f} "
                f"held-out {nats:.4f} seconds {seconds:.0f}"
            )


@main.command()
@click.option("--state", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--output", type=click.Path(path_type=Path), required=True)
def save(state: Path, output: Path) -> None:
    """Write config.json and model.safetensors, packed as bitnet-b1.58-2B-4T is."""
    tensors: dict[str, Tensor] = {}
    for name, weight in torch.load(state)["student"].items():
        if name.endswith("_proj.weight"):
            trits, scale = ternary(weight)
            lanes = (trits + 1).to(torch.uint8).view(4, -1, weight.shape[1])
            packed = lanes[0] | lanes[1] << 2 | lanes[2] << 4 | lanes[3] << 6
            tensors[f"model.{name}"] = packed.contiguous()
            tensors[f"model.{name}_scale"] = scale.view(1).to(torch.bfloat16)
        else:
            tensors[f"model.{name}"] = weight.to(torch.bfloat16)
    output.mkdir(parents=True, exist_ok=True)
    save_file(tensors, output / "model.safetensors", metadata={"format": "pt"})
    (output / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
