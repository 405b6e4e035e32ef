# Shortcuts for operators (install, demo) and for those who work on it (check). `make` alone
# prints them. Needs GNU make and bash; everything else is installed when it is needed.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
# A recipe may rely on those before it: check is lint, then types, then tests.
.NOTPARALLEL:
.SUFFIXES:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Variables that the caller's shell may have set must not change what is built and tested here.
unexport PYTHONDONTWRITEBYTECODE PYTHONHOME PYTHONOPTIMIZE PYTHONPATH PYTHONPYCACHEPREFIX
unexport PYTHONSAFEPATH PYTHONSTARTUP PYTHONWARNINGS PYTEST_ADDOPTS VIRTUAL_ENV FAULTS_AGENT
unexport MAKEFLAGS MFLAGS

# Where things are installed. PYTHON is the agents' interpreter (3.9 or later).
OCF_ROOT ?= /usr/lib/ocf
MANDIR ?= /usr/share/man
SBINDIR ?= /usr/sbin
COMPLETIONDIR ?= /usr/share/bash-completion/completions
CRMSHDIR ?= /usr/share/crmsh
PYTHON ?= /usr/bin/python3
# For packages: another folder of OCF_ROOT/lib than `openstack`, whose path is then in the agents;
# whether there is bytecode (empty: no); the folder that archives and packages are written to.
LIBRARY ?= openstack
BYTECODE ?= yes
DIST ?= dist
# The key that `make single` signs the checksums with, for gpg; empty: none.
SIGN_KEY ?=

# Not the first `python3` on PATH: Debian's packages of Python modules are for this one.
SYSTEM_PYTHON := /usr/bin/python3
VENV_PYTHON := .venv/bin/python

# The one list of agents: executable files in ocf/ without a suffix. (agentlib is a symlink.)
AGENTS := $(shell find ocf -maxdepth 1 -type f -perm -u+x ! -name '*[.~]*' -printf '%f\n' \
	| LC_ALL=C sort)
# Other scripts without a suffix, which no tool finds by itself either.
SCRIPTS := $(shell find bench bin docs lab tests -type f -perm -u+x ! -name '*[.~]*' \
	-exec grep -lm1 '^\#!.*python' {} + 2>/dev/null | LC_ALL=C sort)
