"""What an action of the agents costs, beside bare floors and beside the alternatives.

Run by `make bench` (python3 -m bench). The parts, each using only those above it:

    measure       run candidates in turn, and what came of it in numbers
    candidates    what is measured: our actions, the floors, the alternatives
    report        the numbers as a Markdown page
    __main__      a control plane, a run, a page

get.py and session.py are candidates themselves: small programs, as an operator might write them.
"""
