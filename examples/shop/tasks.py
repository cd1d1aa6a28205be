"""The shop's tasks, run by ``jobgate dev --tasks examples.shop.tasks``. Their docstrings are what the API shows of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, Final, TypeAlias

import httpx

from examples.shop.letters import compose, deliver
from examples.shop.sales import SALES_PER_DAY, Sale, sales_of, write_report
from worker.context import TaskContext
from worker.tasks import TaskError, task

JsonObject: TypeAlias = dict[str, Any]

_LETTERS: Final = {
    "welcome": ("Welcome to the Corner Shop", "It is good to have you here. The kettle is on.\n"),
    "first-order": ("Your first order", "Ten per cent off, because the first one is special.\n"),
    "favourites": ("What the neighbours like", "Honey, mostly. And the candles, since October.\n"),
    "come-back": ("We miss you already", "It has been a week. Is everything all right?\n"),
}

_REFUSALS: Final = {
    "declined": ("CARD_DECLINED", "the bank does not honour this card"),
    "no-subscription": ("SUBSCRIPTION_CANCELLED", "the customer has left"),
}


@task("notifications.send_email", timeout=30)
def send_email(context: TaskContext, given: JsonObject) -> JsonObject:
    """Sends one of the shop's letters: {"to": "ada@example.com", "letter": "welcome"}.

    Fails with INVALID_EMAIL or UNKNOWN_LETTER, which no retry will mend.
    """
    to = _address(given)
    try:
        subject, text = _LETTERS[given["letter"]]
    except KeyError:
        raise TaskError("UNKNOWN_LETTER", f"there are {', '.join(_LETTERS)}") from None
    return {"to": to, "subject": subject, "delivered": deliver(compose(context, to, subject, text))}


@task("reminders.notify", timeout=30)
def notify(context: TaskContext, given: JsonObject) -> JsonObject:
    """Reminds somebody of something: {"to": "ada@example.com", "about": "the dentist"}."""
    to, about = _address(given), str(given["about"])
    letter = compose(context, to, f"Reminder: {about}", f"You asked to be reminded of {about}.\n")
    return {"to": to, "about": about, "delivered": deliver(letter)}


@task("reports.daily_sales", timeout=60)
def daily_sales(context: TaskContext, given: JsonObject) -> JsonObject:
    """Writes a day's sales to a CSV file and adds them up, in cents: {"day": "2026-08-31"}.

    Without a day, that on which the run was due.
    """
    # Not today: a run that comes late, or again, must still report on its own day.
    day = date.fromisoformat(given["day"]) if "day" in given else context.scheduled_for.date()
    file = Path(os.environ.get("SHOP_REPORTS") or ".jobgate/reports") / f"sales-{day}.csv"
    sold: list[Sale] = []
    write_report(file, _collected(context, day, sold))
    return {"file": str(file), "rows": len(sold), "total": sum(sale.cents for sale in sold)}


def _collected(context: TaskContext, day: date, sold: list[Sale]) -> Iterator[Sale]:
    for sale in sales_of(day):
        context.check()
        sold.append(sale)
        context.report_progress(len(sold) / SALES_PER_DAY, f"{sale.time}, {sale.product}")
        yield sale


@task("billing.charge", timeout=30)
async def charge(context: TaskContext, given: JsonObject) -> JsonObject:
    """Charges a card with an amount in cents: {"amount": 1990, "card": "good"}.

    The card "declined" fails with CARD_DECLINED, "no-subscription" with SUBSCRIPTION_CANCELLED, "busy" always and
    "busy-once" on the first attempt of a run with GATEWAY_BUSY. All others are good.
    """
    card = given["card"]
    if card in _REFUSALS:
        raise TaskError(*_REFUSALS[card])
    if card == "busy" or (card == "busy-once" and context.attempt == 1):
        raise TaskError("GATEWAY_BUSY", "the payment gateway asks to come back later")
    # A real payment gateway would be given this key, so that an attempt repeated after a crash does not charge twice.
    return {"charged": given["amount"], "reference": context.run_key}


@task("billing.poll_payment", timeout=30)
async def poll_payment(context: TaskContext, given: JsonObject) -> JsonObject:
    """Looks whether a payment has settled, and fails with PENDING until it has: {"payment": "p-1", "settlesAfter": 3}.

    It settles at the attempt "settlesAfter". The retries of the job are what polls it.
    """
    if context.attempt < given["settlesAfter"]:
        raise TaskError("PENDING", f"payment {given['payment']} has not settled yet")
    return {"payment": given["payment"], "settled": True, "polls": context.attempt}


@task("series.lesson")
async def lesson(context: TaskContext, given: JsonObject) -> JsonObject:
    """Gives the next lesson of a course: {"lessons": ["knives", "stocks"]}. The n-th run gives the n-th."""
    lessons = given["lessons"]
    return {"number": context.execution, "lesson": lessons[(context.execution - 1) % len(lessons)]}


@task("feeds.refresh", timeout=30)
async def refresh(_: TaskContext, given: JsonObject) -> JsonObject:
    """Fetches a supplier's price feed: {"url": "https://supplier.example/prices"}.

    Fails with TIMEOUT, RATE_LIMITED, or HTTP_ and the status of any other answer that is no success.
    """
    try:
        async with httpx.AsyncClient(timeout=10, follow_redirects=True) as client:
            answer = await client.get(given["url"])
    except httpx.TimeoutException as error:
        raise TaskError("TIMEOUT", str(error)) from error
    if not answer.is_success:
        code = "RATE_LIMITED" if answer.status_code == httpx.codes.TOO_MANY_REQUESTS else f"HTTP_{answer.status_code}"
        raise TaskError(code, f"{answer.url} answered {answer.status_code}")
    return {"status": answer.status_code, "bytes": len(answer.content)}


def _address(given: JsonObject) -> str:
    to = str(given.get("to", ""))
    if to.count("@") != 1 or any(one.isspace() for one in to):
        raise TaskError("INVALID_EMAIL", f"{to!r} is no e-mail address")
    return to