CRM_SCRIPTS := $(notdir $(wildcard crm/scripts/*))
SOURCES = agentlib openstack_ocf $(AGENTS:%=ocf/%) $(if $(wildcard bench/*.py),bench) docs lab release \
	tests $(SCRIPTS)

# Debian packages: to run agents and lab; to test them as well. The daemons: see `openstack`.
RUN_PACKAGES := python3 python3-keystoneauth1 python3-requests iproute2
CLUSTER_PACKAGES := pacemaker corosync crmsh pcs resource-agents iputils-arping
TEST_PACKAGES := $(RUN_PACKAGES) $(CLUSTER_PACKAGES) python3-venv groff-base libxml2-utils openssl \
	python3-openstackclient bsdutils curl libfaketime net-tools strace time uwsgi-plugin-python3 prometheus python3-yaml
# To make packages, and to try them in a root of their own.
PACKAGE_PACKAGES := build-essential debhelper dh-python dpkg-dev lintian rpm rpmlint debootstrap gpg gpg-agent
OPENSTACK_PACKAGES := keystone glance-api cinder-api mariadb-server-core
DEMO_PACKAGES = $(shell $(SYSTEM_PYTHON) -B -c 'from lab.playground import PACKAGES; print(*PACKAGES)')
# The packages of all other daemons are many, and for tests alone: lab/packages.py.
CONTROL_PLANE_PACKAGES = $(shell $(SYSTEM_PYTHON) -B -m lab.packages)

# What .venv holds: the tools, and what the agents use, in the newest releases; amqp is for the clients
# of chaos.
TOOLS := pytest pytest-subprocess pytest-xdist hypothesis mypy ruff vermin setuptools wheel \
	keystoneauth1 psutil requests types-psutil types-requests amqp

# Tests that mostly wait, six at once. In the other tests a lab or a cluster serves all tests of a
# file, and is busy; the longest files come first (tests/seconds.py).
LIGHT := tests/unit tests/agents tests/kinds tests/install tests/lookalike tests/tool
PARALLEL ?= --numprocesses 6 --dist worksteal
PARALLEL_HEAVY ?= --numprocesses 3 --dist loadfile --no-loadscope-reorder
# What `check` takes of the others, within twenty minutes: the declarations, the life of a real daemon,
# failovers with fencing, `apply`. `check-rest` takes all the others; CI both: `make check CORE=tests`.
CORE := tests/declaration tests/real/test_life.py tests/cluster/test_daemon_faults.py \
	tests/cluster/test_fencing.py tests/cluster/test_apply.py
# Three quarters of an hour of CI have no room for it: a whole controller, whose databases alone take
# minutes, also amid chaos; the outages of the services that are seldom under Pacemaker; haproxy by other
# agents than ours of choice; the other ways to upgrade a running cluster, and an upgrade that is stopped
# after each file; Neutron's data plane. And the newest releases from PyPI: they change without us.
NIGHTLY := tests/cluster/test_bench.py tests/cluster/test_controller.py tests/cluster/test_data_plane.py \
	tests/cluster/test_other_haproxies.py tests/cluster/test_upgrade_over.py \
	tests/cluster/test_chaos_whole.py tests/packages/test_every_moment.py \
	tests/real/test_data_plane.py tests/real/test_further_outages.py \
	tests/real/test_newest.py tests/declaration/test_newest.py

# For pytest (or bench), as in: make test ARGS='tests/agents -k stop'
ARGS ?=

# For `make faults`: an agent that is not one of ours, as in AGENT=/usr/lib/ocf/.../cinder-api
AGENT ?=

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' Makefile
	echo
	echo "agents: $(AGENTS)"

##### For operators

.PHONY: demo
demo: run-packages cluster-packages openstack ## faults and failovers on a real cluster, on this machine (as root)
	@exec $(SYSTEM_PYTHON) -m lab.demo $(ARGS) </dev/null

.PHONY: transcript
transcript: ARGS := --transcript docs/demo.txt
transcript: demo ## the demo, kept as docs/demo.txt

.PHONY: demo-agents
demo-agents: run-packages openstack ## what the agents say, called directly (as root)
	@exec $(SYSTEM_PYTHON) -m lab.demo_agents </dev/null

.PHONY: lab
lab: run-packages cluster-packages openstack ## the demo's cluster, to play with (as root)
	@exec $(SYSTEM_PYTHON) -m lab.playground up </dev/null

.PHONY: lab-down
lab-down: ## end and remove that cluster
	@exec $(SYSTEM_PYTHON) -m lab.playground down </dev/null

.PHONY: controller
controller: run-packages cluster-packages openstack control-plane ## a whole control plane under Pacemaker, to play with (as root)
	@exec $(SYSTEM_PYTHON) -m lab.controller up $(ARGS) </dev/null

.PHONY: controller-down
controller-down: ## end and remove it
	@exec $(SYSTEM_PYTHON) -m lab.controller down $(ARGS) </dev/null

# An agent may run at any moment: everything is made ready under other names on the same file
# system, and then renamed, the library first. Nothing is written to the source tree.
.PHONY: install
install: export OCF_ROOT := $(OCF_ROOT)
install: export DESTDIR := $(DESTDIR)
install: export MANDIR := $(MANDIR)
install: export SBINDIR := $(SBINDIR)
install: export COMPLETIONDIR := $(COMPLETIONDIR)
install: export CRMSHDIR := $(CRMSHDIR)
install: export PYTHON := $(PYTHON)
install: export LIBRARY := $(LIBRARY)
install: ## install agents and openstack-ocf (DESTDIR, OCF_ROOT, MANDIR, SBINDIR, COMPLETIONDIR, CRMSHDIR; PYTHON)
	@umask 022
	fail() { echo "make install: $$*" >&2; exit 1; }
	[[ "$$OCF_ROOT" == /* ]] || fail "OCF_ROOT=$$OCF_ROOT is not an absolute path"
	[[ "$$PYTHON" =~ ^/[A-Za-z0-9/._+-]+$$ ]] ||
		fail "PYTHON=$$PYTHON is no absolute path that can stand in a #! line"
	agents="$$DESTDIR$$OCF_ROOT/resource.d/openstack"
	library="$$DESTDIR$$OCF_ROOT/lib/$$LIBRARY"
	[[ "$$LIBRARY" =~ ^openstack[A-Za-z0-9.+~_^-]*$$ ]] || fail "LIBRARY=$$LIBRARY is no name for it"
	if [ -d "$$agents/agentlib" ] && [ ! -L "$$agents/agentlib" ]; then
		fail "$$agents/agentlib is a folder, as pip makes it; first: pip uninstall" \
			"openstack-ocf-agents"
	fi
	if [ -x "$$PYTHON" ]; then
		"$$PYTHON" -Es -c 'import sys; sys.exit(sys.version_info < (3, 9))' ||
			fail "PYTHON=$$PYTHON is older than 3.9"
	fi
	mkdir -p "$$agents" "$$library"/{agentlib,openstack_ocf}
	# One at a time: each would replace what the other one is about to rename.
	exec 9<"$$library"
	if ! flock --nonblock 9; then
		echo "make install: waiting for another one in $$library"
		flock 9
	fi
	trap 'rm -rf "$$new" "$$new_agents" "$$ready"' EXIT
	new_agents= ready=
	new=$$(mktemp -d "$$library/.new.XXXXXXXX")
	new_agents=$$(mktemp -d "$$agents/.new.XXXXXXXX")

	mkdir "$$new/agentlib" "$$new/openstack_ocf" "$$new/man" "$$new/command"
	install -m 644 agentlib/*.py "$$new/agentlib"
	install -m 644 openstack_ocf/*.py "$$new/openstack_ocf"
	sed -e "1s|^#!/usr/bin/python3|#!$$PYTHON|" \
		-e "s|^LIBRARY = .*|LIBRARY = \"$$OCF_ROOT/lib/$$LIBRARY\"|" \
		-e "/^from pathlib import Path$$/d" bin/openstack-ocf >"$$new/openstack-ocf"
	chmod 755 "$$new/openstack-ocf"
	path=
	[ "$$LIBRARY" = openstack ] || # an agent finds the library that it was made with, and no other
		path="import sys; sys.path[0] = \"$$OCF_ROOT/lib/$$LIBRARY\""
	for agent in $(AGENTS); do
		sed -e "1s|^#!/usr/bin/python3|#!$$PYTHON|" \
			$${path:+-e "0,/^from agentlib/s|^from agentlib|$$path\n&|"} \
			"ocf/$$agent" >"$$new_agents/$$agent"
		chmod 755 "$$new_agents/$$agent"
	done
	[ "$$path" ] || ln -s ../../lib/openstack/agentlib "$$new_agents/agentlib"
	if [ ! "$(BYTECODE)" ]; then
		:
	elif [ -x "$$PYTHON" ]; then
		# By time stamp, even where SOURCE_DATE_EPOCH is set: a change of an installed module
		# must take effect. The paths in the bytecode are those of the installed files.
		"$$PYTHON" -Es -m compileall -qf --invalidation-mode timestamp \
			-s "$$new" -p "$$OCF_ROOT/lib/$$LIBRARY" "$$new/agentlib" "$$new/openstack_ocf"
	else
		echo "make install: $$PYTHON is not on this machine: no bytecode"
	fi
	for python in "$$PYTHON" $(SYSTEM_PYTHON); do
		! "$$python" -EsB docs/reference.py man "$$new/man" >/dev/null 2>&1 ||
			! "$$python" -EsB docs/command.py "$$new/command" >/dev/null 2>&1 || break
	done

	for package in agentlib openstack_ocf; do
		mv -f -t "$$library/$$package" "$$new/$$package"/*.py
		if [ -d "$$new/$$package/__pycache__" ]; then
			mkdir -p "$$library/$$package/__pycache__"
			mv -f -t "$$library/$$package/__pycache__" "$$new/$$package"/__pycache__/*.pyc
		fi
	done
	[ "$$path" ] || mv -f -T "$$new_agents/agentlib" "$$agents/agentlib"
	for agent in $(AGENTS); do
		mv -f -T "$$new_agents/$$agent" "$$agents/$$agent"
	done
	# Modules of an earlier release.
	for package in agentlib openstack_ocf; do
		for module in "$$library/$$package"/*.py; do
			name=$$(basename "$$module" .py)
			[ -e "$$package/$$name.py" ] ||
				rm -f "$$module" "$$library/$$package/__pycache__/$$name".*.pyc
		done
	done
	# The command comes last: its library is complete. Another make install, into another library, may
	# be writing to these folders, too.
	place() { # FOLDER MODE FILE...
		mkdir -p "$$1"
		ready=$$(mktemp -d "$$1/.new.XXXXXXXX")
		install -m "$$2" -t "$$ready" "$${@:3}"
		mv -f -t "$$1" "$$ready"/*
		rmdir "$$ready"
	}
	place "$$DESTDIR$$SBINDIR" 755 "$$new/openstack-ocf"
	if compgen -G "$$new/man/*" >/dev/null; then
		place "$$DESTDIR$$MANDIR/man7" 644 "$$new"/man/*
	fi
	if [ -e "$$new/command/openstack-ocf.bash" ]; then
		mv "$$new/command"/openstack-ocf{.bash,}
		place "$$DESTDIR$$MANDIR/man8" 644 "$$new/command/openstack-ocf.8"
		place "$$DESTDIR$$COMPLETIONDIR" 644 "$$new/command/openstack-ocf"
	fi
	# Where crmsh and Hawk look for scripts; the first step of each runs openstack-ocf.
	for script in $(CRM_SCRIPTS); do
		place "$$DESTDIR$$CRMSHDIR/scripts/$$script" 644 "crm/scripts/$$script/main.yml"
	done
	[ -e "$$new/command/openstack-ocf" ] ||
		echo "make install: not all man pages: they could not be made by $$PYTHON"
	echo "installed in $$agents: $(AGENTS)"

.PHONY: uninstall
uninstall: export OCF_ROOT := $(OCF_ROOT)
uninstall: export DESTDIR := $(DESTDIR)
uninstall: export MANDIR := $(MANDIR)
uninstall: export SBINDIR := $(SBINDIR)
uninstall: export COMPLETIONDIR := $(COMPLETIONDIR)
uninstall: export CRMSHDIR := $(CRMSHDIR)
uninstall: ## remove them again, and nothing else
	@agents="$$DESTDIR$$OCF_ROOT/resource.d/openstack"
	library="$$DESTDIR$$OCF_ROOT/lib/openstack"
	for agent in $(AGENTS); do
		# An agent of this name may be of another origin: the HA guide has them, too.
		if grep -qs '^from agentlib' "$$agents/$$agent"; then
			rm -f "$$agents/$$agent"
			echo "removed $$agents/$$agent"
		fi
		page="$$DESTDIR$$MANDIR/man7/ocf_openstack_$$agent.7"
		! grep -qs 'openstack-ocf-agents' "$$page" || rm -f "$$page"
	done
	if [ "$$(readlink "$$agents/agentlib")" = ../../lib/openstack/agentlib ]; then
		rm -f "$$agents/agentlib"
	fi
	command="$$DESTDIR$$SBINDIR/openstack-ocf"
	! grep -qs '^ *from openstack_ocf' "$$command" || rm -f "$$command"
	for made in "$$DESTDIR$$MANDIR/man8/openstack-ocf.8" "$$DESTDIR$$COMPLETIONDIR/openstack-ocf"; do
		! grep -qs 'openstack-ocf-agents' "$$made" || rm -f "$$made"
	done
	for script in $(CRM_SCRIPTS); do
		script="$$DESTDIR$$CRMSHDIR/scripts/$$script"
		! grep -qs 'openstack-ocf check --crm-script' "$$script/main.yml" || rm -f "$$script/main.yml"
		[ ! -d "$$script" ] || rmdir --ignore-fail-on-non-empty "$$script"
	done
	rm -f "$$library"/{agentlib,openstack_ocf}/*.py
	rm -f "$$library"/{agentlib,openstack_ocf}/__pycache__/*.pyc
	for folder in "$$library"/{agentlib,openstack_ocf}{/__pycache__,} "$$library" "$$agents"; do
		[ ! -d "$$folder" ] || rmdir --ignore-fail-on-non-empty "$$folder"
	done

##### Packages

.PHONY: dist
dist: export DIST := $(DIST)
dist: ## the source archive, in dist/ (DIST: another folder)
	@mkdir -p "$$DIST"
	$(SYSTEM_PYTHON) -EsB release/sources.py dist "$$DIST"

.PHONY: deb
deb: export DIST := $(DIST)
deb: package-packages ## Debian packages, in dist/ (DIST: another folder)
	@umask 022
	mkdir -p "$$DIST"
	archive=$$($(SYSTEM_PYTHON) -EsB release/sources.py dist "$$DIST")
	build=$$(mktemp -d /var/tmp/openstack-ocf-agents.XXXXXXXX) # debhelper takes no blank in a path
	trap 'rm -rf "$$build"' EXIT
	tar -xf "$$archive" -C "$$build"
	cd "$$build"/*/
	dpkg-buildpackage --no-sign --check-command=lintian --check-option=--fail-on=error,warning \
		>../log 2>&1 || { cat ../log >&2; exit 1; }
	cd - >/dev/null
	mv "$$build"/*.{deb,dsc,tar.xz,changes,buildinfo} "$$DIST"
	version=$${archive##*agents-}
	printf '%s\n' "$$DIST"/*_"$${version%.tar.gz}"_all.deb

.PHONY: rpm
rpm: export DIST := $(DIST)
rpm: package-packages ## packages for RHEL and openSUSE, in dist/ (DIST: another folder)
	@umask 022
	mkdir -p "$$DIST"
	archive=$$($(SYSTEM_PYTHON) -EsB release/sources.py dist "$$DIST")
	build=$$(mktemp -d /var/tmp/openstack-ocf-agents.XXXXXXXX) # rpm takes no blank in a path
	trap 'rm -rf "$$build"' EXIT
	cp "$$archive" "$$build"
	SOURCE_DATE_EPOCH=$$($(SYSTEM_PYTHON) -EsB release/sources.py epoch)
	export SOURCE_DATE_EPOCH HOME="$$build" # where Debian's rpm has its database
	rpmbuild -ta --nodeps --define "_topdir $$build" --define "_tmppath $$build" \
		--define 'use_source_date_epoch_as_buildtime 1' --define '_buildhost localhost' \
		--define 'clamp_mtime_to_source_date_epoch 1' \
		"$$build/$${archive##*/}" >"$$build/log" 2>&1 || { cat "$$build/log" >&2; exit 1; }
	rpmlint --config release/rpmlint.toml "$$build"/RPMS/noarch/*.rpm >"$$build/log" 2>&1 ||
		{ cat "$$build/log" >&2; exit 1; }
	for package in "$$build"/{RPMS/noarch,SRPMS}/*.rpm; do
		mv "$$package" "$$DIST"
		echo "$$DIST/$${package##*/}"
	done

