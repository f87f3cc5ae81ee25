"""What answers are worth, and which reward a name means."""

import pytest

from loren_jax.tasks.rewards import REWARDS, absolute, numeric, reward_named, source_of


@pytest.mark.parametrize(
    ("answer", "right", "expected"),
    [
        ("It is 12.", "12", 1.0),
        ("3 * 4 = 12.0", "#### 12", 1.0),
        ("1,200 or so", "1200", 1.0),
        ("5-3", "3", 1.0),
        ("5 - -3", "-3", 1.0),
        ("-0.5", "-.5", 1.0),
        ("12 or 13", "12", 0.0),
        ("none", "0", 0.0),
    ],
)
def test_the_last_number_counts(answer, right, expected):
    assert numeric("", answer, {"answer": right}) == expected


@pytest.mark.parametrize(
    ("name", "answer", "example", "expected"),
    [
        ("exact", "Paris!", {"output": "paris"}, 1.0),
        ("f1", "a b", {"completion": "b c"}, 0.5),
        ("countdown", "<answer>1+2</answer>", {"numbers": [1, 2, 3], "target": 6}, 0.1),
        ("regex:^(yes|no)$", "yes", {}, 1.0),
        ("regex:^(yes|no)$", "yes, it is", {}, 0.0),
        ("length:2", "one two three four", {}, 0.5),
    ],
)
def test_by_name(name, answer, example, expected):
    assert reward_named(name)("", answer, example) == pytest.approx(expected)


def test_of_a_file(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def loud(prompt, answer, example):\n    return answer.count('!')\n")
    assert reward_named(f"{file}:loud")("", "a!!", {}) == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("exakt", "reward 'exakt' is not known: it is one of exact, f1, numeric, countdown, regex"),
        ("regex:", "needs a regular expression"),
        ("regex:(", "no regular expression"),
        ("length:many", "length:many: it must be a number of words"),
        ("length:0", "at least one word"),
    ],
)
def test_a_name_that_means_nothing(name, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        reward_named(name)


def test_a_file_that_lacks_it(tmp_path):
    file = tmp_path / "mine.py"
    with pytest.raises(FileNotFoundError, match="there is no file"):
        reward_named(f"{file}:loud")
    file.write_text("loud = 3\n")
    with pytest.raises(ValueError, match="has no function 'loud'"):
        reward_named(f"{file}:loud")


@pytest.mark.parametrize("name", ["exact", "f1", "numeric"])
def test_an_example_without_what_was_wanted(name):
    with pytest.raises(ValueError, match="columns question, and none that holds what was wanted"):
        REWARDS[name]("", "4", {"question": "2 + 2"})


def test_an_example_that_is_no_puzzle():
    with pytest.raises(ValueError, match="has no column 'target'"):
        REWARDS["countdown"]("", "4", {"numbers": [1, 2, 3]})


def test_what_a_reward_is_made_of(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("loud = len\n")
    assert absolute("mine.py:loud") == f"{tmp_path}/mine.py:loud"
    assert source_of("mine.py:loud") == b"loud = len\nloud"
    for name in ("exact", "length:3", "regex:/a.py:b"):
        assert absolute(name) == name
        assert source_of(name) == name.encode()
    with pytest.raises(FileNotFoundError, match="there is no file"):
        source_of("other.py:loud")
