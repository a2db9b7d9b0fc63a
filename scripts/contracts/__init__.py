"""Contracts that others keep as well as we: suites that the author of an adapter runs, alone or as a pytest plugin.

Never here: tests of our own code.
"""
