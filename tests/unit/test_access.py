"""Who may do what, and to the jobs of which products and envs."""

import pytest

from jobs.access import ANYBODY, EVERYWHERE, Forbidden, Principal, Reach, Scope, check_reach, shortened
from jobs.filters import EventFilter, JobFilter
from jobs.job import JobError
from jobs.lifecycle import Action

SHOP = Reach(frozenset({"shop", "blog"}), frozenset({"prd"}))
SHOP_ANYWHERE = Reach(frozenset({"shop"}), None)


def principal(*scopes: Scope, reach: Reach = EVERYWHERE) -> Principal:
    return Principal("ann", frozenset(scopes), reach)


@pytest.mark.parametrize("scope", Scope)
def test_a_scope_is_had_by_those_who_are_given_it_and_by_admins(scope: Scope) -> None:
    assert principal(scope).may(scope)
    assert principal(Scope.ADMIN).may(scope)
    assert not principal(*(set(Scope) - {scope, Scope.ADMIN})).may(scope)


def test_whoever_comes_where_nobody_is_asked_may_do_everything() -> None:
    assert all(map(ANYBODY.may, Scope))
    assert ANYBODY.reach == EVERYWHERE


@pytest.mark.parametrize(
    ("reach", "product", "env", "expected"),
    [
        (EVERYWHERE, "shop", "prd", True),
        (EVERYWHERE, None, None, True),
        (SHOP, "shop", "prd", True),
        (SHOP, "blog", "prd", True),
        (SHOP, "rival", "prd", False),
        (SHOP, "shop", "dev", False),
        (SHOP, None, "prd", False),
        (SHOP, "shop", None, False),
        (SHOP_ANYWHERE, "shop", None, True),
        (Reach(frozenset(), None), "shop", "prd", False),
    ],
)
def test_what_is_within_reach(reach: Reach, product: str | None, env: str | None, expected: bool) -> None:
    assert reach.includes(product, env) is expected


@pytest.mark.parametrize(
    ("reach", "given", "product", "env"),
    [
        (EVERYWHERE, JobFilter(), None, None),
        (EVERYWHERE, JobFilter(product=("x",)), ("x",), None),
        (SHOP, JobFilter(), ("blog", "shop"), ("prd",)),
        (SHOP, JobFilter(product=("rival", "shop")), ("shop",), ("prd",)),
        (SHOP, JobFilter(product=("rival",), env=("prd", "dev")), (), ("prd",)),
        (SHOP_ANYWHERE, JobFilter(env=("dev",)), ("shop",), ("dev",)),
        (SHOP_ANYWHERE, JobFilter(), ("shop",), None),
    ],
)
def test_a_filter_is_narrowed_to_what_is_within_reach_and_never_widened(
    reach: Reach, given: JobFilter, product: tuple[str, ...] | None, env: tuple[str, ...] | None
) -> None:
    narrowed = reach.narrowed(given)
    assert (narrowed.product, narrowed.env) == (product, env)
    assert reach.narrowed_events(EventFilter(None, given)).jobs == narrowed


def test_all_other_conditions_stay() -> None:
    given = JobFilter(tags=("a",), task=("t",))
    assert SHOP.narrowed(given) == JobFilter(tags=("a",), task=("t",), product=("blog", "shop"), env=("prd",))


def test_being_out_of_reach_names_the_scope_and_the_place() -> None:
    ann = principal(Scope.JOBS_DISPATCH, reach=SHOP)
    check_reach(ann, "shop", "prd", Scope.JOBS_DISPATCH)
    with pytest.raises(Forbidden, match=r"^the scope jobs:dispatch is not given for 'rival' and 'prd'$") as caught:
        check_reach(ann, "rival", "prd", Scope.JOBS_DISPATCH)
    assert caught.value.scope is Scope.JOBS_DISPATCH
    with pytest.raises(Forbidden, match=r"for all products and all envs$"):
        check_reach(ann, None, None, Scope.JOBS_DISPATCH)


def test_of_the_actions_those_are_allowed_that_the_scopes_allow() -> None:
    actions = [Action.RETRY, Action.DELETE]
    assert principal(Scope.JOBS_CONTROL).allowed(actions) == [Action.RETRY]
    assert principal(Scope.JOBS_DELETE).allowed(actions) == [Action.DELETE]
    assert principal(Scope.JOBS_READ).allowed(actions) == []


def test_no_more_than_the_code_of_an_error_is_told() -> None:
    assert shortened(JobError("CARD_DECLINED", "card 4111 was declined")) == "CARD_DECLINED: …"
