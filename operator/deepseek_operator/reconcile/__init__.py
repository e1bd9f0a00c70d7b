"""The decision core: what is seen (observe.py) and what is asked for (intent.py) become a Plan (plan.py).

Pure and level-triggered: nothing here does I/O, reads a clock or remembers anything; what must be remembered
stands in JobStatus. A second plan on the result of the first writes nothing.
"""
