"""Two actors who race for a job, in every order of their steps: ``tests/integration/test_races.py`` plays them.

``turns`` lets actors take turns at the database, ``interleavings`` plays every order, ``actors`` are made of the product's own
code; the modules ``of_…`` list the races and all that can come of each, ``wrongs`` are mistakes that have to be found.
"""
