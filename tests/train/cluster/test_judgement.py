"""What process 0 decides of what it hears."""

from loren_jax.train.cluster.judgement import Member, judged

FINE = (Member(beat=5, progress=9), 0.3, 2.0)


def verdict(*members):
    return judged(members, {}, 60.0, 1800.0).get("verdict", "")


def test_silence():
    silent = (Member(beat=5), 61.0, 61.0)
    assert "process 1 has not been heard of for 61 s" in verdict(FINE, silent)
    assert "processes 0 and 2 have not been heard of" in verdict(silent, FINE, silent)
    assert verdict(FINE, (Member(beat=5), 59.0, 59.0)) == ""


def test_of_a_broken_collective_operation_a_short_silence_is_the_cause():
    broken = (FINE[0]._replace(broken=True), 0.3, 4.0)
    assert "process 1 has not" in verdict(broken, (Member(), 4.0, 4.0))
    assert verdict(broken, (Member(), 2.0, 2.0)) == ""


def test_an_error_is_told_with_its_process():
    failed = (Member(failed="the disk is full"), 30.0, 30.0)
    assert verdict(FINE, failed) == "process 1 failed: the disk is full"


def test_who_has_left_is_not_missed():
    assert verdict(FINE, (Member(left=True), 300.0, 300.0)) == ""


def test_a_hang_is_that_of_the_one_that_is_behind():
    waits = lambda progress: (Member(progress=progress), 0.3, 1801.0)
    assert verdict(waits(9), waits(8)).startswith("process 1 has not got any further for 1800 s")
    assert verdict(waits(9), waits(9)).startswith("no process has got any further")
    assert verdict(waits(9), FINE) == ""


def test_all_stop_behind_the_one_that_is_furthest():
    wish = (Member(wish=True, answers=4), 0.3, 0.3)
    held = lambda number: (Member(held=number, answers=number), 0.3, 0.3)
    assert judged([FINE, wish], {}, 60.0, 1800.0) == {"freeze": True}
    assert judged([held(4), wish], {"freeze": True}, 60.0, 1800.0) == {"freeze": True}
    assert judged([held(4), held(6)], {"freeze": True}, 60.0, 1800.0) == {"stop": 6}
