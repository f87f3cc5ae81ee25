"""The time that is left."""

from loren_jax.runs.pace import Pace
from loren_jax.runs.record import Counters


def test_evaluations_are_part_of_what_is_left():
    """Ten steps of 2 s with evaluations of 5 s behind 4, 8 and 10, of which the first took 30."""
    times = Counters()
    pace = Pace(10, 4)
    assert pace.seconds_left(0) is None
    times.evaluation_seconds = 30.0
    pace.note_evaluation(times)
    for step in range(1, 5):
        times.step, times.training_seconds = step, 2.0 * step
        pace.note_step(times, replayed=False)
        assert pace.seconds_left(step) == 2.0 * (10 - step) + 3 * 30.0
    times.evaluation_seconds += 5.0
    pace.note_evaluation(times)
    assert pace.seconds_left(4) == 2.0 * 6 + 2 * 5.0
    times.step, times.evaluation_seconds = 10, times.evaluation_seconds + 5.0
    pace.note_evaluation(times)
    assert pace.seconds_left(10) == 0.0


def test_what_was_before_tells_nothing():
    """Resumed behind step 4, with two steps of the journal that took no time."""
    times = Counters(step=4, training_seconds=400.0, evaluation_seconds=90.0)
    pace = Pace(8, 4, times)
    for step, seconds in ((5, 400.1), (6, 400.2)):
        times.step, times.training_seconds = step, seconds
        pace.note_step(times, replayed=True)
        assert pace.seconds_left(step) is None
    times.step, times.training_seconds = 7, 403.2
    pace.note_step(times, replayed=False)
    assert round(pace.seconds_left(7), 6) == 3.0
