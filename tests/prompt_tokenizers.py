"""Two tokenizers made on the spot: words with a mask token, and bytes with merges without one."""

from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE, WordLevel
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

WORDS = ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]", "it", "was", "bad", "good", ".", "film")
WORDS = (*WORDS, *(f"w{number}" for number in range(30)))


def word_tokenizer():
    """As an encoder's: lower case, `[CLS] ... [SEP]`, a mask token."""
    inner = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    names = {"pad": "[PAD]", "unk": "[UNK]", "mask": "[MASK]", "cls": "[CLS]", "sep": "[SEP]"}
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, **{f"{kind}_token": token for kind, token in names.items()}
    )


def byte_tokenizer(ending=False, pad=None, eos="<eos>"):
    """As a decoder's: bytes and a few merges, a space being part of the word after it."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: i for i, letter in enumerate(alphabet)}
    merges = []
    for word in ("Ġgood", "Ġbad", "good", "bad", "Ġwas", "ĠIt"):
        for end in range(2, len(word) + 1):
            if word[:end] not in vocabulary:
                vocabulary[word[:end]] = len(vocabulary)
                merges.append((word[: end - 1], word[end - 1]))
    inner = Tokenizer(BPE(vocabulary, merges))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens([AddedToken("<bos>", special=True), AddedToken("<eos>", special=True)])
    bos, end = inner.token_to_id("<bos>"), inner.token_to_id("<eos>")
    inner.post_processor = TemplateProcessing(
        single="<bos> $A <eos>" if ending else "<bos> $A",
        special_tokens=[("<bos>", bos), ("<eos>", end)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<bos>", eos_token=eos, pad_token=pad
    )
