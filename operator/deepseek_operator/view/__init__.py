"""What people see of a job, as pure functions from a Snapshot to text: no file, no clock, no terminal in here.

snapshot.py   what is shown: the status as it was read, the time, and what follows from them
amounts.py    numbers as people read them
facts.py      the rows that all views share
members.py    one line a member, equal ones together
screen.py     the live view of a terminal
lines.py      one line each ten seconds, and one an event, where there is no terminal
summary.py    what stands at the end
report.py     `dsj status`: tables and blocks
sentence.py   `dsj why`
"""
