"""Counters: what facts move, what they say together, and how exact histograms are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.histograms import LONGEST, RELATIVE_ERROR, Histogram, Percentiles, bucket_of, middle_of
from jobs.lifecycle import JobStatus
from jobs.recount import added, corrections
from jobs.spans import FOREVER, LIFETIME, Bucket, ceiling, cover, floor
from jobs.statistics import Cell, Counters, Fact, Origin, RunEnd, Standing, fold, job_counts, rate, run_counts
from jobs.times import EPOCH

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ORIGIN = Origin("shop", "prd", "demo", "echo")
LIFE = Cell(ORIGIN, LIFETIME)
QUEUED = Standing(JobStatus.QUEUED, 0)
RUNNING = Standing(JobStatus.RUNNING, 0)

lengths = st.integers(0, LONGEST)
instants = st.integers(0, 5 * 86_400_000).map(lambda at: EPOCH + timedelta(milliseconds=at))
statuses = st.sampled_from(list(JobStatus))


def ended(at: datetime, status: JobStatus = JobStatus.COMPLETED, *, took: int = 40, waited: int = 7) -> RunEnd:
    started_at = at - timedelta(milliseconds=took)
    return RunEnd(status, started_at - timedelta(milliseconds=waited), started_at, at)


@given(lengths)
def test_a_bucket_stands_for_its_lengths_within_the_stated_error(length: int) -> None:
    assert abs(middle_of(bucket_of(length)) - length) <= RELATIVE_ERROR * length


def test_buckets_follow_one_another_without_a_gap() -> None:
    edges = [2**power + by for power in range(4, 40) for by in (-1, 0, 1)]
    numbers = [bucket_of(length) for length in range(5000)]
    assert numbers[:64] == list(range(64))
    assert {after - before for before, after in pairwise(numbers)} == {0, 1}
    assert [bucket_of(length) for length in edges] == sorted(bucket_of(length) for length in edges)
    assert (bucket_of(-5), bucket_of(2**50)) == (0, bucket_of(LONGEST))


@given(st.lists(st.integers(0, 10**7), min_size=1))
def test_percentiles_are_the_true_ones_within_the_stated_error(values: list[int]) -> None:
    counters = fold(Fact(ORIGIN, run=ended(NOON, took=value)) for value in values)[LIFE]
    found = run_counts(counters).duration.percentiles()
    assert found is not None
    assert found.max == max(values)
    for percent, told in ((50, found.p50), (95, found.p95), (99, found.p99)):
        true = sorted(values)[ceil(len(values) * percent / 100) - 1]
        assert abs(told - true) <= RELATIVE_ERROR * true


def test_nothing_has_no_percentiles() -> None:
    assert Histogram().percentiles() is None
    assert Histogram({40: 2}, 40).percentiles() == Percentiles(40, 40, 40, 40)


@given(instants, instants, st.sampled_from(list(Bucket)))
def test_stretches_cover_a_time_exactly_in_whole_buckets(start: datetime, end: datetime, coarsest: Bucket) -> None:
    stretches = sorted(cover(start, end, coarsest), key=lambda stretch: stretch.start)
    assert len(stretches) <= 7
    reached = start
    for stretch in stretches:
        assert stretch.start == reached < stretch.end
        reached = stretch.end
        if stretch.bucket is not None:
            assert stretch.bucket.length <= coarsest.length
            assert floor(stretch.start, stretch.bucket) == stretch.start
            assert ceiling(stretch.end, stretch.bucket) == stretch.end
        else:
            assert stretch.end - stretch.start < 2 * MINUTE
    assert reached == max(start, end) if start < end else stretches == []


def test_the_longest_time_is_covered_by_days() -> None:
    [stretch] = cover(EPOCH, FOREVER)
    assert stretch.bucket is Bucket.DAY


def test_a_job_is_moved_from_where_it_was() -> None:
    done = Standing(JobStatus.COMPLETED, 2)
    facts = [
        Fact(ORIGIN, None, QUEUED),
        Fact(ORIGIN),
        Fact(ORIGIN, QUEUED, RUNNING),
        Fact(ORIGIN, RUNNING, RUNNING),
        Fact(ORIGIN, RUNNING, done),
    ]
    counts = job_counts(fold(facts)[LIFE])
    assert (counts.total, counts.by_status[JobStatus.COMPLETED]) == (1, 1)
    assert (counts.first_try, counts.after_retry, counts.retries) == (0, 1, 2)
    assert (counts.success_rate, counts.average_retries) == (100, 2)
    assert fold([*facts, Fact(ORIGIN, done, None)]) == {}


def test_what_moves_nothing_is_not_written() -> None:
    assert fold([Fact(ORIGIN, RUNNING, RUNNING), Fact(ORIGIN)]) == {}


def test_nothing_at_all_is_zero_and_not_an_error() -> None:
    jobs, runs = job_counts(Counters()), run_counts(Counters())
    assert (jobs.total, jobs.success_rate, jobs.average_retries) == (0, 0, 0)
    assert (runs.total, runs.success_rate, runs.wait.percentiles()) == (0, 0, None)
    assert rate(3, 1) == 75


def test_a_run_is_counted_in_its_minute_hour_day_and_life() -> None:
    at = NOON + timedelta(minutes=34, seconds=5)
    cells = fold([Fact(ORIGIN, run=ended(at, JobStatus.CANCELLED, waited=-3))])
    starts = {cell.level: cell.start for cell in cells}
    day = NOON - timedelta(hours=12)
    assert starts == {"minute": NOON + 34 * MINUTE, "hour": NOON, "day": day, "lifetime": None}
    for counters in cells.values():
        runs = run_counts(counters)
        assert (runs.total, runs.successful, runs.failed, runs.cancelled) == (1, 0, 0, 1)
        # A clock that was wrong: nobody waits for less than nothing.
        assert runs.wait.percentiles() == Percentiles(0, 0, 0, 0)


@given(st.lists(st.builds(Standing, statuses, st.integers(0, 3)), min_size=1), st.integers(0, 20))
def test_folding_in_two_batches_is_folding_in_one(standings: list[Standing], cut: int) -> None:
    facts = [Fact(ORIGIN, None if not n else standings[n - 1], one) for n, one in enumerate(standings)]
    apart = added([fold(facts[:cut]), fold(facts[cut:])])[LIFE]
    assert job_counts(apart) == job_counts(fold(facts)[LIFE])
    assert job_counts(apart).total == 1


def test_corrections_are_what_is_missing_or_too_much() -> None:
    facts = [Fact(ORIGIN, None, QUEUED, ended(NOON)), Fact(ORIGIN, None, RUNNING, ended(NOON, took=90))]
    right = fold(facts)
    wrong = fold([Fact(ORIGIN, None, QUEUED, ended(NOON, took=500))])
    assert corrections(right, right, EPOCH) == {}
    change = corrections(wrong, right, EPOCH)
    assert change.keys() == right.keys()
    assert change[LIFE].counts["job:running"] == 1
    assert change[LIFE].counts[f"duration:{bucket_of(500)}"] == -1
    assert change[LIFE].longest == {"duration": 90}
    assert corrections(right, {}, EPOCH)[LIFE].longest == {"duration": 0, "wait": 0}


def test_what_cannot_be_found_any_more_is_not_lowered() -> None:
    old, new = (
        fold([Fact(ORIGIN, run=ended(NOON, took=500))]),
        fold([Fact(ORIGIN, run=ended(NOON + 2 * 1440 * MINUTE))]),
    )
    kept, complete_from = added([old, new]), NOON + 1440 * MINUTE
    assert corrections(kept, new, complete_from) == {}
    # What is found although it was not kept is added, also to the whole life.
    change = corrections(new, kept, complete_from)
    assert change[LIFE].counts["run:completed"] == 1
    assert change[LIFE].longest == {"duration": 500}
    # And what ended later is lowered.
    assert corrections(kept, old, complete_from)[LIFE].counts["run:completed"] == -1


@pytest.mark.parametrize("bucket", list(Bucket))
def test_the_start_of_a_bucket_is_its_own(bucket: Bucket) -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    assert floor(start, bucket) == ceiling(start, bucket) == start
    assert floor(start - timedelta(milliseconds=1), bucket) == start - bucket.length
