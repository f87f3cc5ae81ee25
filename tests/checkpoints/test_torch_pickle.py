"""No pickle runs anything: what is no plain state_dict is refused by name."""

import copyreg
import pickle
import tracemalloc

import pytest
from checkpoints.torch_archives import (
    EMPTY,
    bomb,
    call,
    joined,
    named,
    number,
    pickled,
    storage,
    tensor,
    text,
)

from loren_jax.checkpoints.torch_pickle import StoredTensor, parse_state_dict

GOOD = tensor(storage("0", 6), (2, 3), (3, 1))
ORDERED, REBUILD = named("collections.OrderedDict"), "torch._utils._rebuild_tensor_v2"


def program(body):
    return b"\x80\x02" + body + b"."


def entry(body):
    return program(b"}" + text("a") + body + b"s")


def test_plain_state_dict_is_described():
    wrapped = call("torch._utils._rebuild_parameter", GOOD, b"\x88", ORDERED + EMPTY + b"R")
    wanted = dict.fromkeys("ab", StoredTensor("0", "F32", 6, 0, (2, 3), (3, 1)))
    assert parse_state_dict(pickled({"a": GOOD, "b": wrapped})) == wanted
    plain = b"}(" + text("a") + GOOD + b"q\x07" + text("b") + b"h\x07u"  # one tensor, two names
    assert parse_state_dict(program(plain)) == wanted
    framed = b"\x80\x04\x95" + (len(plain) + 1).to_bytes(8, "little") + plain + b"."
    assert parse_state_dict(framed) == wanted


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
def test_call_is_not_run(protocol, tmp_path):
    victim = tmp_path / "created"
    pickle.loads(bomb(victim, protocol))["weight"].close()
    assert victim.exists(), "the bomb does not work, so the test shows nothing"
    victim.unlink()
    with pytest.raises(ValueError, match="was not run"):
        parse_state_dict(bomb(victim, protocol))
    assert not victim.exists()


def test_registered_extensions_are_not_run(tmp_path):
    """Python's machine takes one that was used before without asking anybody."""
    victim = tmp_path / "created"
    arguments = joined(text(str(victim)), text("w"))
    copyreg.add_extension("io", "open", 0xE7)
    try:
        pickle.loads(program(b"\x82\xe7" + arguments + b"R")).close()
        victim.unlink()
        with pytest.raises(ValueError, match=r"instruction EXT1.*was not run"):
            parse_state_dict(entry(b"\x82\xe7" + arguments + b"R"))
    finally:
        copyreg.remove_extension("io", "open", 0xE7)
    assert not victim.exists()


MALICIOUS = {
    "system": (call("os.system", text("true")), r"names 'os\.system'"),
    "system on the stack": (text("os") + text("system") + b"\x93", r"names 'os\.system'"),
    "eval": (call("builtins.eval", text("1")), r"names 'builtins\.eval'"),
    "getattr": (call("builtins.getattr", named("os.path"), text("x")), "names 'builtins.getattr'"),
    "attribute of a good name": (
        b"\x8c\x05torch" + text("_utils._rebuild_tensor_v2.__globals__") + b"\x93",
        r"names 'torch\._utils\._rebuild_tensor_v2\.__globals__'",
    ),
    "dots": (b"\x8c\x00" + text("os.system") + b"\x93", r"names '\.os\.system'"),
    "INST": (b"(" + text("true") + b"ios\nsystem\n", "instruction INST"),
    "OBJ": (b"(" + named("torch.FloatStorage") + b"o", "instruction OBJ"),
    "NEWOBJ": (named("torch.FloatStorage") + EMPTY + b"\x81", "instruction NEWOBJ"),
    "NEWOBJ_EX": (ORDERED + EMPTY + b"}\x92", "instruction NEWOBJ_EX"),
    "EXT4": (b"\x84\x01\x00\x00\x00", "instruction EXT4"),
    "PERSID": (b"Px\n", "instruction PERSID"),
    "set": (b"\x8f", "instruction EMPTY_SET"),
    "huge bytes": (b"\x8e" + b"\xff" * 7 + b"\x0f", "damaged"),
    "BUILD of a tensor": (GOOD + b"}b", "damaged.*StoredTensor"),
    "slots of a tensor": (GOOD + b"}}" + text("shape") + EMPTY + b"s\x86b", "damaged.*attribute"),
    "BUILD of a name": (ORDERED + b"}b", "sets attributes of collections.OrderedDict"),
    "slots of a name": (ORDERED + b"N}" + text("name") + b"Ns\x86b", "sets attributes"),
    "call of a tensor": (GOOD + EMPTY + b"R", "damaged.*not callable"),
    "call of text": (text("os.system") + EMPTY + b"R", "damaged.*not callable"),
    "call without a tuple": (ORDERED + b"}R", "damaged"),
    "call of a storage": (call("torch.FloatStorage", number(1)), "odd arguments"),
    "filled dictionary": (call("collections.OrderedDict", b"}"), "odd arguments"),
    "rebuilt from nothing": (call(REBUILD), "odd arguments"),
    "parameter of nothing": (
        call("torch._utils._rebuild_parameter", EMPTY, b"\x88", b"}"),
        "odd arguments",
    ),
    "conjugated": (GOOD.removesuffix(b"tR") + b"}" + text("conj") + b"\x88stR", "conjugated or"),
}


