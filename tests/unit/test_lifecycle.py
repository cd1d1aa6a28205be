"""The table of ``mission/semantics.md`` §1, cell by cell."""

import pytest

from jobs.lifecycle import RULES, TERMINAL, Action, JobStatus, Verdict, allowed_actions, judge

STATUSES = ("scheduled", "queued", "running", "paused", "completed", "failed", "cancelled")

MATRIX = [
    # action, recurring, then one column a status as in STATUSES
    ("cancel", False, "ok ok ok - no no same"),
    ("cancel", True, "ok ok ok ok no no same"),
    ("pause", True, "ok ok ok same no no no"),
    ("pause", False, "no no no - no no no"),
    ("resume", True, "no no no ok no no no"),
    ("resume", False, "no no no - no no no"),
    ("reschedule", True, "ok ok ok ok no no no"),
    ("reschedule", False, "ok ok no - no no no"),
    ("retry", True, "no no no no no ok no"),
    ("retry", False, "no no no - no ok no"),
    ("delete", True, "no no no no ok ok ok"),
    ("delete", False, "no no no - ok ok ok"),
]

CELLS = [
    (action, recurring, status, cell)
    for action, recurring, row in MATRIX
    for status, cell in zip(STATUSES, row.split(), strict=True)
    if cell != "-"  # a one-shot is never paused
]

VERDICTS = {"ok": Verdict.OK, "same": Verdict.SAME, "no": Verdict.REFUSED}


@pytest.mark.parametrize(("action", "recurring", "status", "cell"), CELLS)
def test_what_callers_may_do_is_the_published_table(action: str, recurring: bool, status: str, cell: str) -> None:
    assert judge(Action(action), JobStatus(status), recurring=recurring) is VERDICTS[cell]


def test_a_running_job_that_was_told_to_pause_is_not_told_again() -> None:
    running = JobStatus.RUNNING
    assert judge(Action.PAUSE, running, recurring=True, pausing=True) is Verdict.SAME
    assert judge(Action.CANCEL, running, recurring=True, pausing=True) is Verdict.OK


@pytest.mark.parametrize(
    ("status", "recurring", "allowed"),
    [
        ("scheduled", False, "cancel reschedule"),
        ("scheduled", True, "cancel pause reschedule"),
        ("running", False, "cancel"),
        ("running", True, "cancel pause reschedule"),
        ("paused", True, "cancel resume reschedule"),
        ("completed", False, "delete"),
        ("failed", False, "retry delete"),
        ("cancelled", True, "delete"),
    ],
)
def test_the_actions_that_are_allowed_are_those_that_change_something(
    status: str, recurring: bool, allowed: str
) -> None:
    assert " ".join(allowed_actions(JobStatus(status), recurring=recurring)) == allowed


# "from -> to" of semantics §1, without the rows for new jobs.
TRANSITIONS = {
    ("scheduled", "queued"),
    ("queued", "running"),
    ("running", "completed"),
    ("running", "failed"),
    ("running", "scheduled"),
    ("running", "queued"),
    ("scheduled", "cancelled"),
    ("queued", "cancelled"),
    ("running", "cancelled"),
    ("paused", "cancelled"),
    ("scheduled", "paused"),
    ("queued", "paused"),
    ("running", "paused"),
    ("paused", "scheduled"),
    ("paused", "completed"),
    ("failed", "queued"),
    ("failed", "scheduled"),
    ("queued", "scheduled"),
    # Not in the table, but what follows from §3: missed occurrences were skipped, and none is left.
    ("scheduled", "completed"),
}


def test_no_rule_leads_where_the_table_does_not() -> None:
    possible = {
        (source.value, target.value) for rule in RULES.values() for source in rule.sources for target in rule.targets
    }
    # Rules with several sources and targets allow pairs that the decisions never choose, such as a paused job that
    # reschedule takes to running: what counts is that none of them leaves a terminal status but by retry.
    assert possible >= TRANSITIONS
    assert {pair for pair in possible if pair[0] in TERMINAL} == {("failed", "queued"), ("failed", "scheduled")}


def test_the_terminal_statuses_are_those_of_the_page() -> None:
    assert {JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED} == TERMINAL