.PHONY: single
single: export DIST := $(DIST)
single: export SIGN_KEY := $(SIGN_KEY)
single: ## each agent with its library in one file, in dist/ (SIGN_KEY: of the checksums)
	@umask 022
	mkdir -p "$$DIST"
	$(SYSTEM_PYTHON) -EsB release/single.py "$$DIST" $(AGENTS)
	rm -f "$$DIST/SHA256SUMS.asc"
	[ ! "$$SIGN_KEY" ] || gpg --batch --quiet --yes --local-user "$$SIGN_KEY" --armor --detach-sign \
		--output "$$DIST/SHA256SUMS.asc" "$$DIST/SHA256SUMS"

##### For those who work on it

.PHONY: check
check: test-packages openstack control-plane tools lint types test ## lint, types, tests, but those of check-rest and check-nightly (as root)

.PHONY: check-rest
check-rest: test-packages openstack control-plane tools ## more with real daemons and clusters, packages, pages to the letter, chaos; CI runs it with check
	@umask 022
	exec $(VENV_PYTHON) -m pytest $(PARALLEL_HEAVY) $(patsubst %,--ignore=%,$(LIGHT) $(NIGHTLY) $(CORE)) </dev/null

# What is checked on another release, where `check` would take too long: every agent as a process,
# make install, failovers with fencing, openstack-ocf apply, an upgrade of the package in a cluster. The
# packages are tested from this release. CI takes some of it (.ci/run).
ELSEWHERE := tests/agents/test_contract.py tests/install tests/cluster/test_daemon_faults.py \
	tests/cluster/test_fencing.py tests/cluster/test_apply.py tests/cluster/test_upgrade.py

