"""What recording costs, and what others cost: the workloads, the peers, the table.

Never here: a claim without the bare loop measured in the same run.
"""
