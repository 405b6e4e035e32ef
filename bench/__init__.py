"""What an action of the agents costs, beside bare floors and beside the alternatives.

Run by `make bench-actions` (python3 -m bench). The parts, each using only those above it:

    report        numbers as a Markdown page; used by `failover` as well
    measure       run candidates in turn, and what came of it in numbers
    trace         what a candidate opens, reads and starts, by strace; its memory, by GNU time
    candidates    what is measured: our actions, the floors, the alternatives
    load          what they put on Keystone and its database
    pressure      how late they get when the node is short of CPU and of cached files
    executor      run recurring operations as Pacemaker does
    scale         many resources on one node; a probe among many processes
    controller    a whole controller's monitors, beside agents in shell and beside none
    __main__      a control plane, a run, a page

    failover      from a fault to being served again: a benchmark of its own

get.py, session.py, curl.sh, shell-agent and scan.py are candidates themselves: small programs, as
an operator might write them.
"""