.PHONY: check-nightly
check-nightly: test-packages openstack control-plane tools ## what CI has no time for: a controller, more outages, upgrades, chaos, newest releases
	@umask 022
	$(VENV_PYTHON) -m pytest $(NIGHTLY) </dev/null
	$(SYSTEM_PYTHON) -m lab.chaos --minutes 10 </dev/null
	exec $(SYSTEM_PYTHON) -m lab.chaos --whole --minutes 20 </dev/null

.PHONY: check-debian13
check-debian13: test-packages tools ## packages, agents and failovers on Debian 13 (ARGS: other tests; as root)
	@umask 022
	[ '$(subst ','\'',$(ARGS))' ] ||
		$(VENV_PYTHON) -m pytest --suite=trixie tests/packages/test_deb.py </dev/null
	# When make is killed, this is killed, too, with all that it has started.
	exec setpriv --pdeathsig=KILL $(SYSTEM_PYTHON) -m lab.elsewhere trixie make elsewhere-test \
		PARALLEL_HEAVY='$(PARALLEL_HEAVY)' ARGS='$(subst ','\'',$(or $(ARGS),$(ELSEWHERE)))' </dev/null

.PHONY: lint
lint: tools ## ruff, and vermin for Python 3.9
	@echo "lint: $(AGENTS) and all modules"
	$(VENV_PYTHON) -m ruff check $(SOURCES)
	# There is no `-m vermin`; and .venv/bin/vermin would fail after a move of the folder.
	$(VENV_PYTHON) -c 'import vermin; vermin.main()' --quiet --violations --no-tips --target=3.9- $(SOURCES)

