"""What an action of the agents costs, compared with floors and with alternatives.

Run by `make bench-actions` (python3 -m bench). The parts, each using only those above it:

    report        numbers as a Markdown page; used by what is below as well
    measure       runs candidates in turn, and gives their times as quartiles
    trace         what a candidate opens, reads and starts, by strace; its memory, by GNU time
    candidates    what is measured: our actions, the floors, the alternatives
    load          the load of these on Keystone and its database
    pressure      how long they take when the node is short of CPU and of cached files
    executor      run recurring operations as Pacemaker does
    scale         many resources on one node; a probe among many processes
    controller    a whole controller's monitors, beside agents in shell and beside none
    __main__      a control plane, a run, a page

From a fault to being served again is a benchmark of its own (python3 -m bench.failover):

    outcome       what was measured, kept in a file after each run
    targets       the services: how they are configured, what their clients ask
    volumes       the client of cinder-volume
    course        a cluster with one service at a time; the faults, and the measuring
    share         what an agent adds to its daemon's start and end; used by `candidates` as well
    failover_page the page
    failover      the command: what is measured, in which order

get.py, session.py, curl.sh, shell-agent and scan.py are candidates themselves: small programs, as
an operator might write them.
"""
