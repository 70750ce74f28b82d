"""Turn a llama2.c vocabulary into tokenizer.json, the form that Hugging Face tokenizers read.

    pip install tokenizers
    python convert_tokenizer.py tok512.bin model/

llama2.c merges, of all neighbouring pairs that form a token, the one with the highest score.  A BPE
with byte fallback says the same when its merges are listed by falling score of the token they form.
"""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors

UNKNOWN, BEGIN, END = "<unk>", "<s>", "</s>"
FIRST_PIECE = 259
# A story told in turns: each message goes on where the one before ended.
IN_TURNS = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if not loop.first %}{{ ' ' if message['role'] == 'assistant' else '\n' }}{% endif %}"
    "{{ message['content'] | trim }}{% endfor %}"
)


def read_vocabulary(path: Path) -> tuple[list[str], list[float]]:
    """Return pieces and scores: int32 longest, then float32 score, int32 length, bytes for each."""
    data, at = path.read_bytes(), 4
    pieces, scores = [], []
    while at < len(data):
        score, length = struct.unpack_from("<fi", data, at)
        pieces.append(data[at + 8 : at + 8 + length].decode("utf-8"))
        scores.append(score)
        at += 8 + length
    return pieces, scores


def main(source: Path, output: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json."""
    pieces, scores = read_vocabulary(source)
    pieces[:3] = [UNKNOWN, BEGIN, END]
    pieces[FIRST_PIECE:] = [piece.replace(" ", "\u2581") for piece in pieces[FIRST_PIECE:]]
    ids = {piece: at for at, piece in enumerate(pieces)}
    merges = [
        (piece[:cut], piece[cut:])
        for at, piece in sorted(enumerate(pieces), key=lambda item: (-scores[item[0]], item[0]))
        if at >= FIRST_PIECE
        for cut in range(1, len(piece))
        if piece[:cut] in ids and piece[cut:] in ids
    ]
    tokenizer = Tokenizer(
        models.BPE(vocab=ids, merges=merges, unk_token=UNKNOWN, fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A", special_tokens=[(BEGIN, ids[BEGIN])]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("\u2581", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.add_special_tokens(
        [AddedToken(t, special=True, normalized=False) for t in (UNKNOWN, BEGIN, END)]
    )
    output.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(output / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 512,
        "bos_token": BEGIN,
        "eos_token": BEGIN,
        "unk_token": UNKNOWN,
        "clean_up_tokenization_spaces": False,
        "chat_template": IN_TURNS,
    }
    text = json.dumps(settings, indent=2, sort_keys=True) + "\n"
    (output / "tokenizer_config.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
