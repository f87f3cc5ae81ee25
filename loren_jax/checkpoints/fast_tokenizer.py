"""The last step to a Hugging Face tokenizer: special tokens around a text, and their names."""

from typing import Any


def fast_tokenizer(
    tokenizer: Any,
    special: dict[str, str],
    *,
    add_bos: bool,
    add_eos: bool = False,
    max_length: int | None = None,
    chat_template: str | None = None,
) -> Any:
    """Wraps a tokenizer for transformers.

    Args:
        tokenizer: A ``tokenizers.Tokenizer`` that does not add special tokens of its own.
        special: ``bos_token``, ``eos_token``, ``unk_token``, ``pad_token`` -> token, where known.
        add_bos: Whether each text begins with ``bos_token``.
        add_eos: Whether each text ends with ``eos_token``.
        max_length: Longest sequence of the model.
        chat_template: Template of a conversation.

    Returns:
        A ``transformers.PreTrainedTokenizerFast``.

    Raises:
        ValueError: If a token is to be added that is not named.
    """
    from transformers import PreTrainedTokenizerFast

    before = [special.get("bos_token")] if add_bos else []
    after = [special.get("eos_token")] if add_eos else []
    if None in before + after:
        raise ValueError("the tokenizer adds a special token that it does not name")
    if before or after:
        _surround(tokenizer, before, after)
    options = {"model_max_length": max_length} if max_length else {}
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
        **special,
        **options,
    )
    if chat_template:
        wrapped.chat_template = chat_template
    return wrapped


def _surround(tokenizer: Any, before: list[Any], after: list[Any]) -> None:
    from tokenizers import processors

    first = [*before, "$A", *after]
    second = [f"{part}:1" for part in [*before, "$B", *after]]
    template = processors.TemplateProcessing(
        single=first,
        pair=first + second,
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in {*before, *after}],
    )
    inner = tokenizer.post_processor
    tokenizer.post_processor = processors.Sequence([inner, template]) if inner else template
