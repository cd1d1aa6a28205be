"""The product under faults: a whole installation on one machine, broken on purpose, and what is promised of it checked.

``scripts/chaos`` runs it; the README's "What is promised" tells what it is about. Nothing in the product knows of it: faults
from within and planted bugs are put into the processes from outside (``member``, ``failpoints``, ``plants``).
"""
