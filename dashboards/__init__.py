"""How recordings and running fleets are seen: page, notebook, terminal, metrics.

Never here: a write to a recording; it reads, and only through the public doors of the others.
"""
