"""Environment adapters: what Rolltape knows of a family of environments beyond Gymnasium's interface.

Never here: recording, drawing, or the packages of the environments themselves: an adapter knows them by their names.
"""