.PHONY: fix
fix: tools ## let ruff mend what it can; layout stays as it is
	@$(VENV_PYTHON) -m ruff check --fix $(SOURCES)

.PHONY: types
types: tools ## mypy, strict
	@echo "types: $(AGENTS) and all modules"
	$(VENV_PYTHON) -m mypy $(SOURCES)

.PHONY: test
test: test-packages openstack control-plane tools ## the tests of check (ARGS: arguments for pytest, any tests)
	@umask 022
	if [ '$(subst ','\'',$(ARGS))' ]; then
		exec $(VENV_PYTHON) -m pytest $(PARALLEL_HEAVY) $(ARGS) </dev/null
	fi
	[ "$(CORE)" = tests ] || echo "more than real daemons' life and failovers: make check-rest"
	echo "left for make check-nightly: $(NIGHTLY)"
	failed=
	$(IN_ITS_OWN) $(VENV_PYTHON) -m pytest $(PARALLEL) $(LIGHT) </dev/null || failed=yes
	$(VENV_PYTHON) -m pytest $(PARALLEL_HEAVY) $(patsubst %,--ignore=%,$(LIGHT) $(NIGHTLY)) $(CORE) </dev/null || failed=yes
	[ ! "$$failed" ]

.PHONY: test-unit
test-unit: tools ## the quick tests: no root, no daemons
	@umask 022
	$(VENV_PYTHON) -m pytest $(PARALLEL) tests/unit $(ARGS) </dev/null

