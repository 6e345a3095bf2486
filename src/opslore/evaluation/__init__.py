"""Is it right, is it safe, and may it ship: scorers, baselines, statistics, the gate.

`run.evaluate` is the step; `numbers.summary` and `table.table` read the card it makes.
"""
