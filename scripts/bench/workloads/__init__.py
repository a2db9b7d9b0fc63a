"""The workloads, one environment a file: what is stepped, bare and recorded.

Never here: how it is measured.
"""
