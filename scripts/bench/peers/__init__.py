"""Recorders of others, one a file, each as its own documentation uses it.

Never here: settings that make another look slow.
"""
