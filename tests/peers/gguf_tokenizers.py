"""The tokenizer of a GGUF file, rebuilt with its family's own library.

transformers' own conversion is not used: it forgets that `smollm` splits digits.
"""

from dataclasses import dataclass
from typing import Callable

import gguf

CONTROL, USER_DEFINED = 3, 4


@dataclass
class Tokenizer:
    """Text to ids and back, as the model was trained with."""

    encode: Callable[[str], list[int]]
    """Ids of a text; special tokens in the text are recognised, BOS is put first if the model wants it."""
    decode: Callable[[list[int]], str]
    bos: int | None
    """The id put before every text, or None."""
    chat_template: str | None


def _value(reader: gguf.GGUFReader, key: str, default=None):
    field = reader.get_field(key)
    return default if field is None else field.contents()


def _byte_level(reader: gguf.GGUFReader):
    """GPT-2's byte-level BPE behind the individual-digits split of `smollm`."""
    from tokenizers import AddedToken, Tokenizer as Fast, decoders, models, pre_tokenizers

    pre = _value(reader, "tokenizer.ggml.pre")
    if pre != "smollm":
        raise SystemExit(f"pre-tokenizer `{pre}` has no reference here (only `smollm`)")
    tokens = _value(reader, "tokenizer.ggml.tokens")
    types = _value(reader, "tokenizer.ggml.token_type")
    merges = [tuple(m.split(" ", 1)) for m in _value(reader, "tokenizer.ggml.merges")]
    fast = Fast(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    fast.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    fast.decoder = decoders.ByteLevel()
    special = [t for t, kind in zip(tokens, types) if kind in (CONTROL, USER_DEFINED)]
    fast.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    return (
        lambda text: fast.encode(text, add_special_tokens=False).ids,
        lambda ids: fast.decode(ids, skip_special_tokens=False),
    )


def _sentence_piece(reader: gguf.GGUFReader):
    """SentencePiece's BPE with scores and byte fallback."""
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2 as pb

    proto = pb.ModelProto()
    proto.trainer_spec.model_type = pb.TrainerSpec.BPE
    proto.trainer_spec.byte_fallback = True
    proto.trainer_spec.unk_id = _value(reader, "tokenizer.ggml.unknown_token_id")
    proto.trainer_spec.bos_id = _value(reader, "tokenizer.ggml.bos_token_id")
    proto.trainer_spec.eos_id = _value(reader, "tokenizer.ggml.eos_token_id")
    proto.trainer_spec.pad_id = _value(reader, "tokenizer.ggml.padding_token_id")
    proto.normalizer_spec.name = "identity"
    proto.normalizer_spec.add_dummy_prefix = bool(_value(reader, "tokenizer.ggml.add_space_prefix", True))
    proto.normalizer_spec.remove_extra_whitespaces = False
    proto.normalizer_spec.escape_whitespaces = True
    columns = (_value(reader, f"tokenizer.ggml.{name}") for name in ("tokens", "scores", "token_type"))
    for token, score, kind in zip(*columns):
        if kind == USER_DEFINED:
            # GGUF writers unmark the spaces of these (Gemma's runs of spaces); SentencePiece has them marked.
            token = token.replace(" ", "\u2581")
        proto.pieces.add(piece=token, score=score, type=kind)
    processor = sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())
    return processor.encode, processor.decode


def load(path) -> Tokenizer:
    """The tokenizer described by the metadata of the GGUF file at `path`."""
    reader = gguf.GGUFReader(path)
    family = _value(reader, "tokenizer.ggml.model")
    families = {"gpt2": _byte_level, "llama": _sentence_piece}
    if family not in families:
        raise SystemExit(f"{path}: tokenizer `{family}` has no reference here (only {', '.join(families)})")
    encode, decode = families[family](reader)
    bos = None
    if _value(reader, "tokenizer.ggml.add_bos_token", family == "llama"):
        bos = _value(reader, "tokenizer.ggml.bos_token_id")
    start = [] if bos is None else [bos]
    return Tokenizer(
        encode=lambda text: start + list(encode(text)),
        decode=decode,
        bos=bos,
        chat_template=_value(reader, "tokenizer.chat_template"),
    )