@pytest.mark.parametrize(("body", "message"), MALICIOUS.values(), ids=MALICIOUS)
def test_what_is_no_state_dict_is_named_and_not_run(body, message):
    with pytest.raises(ValueError, match=message) as refused:
        parse_state_dict(entry(body))
    assert "\n" not in str(refused.value)


FLOATS, SIX = named("torch.FloatStorage"), number(6)
ODD_STORAGES = {
    "text": text("storage"),
    "other tag": storage("0", 6, tag="module"),
    "short": joined(text("storage"), FLOATS) + b"Q",
    "no class": joined(*map(text, ("storage", "torch.FloatStorage", "0", "cpu")), SIX) + b"Q",
    "wrong class": joined(text("storage"), ORDERED, text("0"), text("cpu"), SIX) + b"Q",
    "negative size": storage("0", -6),
    "huge size": storage("0", 2**62),
    "true as size": joined(text("storage"), FLOATS, text("0"), text("cpu"), b"\x88") + b"Q",
    "number as key": joined(text("storage"), FLOATS, number(0), text("cpu"), SIX) + b"Q",
}
ODD_TENSORS = {name: (stored, (6,), (1,)) for name, stored in ODD_STORAGES.items()} | {
    "strides": (storage("0", 6), (6,), (1, 1)),
    "negative": (storage("0", 6), (-6,), (1,)),
    "backwards": (storage("0", 6), (6,), (-1,), 5),
    "before": (storage("0", 6), (6,), (1,), -1),
}


@pytest.mark.parametrize("odd", ODD_TENSORS.values(), ids=ODD_TENSORS)
def test_odd_storages_and_views_are_refused(odd):
    with pytest.raises(ValueError, match=r"describes a \w+ in a way that torch\.save does not"):
        parse_state_dict(pickled({"a": tensor(*odd)}))


DOUBLED = EMPTY + b"q\x00h\x00\x86" * 60  # to hash it takes 2^60 steps
OTHER = {
    "tensor": (program(GOOD), "holds no state_dict"),
    "nested": (pickled({"m": b"}" + text("a") + GOOD + b"s"}), "entry 'm' is no tensor.*plain"),
    "number": (entry(number(1)), "entry 'a' is no tensor"),
    "twins": (program(b"}(" + 2 * (text("a") + GOOD) + b"u"), "two entries called 'a'"),
    "key": (program(b"}" + number(1) + GOOD + b"s"), "key that is a int"),
    "exponential key": (program(b"}" + DOUBLED + GOOD + b"s"), "key that is a tuple"),
    "exponential attribute": (
        program(ORDERED + EMPTY + b"R}" + DOUBLED + b"Nsb"),
        "key that is a tuple",
    ),
    "empty": (b"", "damaged"),
    "no end": (pickled({"a": GOOD})[:-1], "damaged"),
    "cut": (pickled({"a": GOOD})[:40], "damaged"),
    "underflow": (program(b"R"), "damaged"),
    "unknown memo": (program(b"h\x07"), "damaged"),
    "no mark": (program(b"t"), "damaged"),
    "no items": (program(b"}(" + text("a") + b"u"), "damaged"),
    "items of a text": (program(text("a") + text("b") + GOOD + b"s"), "damaged"),
    "number as module": (program(number(1) + text("a") + b"\x93"), "damaged"),
    "unknown instruction": (program(b"\xff"), "damaged"),
    "newer protocol": (b"\x80\x63}.", "damaged"),
}


@pytest.mark.parametrize(("content", "message"), OTHER.values(), ids=OTHER)
def test_other_contents_and_damage_are_refused_at_once(content, message):
    with pytest.raises(ValueError, match=message):
        parse_state_dict(content)


def test_numbers_of_memos_ask_for_no_memory():
    """Python's machine makes room for all below the largest: 256 MiB here, and it fills them."""
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"damaged .*memo has the number 16777216"):
        parse_state_dict(program(b"}r" + (2**24).to_bytes(4, "little")))
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
