"""A control plane on one machine: what the tests, the benchmark and the demo run against.

Nothing in here is installed with the agents. The parts, each using only those above it:

    errors      LabError: what failed, the last lines of its log, what to do
    command     how a command of the lab ends: exit code, one line of what went wrong
    show        one line a step, with the seconds it took
    process     a process, known by its pid and start time; start, find and end sessions
    netns       network namespaces: make, enter, empty, remove
    apt         Debian packages, without starting what they bring
    web         one HTTP request into a namespace
    declared    what the agents declare of their daemons
    packages    the Debian package of each agent's daemon
    specs       all else that is to be known of a project: one Spec each
    settings    what one lab is made of, and where its files are
    config      configuration files: write those of a lab, change one
    folders     the folders of a lab, and the one that all labs share
    release     the newest releases, which Debian does not have yet
    network     the Open vSwitch of a lab with Neutron, and the place of Neutron's agents
    identity    the part of Keystone's API that fills it, and gives a token
    mounts      the configuration in its usual place, for daemons that look nowhere else
    services    start and stop one service of a lab
    seed        databases and Keystone's content: made once, copied often
    openstack   ControlPlane, and the command line
    root        Debian roots of another release, made once, entered by namespaces
    elsewhere   runs a command in one of these roots, on the sources of this checkout

and for Pacemaker nodes, with errors to apt of the above:

    switch      the bridge that connects the nodes
    corosync    corosync.conf
    cib         the first CIB; reads what crm_mon and the CIB say later
    node        one node, seen from outside
    fencing     the power switch, which ends a node and starts it again
    fence_lab   the nodes' fence agent, which asks the power switch
    inside      the first process of a node
    cluster     Cluster, and the command line

and for both together:

    client      sends requests all the time, and measures how long there was no answer
    journal     what Pacemaker did, from the nodes' logs
    machine     what this machine has: processors, memory, load
    playground  Glance and Cinder with their workers on two nodes; make lab
    stage, demo         what make demo shows
    balanced    what the layout with haproxy adds to a controller
    controller  a whole controller, database and RabbitMQ with it; make controller
    ground      what make chaos takes place on: a playground, or a controller
    records, messages, ledger   its clients, and what was acknowledged to them
    compute     a hypervisor that only looks like one
    invariants, scene, upgrade, mishaps, faults, chaos      make chaos
"""
