"""No pickle runs anything: what is no plain state_dict is refused by name."""

import pickle

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

from loren_jax.checkpoints.torch_pickle import parse_state_dict
from loren_jax.checkpoints.torch_tensors import StoredTensor

GOOD = tensor(storage("0", 6), (2, 3), (3, 1))


def program(body):
    return b"\x80\x02" + body + b"."


def test_plain_state_dict_is_described():
    wrapped = call(
        "torch._utils._rebuild_parameter", GOOD, b"\x88", call("collections.OrderedDict")
    )
    parsed = parse_state_dict(pickled({"a": GOOD, "b": wrapped}))
    assert parsed == dict.fromkeys("ab", StoredTensor("0", "F32", 6, 0, (2, 3), (3, 1)))


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
def test_call_is_not_run(protocol, tmp_path):
    victim = tmp_path / "created"
    pickle.loads(bomb(victim, protocol))["weight"].close()
    assert victim.exists(), "the bomb does not work, so the test shows nothing"
    victim.unlink()
    with pytest.raises(ValueError, match="was not run"):
        parse_state_dict(bomb(victim, protocol))
    assert not victim.exists()


MALICIOUS = {
    "system": (call("os.system", text("true")), r"names 'os\.system'"),
    "eval": (call("builtins.eval", text("1")), r"names 'builtins\.eval'"),
    "getattr": (
        call("builtins.getattr", named("os.path"), text("x")),
        r"names 'builtins\.getattr'",
    ),
    "attribute of a good name": (
        b"\x8c\x05torch" + text("_utils._rebuild_tensor_v2.__globals__") + b"\x93",
        r"names 'torch\._utils\._rebuild_tensor_v2\.__globals__'",
    ),
    "dots": (b"\x8c\x00" + text("os.system") + b"\x93", r"names '\.os\.system'"),
    "INST": (b"(" + text("true") + b"ios\nsystem\n", "instruction INST"),
    "OBJ": (b"(" + named("torch.FloatStorage") + b"o", "instruction OBJ"),
    "NEWOBJ": (named("torch.FloatStorage") + EMPTY + b"\x81", "instruction NEWOBJ"),
    "EXT1": (b"\x82\x01", "instruction EXT1"),
    "PERSID": (b"Px\n", "instruction PERSID"),
    "BUILD of a tensor": (GOOD + b"}b", "sets attributes"),
    "BUILD of a name": (named("collections.OrderedDict") + b"}b", "sets attributes"),
    "call of a tensor": (GOOD + EMPTY + b"R", "calls something that is no function"),
    "call of a storage": (call("torch.FloatStorage", number(1)), "odd arguments"),
    "filled dictionary": (call("collections.OrderedDict", b"}"), "odd arguments"),
    "rebuilt from nothing": (call("torch._utils._rebuild_tensor_v2"), "odd arguments"),
}


@pytest.mark.parametrize(("body", "message"), MALICIOUS.values(), ids=MALICIOUS)
def test_what_is_no_state_dict_is_named_and_not_run(body, message):
    with pytest.raises(ValueError, match=message):
        parse_state_dict(program(b"}" + text("a") + body + b"s"))


ODD_STORAGES = {
    "text": text("storage"),
    "other tag": storage("0", 6, tag="module"),
    "short": joined(text("storage"), named("torch.FloatStorage")) + b"Q",
    "no class": joined(*map(text, ("storage", "a", "0", "cpu")), number(6)) + b"Q",
    "wrong class": joined(
        text("storage"), named("collections.OrderedDict"), text("0"), text("cpu"), number(6)
    )
    + b"Q",
    "negative size": storage("0", -6),
    "huge size": storage("0", 2**62),
    "number as key": joined(
        text("storage"), named("torch.FloatStorage"), number(0), text("cpu"), number(6)
    )
    + b"Q",
}


@pytest.mark.parametrize("stored", ODD_STORAGES.values(), ids=ODD_STORAGES)
def test_odd_storages_are_refused(stored):
    with pytest.raises(ValueError, match=r"in a way that torch\.save does not"):
        parse_state_dict(pickled({"a": tensor(stored, (6,), (1,))}))


@pytest.mark.parametrize(
    "view", [((6,), (1, 1), 0), ((-6,), (1,), 0), ((6,), (-1,), 5), ((6,), (1,), -1)]
)
def test_odd_views_are_refused(view):
    with pytest.raises(ValueError, match=r"a tensor in a way that torch\.save does not"):
        parse_state_dict(pickled({"a": tensor(storage("0", 6), *view)}))


def test_conjugated_tensor_is_refused():
    head = GOOD.removesuffix(b"tR")
    with pytest.raises(ValueError, match="conjugated or negated"):
        parse_state_dict(pickled({"a": head + b"}" + text("conj") + b"\x88s" + b"tR"}))


def test_other_contents_are_refused():
    with pytest.raises(ValueError, match="holds no state_dict"):
        parse_state_dict(program(GOOD))
    with pytest.raises(ValueError, match=r"entry 'model' is no tensor.*plain state_dict"):
        parse_state_dict(pickled({"model": b"}" + text("a") + GOOD + b"s"}))
    with pytest.raises(ValueError, match="two entries called 'a'"):
        parse_state_dict(program(b"}(" + 2 * (text("a") + GOOD) + b"u"))
    with pytest.raises(ValueError, match="key that is a int"):
        parse_state_dict(program(b"}" + number(1) + GOOD + b"s"))


def test_exponential_keys_are_refused_at_once():
    doubled = EMPTY + b"q\x00h\x00\x86" * 60  # to hash it takes 2^60 steps
    with pytest.raises(ValueError, match="key that is a tuple"):
        parse_state_dict(program(b"}" + doubled + GOOD + b"s"))


DAMAGED = {
    "empty": b"",
    "no end": pickled({"a": GOOD})[:-1],
    "cut": pickled({"a": GOOD})[:40],
    "underflow": program(b"R"),
    "unknown memo": program(b"h\x07"),
    "no mark": program(b"t"),
    "no items": program(b"}(" + text("a") + b"u"),
    "number as module": program(number(1) + text("a") + b"\x93"),
    "unknown instruction": program(b"\xff"),
}


@pytest.mark.parametrize("damaged", DAMAGED.values(), ids=DAMAGED)
def test_damaged_pickle_is_refused(damaged):
    with pytest.raises(ValueError, match=r"the pickle (is damaged|does not end)"):
        parse_state_dict(damaged)
