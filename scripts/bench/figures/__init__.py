"""Single figures, a group a file: what a frame takes, how fast one comes back, whether memory stays flat.

Never here: the comparison of loops.
"""
