"""Every answer has its reward or a reason why it has none, whatever the reward does."""

import gc
import math
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from loren_jax.objectives.judge import Judge

FILE = """
import os, time

def reward(prompt, answer, example):
    if answer == "raise":
        raise KeyError("no such thing")
    if answer == "hang":
        while True:
            pass
    if answer == "end":
        os._exit(3)
    if answer == "text":
        return "much"
    if answer == "nan":
        return float("nan")
    if answer == "slow":
        time.sleep(0.2)
    return len(answer) + example["more"]
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    file = tmp_path_factory.mktemp("rewards") / "mine.py"
    file.write_text(FILE)
    return file


def test_answers_keep_their_order_and_failures_are_told(file):
    answers = ["a", "raise", "slow", "end", "bbb", "hang", "nan", "text", "cc", "raise"]
    with Judge(f"{file}:reward", seconds=1.0, workers=2) as judge:
        rewards, failures = judge([""] * 10, answers, [{"more": 1}] * 10)
        expected = [2, math.nan, 5, math.nan, 4, *[math.nan] * 3, 3, math.nan]
        np.testing.assert_array_equal(rewards, expected)
        assert failures == {
            "KeyError: 'no such thing'": 2,
            "the reward ended its process": 1,
            "it took longer than 1 s": 1,
            "it gave nan": 1,
            "ValueError: could not convert string to float: 'much'": 1,
        }
        # The processes that are gone have been replaced.
        rewards, failures = judge([""] * 4, ["a", "bb", "a", "bb"], [{"more": 0}] * 4)
        assert rewards.tolist() == [1, 2, 1, 2]
        assert not failures


@pytest.mark.slow
def test_they_run_side_by_side(file):
    with Judge(f"{file}:reward", workers=4) as judge:
        start = time.monotonic()
        judge([""] * 12, ["slow"] * 12, [{"more": 0}] * 12)
        assert time.monotonic() - start < 12 * 0.2


def test_a_script_needs_no_guard(tmp_path):
    """Nor is it run again, where it would start a run of its own."""
    script = tmp_path / "script.py"
    script.write_text(
        "from loren_jax.objectives.judge import Judge\n"
        "print('begun')\n"
        "with Judge('length:1', workers=2) as judge:\n"
        "    print(judge([''], ['yes'], [{}]).rewards)\n"
    )
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert ran.stdout == "begun\n[1.]\n", ran.stderr


def test_no_answers(file):
    with Judge(f"{file}:reward", workers=1) as judge:
        rewards, failures = judge([], [], [])
    assert rewards.shape == (0,)
    assert not failures


def test_a_reward_that_cannot_be_read_is_told_at_once(tmp_path):
    with pytest.raises(ValueError, match="reward 'exakt' is not known"):
        Judge("exakt", workers=1)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        Judge(f"{tmp_path}/none.py:reward", workers=1)
    (tmp_path / "broken.py").write_text("import nothing_of_this_name\n")
    with pytest.raises(ValueError, match=r"ModuleNotFoundError: No module named 'nothing_of"):
        Judge(f"{tmp_path}/broken.py:reward", workers=1)


@pytest.mark.parametrize("options", [{"seconds": 0.0}, {"workers": 0}])
def test_limits_that_allow_nothing(options):
    with pytest.raises(ValueError, match="must be above 0, and workers="):
        Judge("exact", **options)


@pytest.mark.slow
def test_nothing_is_left_of_a_judge_that_is_forgotten():
    judge = Judge("exact", workers=2)
    processes = [worker._process for worker in judge._workers]
    assert all(process.is_alive() for process in processes)
    del judge
    gc.collect()
    assert not any(process.is_alive() for process in processes)


@pytest.mark.skipif(not hasattr(os, "setsid"), reason="needs groups of processes")
def test_ctrl_c_is_for_the_run_and_a_process_that_is_gone_is_replaced():
    with Judge("length:1", workers=1) as judge:
        process = judge._workers[0]._process
        assert os.getpgid(process.pid) != os.getpgid(0)  # which a terminal tells alone
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        verdicts = judge(["", ""], ["yes", "well, yes"], [{}, {}])
        assert judge._workers[0]._process.pid != process.pid
    assert verdicts.rewards.tolist() == [1.0, 0.5]
    assert verdicts.failures == {}