.PHONY: test-agents
test-agents: test-packages tools ## agents as processes, with daemons that only look alike
	@umask 022
	$(VENV_PYTHON) -m pytest $(PARALLEL) tests/agents $(ARGS) </dev/null

.PHONY: test-real
test-real: test-packages openstack control-plane tools ## what runs the real daemons
	@umask 022
	$(VENV_PYTHON) -m pytest $(PARALLEL_HEAVY) -m real $(ARGS) </dev/null

# A PID namespace, with a bash as init: it reaps orphans at once, as the init of a node does (that of
# a container may not), and no process outlives it. Pids have seven digits there, if the kernel allows
# it: the tests show that exit reasons have room for them.
IN_ITS_OWN = unshare --pid --fork --kill-child --mount-proc /bin/bash -c \
	'echo 3000000 2>/dev/null >/proc/sys/kernel/ns_last_pid || :; "$$@"; exit' bash

# Most of these tests wait for an agent's verdict: four at once are not too many for two cores.
.PHONY: faults
faults: export FAULTS_AGENT := $(AGENT)
faults: test-packages tools ## the agents' verdicts on faults, as a table (AGENT: path of another agent)
	@umask 022
	if [ "$$FAULTS_AGENT" ] && [ ! -x "$$FAULTS_AGENT" ]; then
		echo "make faults: AGENT=$$FAULTS_AGENT is not an executable file" >&2
		exit 1
	fi
	$(IN_ITS_OWN) $(VENV_PYTHON) -m pytest --quiet --no-header --no-summary --show-capture=no \
		--faults --every-agent --numprocesses 4 --dist worksteal $(ARGS) tests/agents </dev/null ||
		{ code=$$?; [ "$$FAULTS_AGENT" ] && [ $$code = 1 ]; } # a wrong verdict of another agent is no error here

