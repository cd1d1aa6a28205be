"""The shop's sales, invented but the same whenever they are asked for."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, fields
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

SALES_PER_DAY: Final = 240
_PRICES: Final = {"tea": 450, "coffee": 690, "honey": 820, "bread": 380, "soap": 310, "candles": 1250, "jam": 540}


@dataclass(frozen=True, slots=True)
class Sale:
    """One line of the report."""

    time: str
    product: str
    quantity: int
    cents: int


def sales_of(day: date) -> Iterator[Sale]:
    """What was sold on a day, from opening at nine, one sale every two minutes."""
    products = list(_PRICES)
    for number in range(SALES_PER_DAY):
        hours, minutes = divmod(9 * 60 + 2 * number, 60)
        product = products[(day.toordinal() + number * number) % len(products)]
        quantity = 1 + (day.toordinal() + number) % 3
        yield Sale(f"{hours:02}:{minutes:02}", product, quantity, quantity * _PRICES[product])


def write_report(path: Path, sales: Iterable[Sale]) -> None:
    """Write a CSV file that is there as a whole or not at all, whatever stops the writing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A folder of its own: an attempt that was given up may still be writing when the next one begins.
    with TemporaryDirectory(dir=path.parent, prefix=".unfinished-") as folder:
        unfinished = Path(folder) / path.name
        with unfinished.open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(field.name for field in fields(Sale))
            rows.writerows(astuple(sale) for sale in sales)
        unfinished.replace(path)
