"""One policy a file; each reads a Draft and writes on it. Their order stands in plan.py.

lifecycle.py   begin, succeed, fail on request, deadline, and what is swept up at the end
suspend.py     drain, then leave; resume
rollout.py     drain, then leave, then begin anew with what has changed
restart.py     whose fault an end was, the budget, the back-off
nodes.py       who is dead because a node is
elastic.py     as many members as are asked for
terms.py       which servers make up the next term, and when it is raised (protocol.md, Terms)
recoveries.py  how long each loss lasted
"""