.PHONY: reasons
reasons: test-packages tools ## docs/reasons.md: every exit reason, from the tests that provoke it
	@umask 022
	run() { $(IN_ITS_OWN) $(VENV_PYTHON) -m pytest -q --reasons=docs/reasons.md "$$@" tests/agents tests/kinds </dev/null; }
	# On a busy machine a test may fail: such tests are run once more, one after the other.
	run $(PARALLEL) || { code=$$?; [ $$code = 1 ] && run --again; }

.PHONY: mistakes
mistakes: test-packages openstack tools ## mistakes in a CIB and in glance-api.conf: which tool finds each (ARGS: ids; --write: docs/mistakes-by-tool.md)
	@umask 022
	exec $(IN_ITS_OWN) $(VENV_PYTHON) -B tests/mistakes.py $(ARGS) </dev/null

.PHONY: soak
soak: test-packages tools ## faults at random, for an hour (ARGS: see tests/soak.py)
	@umask 022
	exec $(IN_ITS_OWN) $(VENV_PYTHON) tests/soak.py $(ARGS) </dev/null

.PHONY: chaos
chaos: run-packages cluster-packages openstack ## faults at random on a real cluster, for an hour (ARGS: --whole, --minutes, ...; see docs/chaos.md)
	@exec $(SYSTEM_PYTHON) -m lab.chaos $(ARGS) </dev/null

.PHONY: bench
bench: bench-actions bench-scale bench-controller bench-failover ## all of these (as root)

.PHONY: bench-actions
bench-actions: run-packages openstack ## what an action costs, beside the alternatives
	@exec $(SYSTEM_PYTHON) -m bench $(ARGS) </dev/null

.PHONY: bench-scale
bench-scale: run-packages ## 200 resources on one node (as root)
	@exec $(SYSTEM_PYTHON) -m bench --scale $(ARGS) </dev/null

.PHONY: bench-controller
bench-controller: run-packages openstack control-plane ## a whole controller's monitors for some minutes, beside agents in shell
	@exec $(SYSTEM_PYTHON) -m bench --controller $(ARGS) </dev/null

.PHONY: bench-failover
bench-failover: run-packages cluster-packages openstack control-plane ## from a fault to being served again, each service (ARGS: --services, --faults, --runs, ...)
	@exec $(SYSTEM_PYTHON) -m bench.failover $(ARGS) </dev/null

