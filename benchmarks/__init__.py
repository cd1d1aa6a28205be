"""Side-by-side measurements, each printing ratios: run `scripts/bench`. Never part of the tests."""
