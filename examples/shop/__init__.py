"""A small shop: the tasks that its workers run, and the scenarios that put them through their paces."""