.PHONY: docs
docs: ## make docs/AGENT.md anew from the agents' meta-data
	@$(SYSTEM_PYTHON) -B docs/reference.py markdown docs

.PHONY: crm
crm: ## make crm/*.crm, crm/scripts and docs/pcs.md anew from the descriptions in crm/
	@$(SYSTEM_PYTHON) -B docs/snippets.py

.PHONY: man
man: ## make man pages of the agents and of openstack-ocf in build/man, and its completion
	@mkdir -p build/man
	$(SYSTEM_PYTHON) -B docs/reference.py man build/man
	$(SYSTEM_PYTHON) -B docs/command.py build/man

.PHONY: golden
golden: test-packages tools ## record the agents' meta-data, and what an action costs, as what the tests expect
	@mkdir -p tests/golden
	for golden in tests/golden/*.xml; do
		agent=$$(basename "$$golden" .xml)
		$(SYSTEM_PYTHON) -ESsB "ocf/$$agent" meta-data >"$$golden.new"
		mv "$$golden.new" "$$golden"
		echo "$$golden"
	done
	PYTHONPATH=.:tests $(VENV_PYTHON) -B -m declaration.table >tests/golden/agents.new
	mv tests/golden/agents.new tests/golden/agents.txt
	echo tests/golden/agents.txt
	RECORD_COST=1 $(VENV_PYTHON) -m pytest -q tests/agents/test_cost.py </dev/null

.PHONY: clean
clean: ## remove what was built, and .venv
	@rm -rf .venv build dist ./*.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

##### What other targets need

.PHONY: run-packages cluster-packages package-packages test-packages openstack control-plane tools agents \
	elsewhere-install elsewhere-contents elsewhere-test
run-packages:
	@.ci/packages $(RUN_PACKAGES)

cluster-packages:
	@.ci/packages $(CLUSTER_PACKAGES)

package-packages:
	@.ci/packages $(PACKAGE_PACKAGES)

test-packages:
	@.ci/packages $(TEST_PACKAGES) $(PACKAGE_PACKAGES)

openstack: run-packages
	@.ci/packages --check $(OPENSTACK_PACKAGES) ||
		$(SYSTEM_PYTHON) -m lab.openstack install --db mysql </dev/null

control-plane: run-packages
	@.ci/packages $(CONTROL_PLANE_PACKAGES)

# Run by lab.elsewhere on another release: the installation, which needs the network (also for make
# demo); names that show whether an earlier installation is still right; the tests, without network.
elsewhere-install: test-packages openstack tools
	@.ci/packages $(DEMO_PACKAGES)
elsewhere-contents:
	@echo $(sort $(TEST_PACKAGES) $(PACKAGE_PACKAGES) $(OPENSTACK_PACKAGES) $(DEMO_PACKAGES) $(TOOLS))
elsewhere-test:
	@umask 022
	exec $(IN_ITS_OWN) $(VENV_PYTHON) -m pytest $(PARALLEL_HEAVY) $(ARGS) </dev/null

# The names in .venv/tools show that .venv is complete: a second run takes no time.
tools:
	@umask 022
	$(SYSTEM_PYTHON) -c 'import ensurepip, venv' 2>/dev/null || .ci/packages python3-venv
	wanted="$$($(SYSTEM_PYTHON) --version): $(TOOLS)"
	if ! $(VENV_PYTHON) -c '' 2>/dev/null; then
		$(SYSTEM_PYTHON) -m venv --clear .venv
	elif [ "$$(cat .venv/tools 2>/dev/null)" = "$$wanted" ]; then
		exit
	fi
	echo "Installing with pip in .venv: $(TOOLS)"
	$(VENV_PYTHON) -m pip --disable-pip-version-check --no-input install --quiet --quiet \
		--upgrade $(TOOLS) </dev/null ||
		{ echo "make: pip could not install them; what it said is above" >&2; exit 1; }
	echo "$$wanted" >.venv/tools

agents:
	@echo $(AGENTS)
