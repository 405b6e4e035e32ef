"""A control plane on one machine: what the tests, the benchmark and the demo run against.

Nothing in here is installed with the agents. The parts, each using only those above it:

    errors      LabError: what failed, the last lines of its log, what to do
    command     how a command of the lab ends: exit code, one line of what went wrong
    show        one line a step, with the seconds it took
    process     a process is its pid and its birth; start, find and end sessions
    netns       network namespaces: make, enter, empty, remove
    apt         Debian packages, without starting what they bring
    web         one HTTP request into a namespace
    settings    what one lab is made of, and where its files are
    config      the configuration files of Keystone, Glance and Cinder
    release     the newest releases, which Debian does not have yet
    network     the Open vSwitch of a lab with Neutron, and the place of Neutron's agents
    mounts      the configuration in its usual place, for daemons that look nowhere else
    services    start and stop one service of a lab
    seed        databases and Keystone's content: made once, copied often
    openstack   ControlPlane, and the command line
    root        Debian roots of another release, made once, entered by namespaces
    elsewhere   a command in one, in the sources as they are here

and for Pacemaker nodes, with errors to apt of the above:

    switch      the bridge that the nodes meet on
    corosync    corosync.conf
    cib         the first CIB; what crm_mon and the CIB say later
    node        one node, seen from outside
    fencing     the power switch, which ends a node and starts it again
    fence_lab   the nodes' fence agent, which asks it
    inside      the first process of a node
    cluster     Cluster, and the command line

and for both together:

    client      asks services again and again, and knows how long there was no answer
    journal     what Pacemaker did, from the nodes' logs
    machine     what this machine has: processors, memory, load
    playground  Glance and Cinder with their workers on two nodes; make lab
    stage, demo         what make demo shows
    ledger, invariants, scene, mishaps, upgrade, faults, chaos      make chaos
    balanced    what its layout with haproxy has more
    controller  a whole controller, database and RabbitMQ with it; make controller
"""
