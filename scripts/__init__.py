"""How people start Rolltape: the command line, the demo, cluster jobs, benchmarks.

Never here: logic that a library user would need as well; nothing imports this package.
"""
