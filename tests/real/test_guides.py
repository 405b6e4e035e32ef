"""The guides' steps for the catalogue, and their options, tested with the real services.

tests/cluster/test_docs.py follows the pages from top to bottom. Here are the special cases of a
page (a catalogue without the service, or with two of them), and the effect of options.
"""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cluster import docs_catalogue
from cluster.docs_page import DOCS, Block, blocks
from lab import netns
from lab.openstack import ControlPlane
from real.kit import FACES, Catalogue

pytestmark = pytest.mark.real

IMAGE, VOLUME = "ha-image-api.md", "ha-block-storage-api.md"
OLD = "127.0.0.9"
VIP, PUBLIC = {"image": "127.0.0.12", "volumev3": "127.0.0.13"}, "127.0.0.14"
ELSEWHERE = "127.0.0.29"  # a second region's
ADDRESSES = {
    "10.0.0.9:": f"{OLD}:",
    "10.0.0.12": VIP["image"],
    "10.0.0.13": VIP["volumev3"],
    "10.0.0.14": PUBLIC,
    "10.0.0.15": PUBLIC,
}
SERVICES = {"image": ("glance", IMAGE, ":9292"), "volumev3": ("cinderv3", VOLUME, ":8776/v3/%s")}
PROJECT = "%(project_id)s"
AN_IMAGE = "8c1c2c6e-1b4d-4c9b-9c0e-0e6f6a2b1a11"
PYTHON = "/usr/bin/python3"
# Namespaces of the options of a service's configuration file, by the service's own lists.
NAMESPACES = {
    "glance": (
        *("glance.api", "glance.store", "glance.multi_store", "keystonemiddleware.auth_token"),
        *("oslo.concurrency", "oslo.db", "oslo.log", "oslo.messaging", "oslo.policy"),
    ),
    "cinder": (
        *("cinder", "keystonemiddleware.auth_token", "oslo.concurrency", "oslo.db", "oslo.log"),
        *("oslo.messaging", "oslo.policy", "oslo.service.wsgi"),
    ),
}


class Followed(Catalogue):
    """The catalogue with both services at an old server, to which pages are applied."""

    def reset(self) -> None:
        """One service of each type, in one region, at the old server."""
        for kind, (name, _, _) in SERVICES.items():
            self.remove(kind)
            self.create(kind, name, self.url(kind, OLD))

    def url(self, kind: str, address: str) -> str:
        return f"http://{address}{SERVICES[kind][2].replace('%s', PROJECT)}"

    def move(self, kind: str) -> None:
        """Set the endpoints as a page does (another test shows that it does)."""
        for face in FACES:
            self.put(kind, face, self.url(kind, PUBLIC if face == "public" else VIP[kind]))

    def run(self, command: Sequence[str]) -> str:
        """Run a command where the clients are, as the administrator."""
        done = subprocess.run(
            self.cloud.argv(command),
            env={"PATH": "/usr/bin:/bin", **self.cloud.admin.environment()},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert 0 == done.returncode, done.stdout + done.stderr
        return done.stdout

    def follow(self, kind: str, wanted: Callable[[Block], bool], folder: Path) -> str:
        """Run blocks of the page's section on the catalogue."""
        found = [one for one in section(SERVICES[kind][1]) if wanted(one)]
        assert found
        text = "\n".join(["set -e", f"cd {folder}", *(one.text for one in found)])
        for old, new in ADDRESSES.items():
            text = text.replace(old, new)
        return self.run(["sh", "-c", text])

    def found(self, kind: str) -> list[str]:
        """The endpoints of a service that a client finds; the same each time that it looks."""
        return docs_catalogue.listing(self.run, kind, self.region)

    def moved(self, kind: str) -> list[str]:
        """The endpoints after a page."""
        addresses = {"admin": VIP[kind], "internal": VIP[kind], "public": PUBLIC}
        return [f"{face} {self.url(kind, addresses[face])}" for face in docs_catalogue.INTERFACES]

    def unmoved(self, kind: str) -> list[str]:
        """The endpoints before a page."""
        return [f"{face} {self.url(kind, OLD)}" for face in docs_catalogue.INTERFACES]


def section(page: str) -> list[Block]:
    """The blocks of a page that change the catalogue."""
    found = [one for one in blocks(DOCS / page) if one.section == "The catalogue"]
    # The blocks that try clients afterwards would need the service.
    return [one for one in found if "--os-interface" not in one.text]


def usual(block: Block) -> bool:
    """Whether it is for every reader."""
    return block.kind == "run"


def points(block: Block) -> bool:
    """Whether it is the block that sets the endpoints."""
    return usual(block) and "point()" in block.text


def case(name: str) -> Callable[[Block], bool]:
    """Whether it is for this case."""
    return lambda block: block.kind == "case" and block.argument == name


@pytest.fixture(scope="module")
def guides_cloud(_prerequisites: None) -> Iterator[ControlPlane]:
    """A lab of the module's own: with Keystone, whose catalogue is changed."""
    with ControlPlane.temporary(endpoint={"glance": OLD, "cinder": OLD}, workers=1) as cloud:
        cloud.up("keystone")
        yield cloud


@pytest.fixture
def catalogue(guides_cloud: ControlPlane) -> Followed:
    """The catalogue before a page."""
    found = Followed(guides_cloud)
    found.reset()
    return found


# The catalogue


def test_pages_have_the_same_way() -> None:
    """Both pages set an endpoint by the same commands: a test of one is a test of the other."""
    found = {
        block.text.partition("\n}\n")[0]
        for page in (IMAGE, VOLUME)
        for block in section(page)
        if points(block)
    }
    assert 1 == len(found)


def test_clients_are_moved_and_back(catalogue: Followed, folder: Path) -> None:
    """After the page, run once or twice, clients find the virtual IPs, ids stay; undo works."""
    kind = "image"
    before = catalogue.endpoints(kind)
    assert catalogue.unmoved(kind) == catalogue.found(kind)

    catalogue.follow(kind, usual, folder)
    assert catalogue.moved(kind) == catalogue.found(kind)
    catalogue.follow(kind, usual, folder)

    assert catalogue.moved(kind) == catalogue.found(kind)
    assert before == catalogue.endpoints(kind)
    assert 1 == len(catalogue.services(kind))
    catalogue.follow(kind, lambda block: block.kind == "undo", folder)
    assert catalogue.unmoved(kind) == catalogue.found(kind)


def test_missing_endpoint_is_made(catalogue: Followed, folder: Path) -> None:
    """An interface that is missing in the region is made; other regions stay as they are."""
    before = catalogue.endpoints("image")
    catalogue.admin.call("DELETE", f"/endpoints/{before['internal']}")
    (service,) = catalogue.services("image")
    catalogue.extend(service, catalogue.url("image", ELSEWHERE), "elsewhere")

    catalogue.follow("image", points, folder)

    assert catalogue.moved("image") == catalogue.found("image")
    after = catalogue.endpoints("image")
    assert (before["admin"], before["public"]) == (after["admin"], after["public"])
    for endpoint in catalogue.endpoints("image", "elsewhere").values():
        url = catalogue.admin.call("GET", f"/endpoints/{endpoint}")["endpoint"]["url"]
        assert catalogue.url("image", ELSEWHERE) == url


@pytest.mark.parametrize("kind", SERVICES)
def test_new_cloud(catalogue: Followed, folder: Path, kind: str) -> None:
    """If the service does not exist, the page makes it, and then all three endpoints."""
    catalogue.remove(kind)

    catalogue.follow(kind, case("no service"), folder)
    catalogue.follow(kind, points, folder)

    assert catalogue.moved(kind) == catalogue.found(kind)


def test_second_service_is_found_out(catalogue: Followed, folder: Path) -> None:
    """A second service moves no client, as the page says; it is an error that the page removes."""
    kind, second = "image", "glance-ha"
    catalogue.create(kind, second, catalogue.url(kind, VIP[kind]))
    assert catalogue.unmoved(kind) == catalogue.found(kind)
    with pytest.raises(AssertionError, match=f"Multiple service matches found for '{kind}'"):
        catalogue.follow(kind, points, folder)

    catalogue.follow(kind, case(second), folder)
    catalogue.follow(kind, points, folder)

    assert catalogue.moved(kind) == catalogue.found(kind)


# Cinder


@contextmanager
def recorder(namespace: str | None, addresses: Sequence[str]) -> Iterator[list[str]]:
    """Servers without images in place of the Image API; yields the addresses that were asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.connection.getsockname()[0])
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ExitStack() as stack:
        for address in addresses:
            with netns.inside(namespace):
                server = ThreadingHTTPServer((address, 9292), Handler)
            stack.callback(server.server_close)
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
        yield asked


def asked_by_cinder(
    catalogue: Followed, options: dict[str, str], addresses: Sequence[str]
) -> set[str]:
    """Where the real cinder-api looks for an image, with these options of [DEFAULT]."""
    cloud = catalogue.cloud
    file = cloud.config("cinder")
    before = file.read_text()
    # The lab's own file names the Image API.
    file.write_text(re.sub(r"(?m)^glance_api_servers.*\n", "", before))
    for option, value in options.items():
        cloud.set("cinder", "DEFAULT", option, value)
    try:
        cloud.up("cinder")
        token = catalogue.admin.token
        (project,) = catalogue.admin.call("GET", "/projects?name=admin")["projects"]
        volume = {"volume": {"size": 1, "imageRef": AN_IMAGE}}
        with recorder(cloud.namespace, addresses) as asked:
            for _ in range(docs_catalogue.TIMES):
                answer = cloud.server("cinder").request(
                    "POST", f"/v3/{project['id']}/volumes", body=volume, token=token, timeout=60
                )
                assert 400 == answer.status  # there is no such image
        return {*asked}
    finally:
        cloud.down("cinder")
        file.write_text(before)


def of_page(page: str, option: str) -> dict[str, str]:
    """An option as a page has it, with the lab's address."""
    found = {
        value.strip()
        for block in blocks(DOCS / page)
        for name, _, value in (line.partition("=") for line in block.text.splitlines())
        if name.strip() == option and block.kind == "checked"
    }
    (value,) = found
    return {option: value.replace("10.0.0.12", VIP["image"])}


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({}, PUBLIC),
        (of_page(IMAGE, "glance_catalog_info"), VIP["image"]),
        (of_page(VOLUME, "glance_catalog_info"), VIP["image"]),
        ({"glance_catalog_info": "image:nosuchname:internalURL"}, VIP["image"]),
        (of_page(IMAGE, "glance_api_servers"), VIP["image"]),
    ],
    ids=["default", "image page", "volume page", "another name", "servers"],
)
def test_cinder_asks(catalogue: Followed, options: dict[str, str], asked: str) -> None:
    """Cinder asks the public virtual IP by default, and the internal one with a page's options."""
    catalogue.move("image")

    found = asked_by_cinder(catalogue, options, [OLD, VIP["image"], PUBLIC])

    assert {asked} == found


def test_cinder_asks_every_service_and_no_region(catalogue: Followed) -> None:
    """Cinder asks both of two services, even one without an endpoint in its own region."""
    catalogue.move("image")
    second = catalogue.admin.create("service", name="glance-ha", type="image")
    catalogue.extend(second, catalogue.url("image", ELSEWHERE), "elsewhere")

    options = of_page(IMAGE, "glance_catalog_info")
    found = asked_by_cinder(catalogue, options, [OLD, VIP["image"], PUBLIC, ELSEWHERE])

    assert {VIP["image"], ELSEWHERE} == found


# Options


def validated(service: str, text: str, folder: Path) -> dict[str, str]:
    """The options of a file that oslo-config-validator calls unknown or deprecated."""
    file = folder / f"{service}.conf"
    file.write_text(text)
    namespaces = [word for name in NAMESPACES[service] for word in ("--namespace", name)]
    done = subprocess.run(
        ["oslo-config-validator", *namespaces, f"--input-file={file}"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    said = done.stderr
    assert "Traceback" not in said, said
    unknown = re.findall(r"ERROR:root:(\S+) is not part of the sample config", said)
    deprecated = re.findall(r"WARNING:root:Deprecated opt (\S+) found", said)
    assert bool(unknown) == bool(done.returncode), said
    return {**dict.fromkeys(unknown, "unknown"), **dict.fromkeys(deprecated, "deprecated")}


@pytest.mark.parametrize(
    ("page", "service"), [(IMAGE, "glance"), (IMAGE, "cinder"), (VOLUME, "cinder")]
)
def test_options_are_of_today(page: str, service: str, folder: Path) -> None:
    """The service knows every option that a page gives for its file, and none is deprecated."""
    found = [
        one.text
        for one in blocks(DOCS / page)
        if one.kind in ("set", "checked") and one.argument == service
    ]
    assert found

    assert {} == validated(service, "\n".join(found), folder)


def other_names(service: str) -> set[str]:
    """The older names of options that the service still knows, by its own lists."""
    namespaces = [word for name in NAMESPACES[service] for word in ("--namespace", name)]
    done = subprocess.run(
        ["oslo-config-generator", "--format=json", *namespaces],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert 0 == done.returncode, done.stderr
    groups = json.loads(done.stdout)["options"].values()
    return {old["name"] for group in groups for one in group["opts"]
            for old in one["deprecated_opts"]}  # fmt: skip


def old_options() -> dict[str, str]:
    """The HA guide's options, by the table of the page: known, deprecated, unknown."""
    found = {}
    for line in (DOCS / IMAGE).read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split("|")]
        verdict = cells[-1].partition(":")[0]
        if line.startswith("| `") and verdict in ("known", "deprecated", "unknown"):
            found.update(dict.fromkeys(re.findall(r"`(\w+)`", cells[0]), verdict))
    return found


def test_options_of_the_guide(folder: Path) -> None:
    """The page and today's Glance agree about each option of the HA guide.

    A deprecated name may be gone in this release: then it is unknown.
    """
    told = old_options()
    assert {"sql_connection", "registry_host", "notifier_strategy", "rabbit_host"} <= {*told}
    gone = {name for name, what in told.items() if what == "deprecated"} - other_names("glance")
    told.update(dict.fromkeys(gone, "unknown"))

    text = "\n".join(["[DEFAULT]", *(f"{name} = 1" for name in told)])
    found = validated("glance", text, folder)

    assert told == {name: found.get(f"DEFAULT/{name}", "known") for name in told}


# Notifications

NOTIFY = """
import json, sys, threading
import oslo_messaging
from glance import notifier
from glance.common import config

config.parse_args([f"--config-file={sys.argv[1]}"])
notifier.set_defaults()
drivers = notifier.Notifier()._notifier._driver_mgr.names()  # as glance-api makes it

# Once more, with a queue in this process's memory.
config.CONF.set_override("transport_url", "fake://")
arrived = threading.Event()

class Reader:
    def info(self, context, publisher, event, payload, metadata):
        arrived.set()

listener = oslo_messaging.get_notification_listener(
    notifier.get_transport(), [oslo_messaging.Target(topic="notifications")], [Reader()],
    executor="threading")
listener.start()
notifier.Notifier().info("image.create", {})
print(json.dumps([drivers, arrived.wait(float(sys.argv[2]))]))
listener.stop()
"""


def notifying(text: str, folder: Path, patience: float) -> tuple[list[str], bool]:
    """Glance's notification drivers with such a file; whether a notification gets to a queue."""
    file = folder / "glance-api.conf"
    file.write_text(text)
    done = subprocess.run(
        [PYTHON, "-c", NOTIFY, str(file), str(patience)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert 0 == done.returncode, done.stderr
    drivers, arrived = json.loads(done.stdout)
    return drivers, arrived


def messaging(page: str) -> str:
    """The block of a page that has the message queue."""
    (found,) = [
        block.text
        for block in blocks(DOCS / page)
        if block.kind == "checked" and "transport_url" in block.text
    ]
    return found


def test_notifications_are_sent(folder: Path) -> None:
    """With the page's file Glance has the driver, and its notifications get to a queue."""
    assert (["messagingv2"], True) == notifying(messaging(IMAGE), folder, 60)


def test_transport_alone_sends_none(folder: Path) -> None:
    """Without the option driver Glance has none, and sends nothing, as the page says."""
    text = re.sub(r"(?m)^driver.*\n", "", messaging(IMAGE))

    assert ([], False) == notifying(text, folder, 0.5)


def test_cinder_has_the_driver_too(folder: Path) -> None:
    """With the page's file Cinder has the driver."""
    file = folder / "cinder.conf"
    file.write_text(messaging(VOLUME))
    script = (
        "import sys; from cinder import rpc; from cinder.common import config\n"
        "config.CONF(sys.argv[1:], project='cinder', default_config_files=[])\n"
        "rpc.init(config.CONF); print(rpc.NOTIFIER._driver_mgr.names())"
    )
    done = subprocess.run(
        [PYTHON, "-c", script, f"--config-file={file}"], capture_output=True, text=True, timeout=300
    )

    assert "['messagingv2']" == done.stdout.strip(), done.stderr


# Without authentication

ROLES = (
    *(("oslo_policy", "enforce_new_defaults"), ("oslo_policy", "enforce_scope")),
    ("DEFAULT", "enforce_secure_rbac"),
)
"""Options by which policies ask for roles: later releases, which lack some, do so by default."""


@pytest.mark.parametrize(
    ("flavor", "roles", "read", "written"),
    [
        pytest.param("", "false", 200, 201, id="nobody-asked"),
        pytest.param("", "true", 403, 403, id="roles-asked-for"),
        pytest.param("keystone", "", 401, 401, id="keystone"),
    ],
)
def test_open_door(
    guides_cloud: ControlPlane, flavor: str, roles: str, read: int, written: int
) -> None:
    """Without a flavor Glance serves all users, or none if policies ask for roles; with it 401."""
    (given,) = {
        line.partition("=")[2].strip()
        for block in blocks(DOCS / IMAGE)
        for line in block.text.splitlines()
        if block.kind == "set" and line.startswith("flavor")
    }
    assert flavor in ("", given)
    file = guides_cloud.config("glance")
    before = file.read_text()
    try:
        # As Debian has it: the option is not there.
        file.write_text(re.sub(r"(?m)^flavor.*\n", "", before))
        if flavor:
            guides_cloud.set("glance", "paste_deploy", "flavor", flavor)
        if roles:
            for group, option in ROLES:
                guides_cloud.set("glance", group, option, roles)
        guides_cloud.up("glance")
        server = guides_cloud.server("glance")
        image = {"name": "x", "disk_format": "raw", "container_format": "bare"}

        assert read == server.get("/v2/images", timeout=60).status
        assert written == server.request("POST", "/v2/images", body=image, timeout=60).status
    finally:
        guides_cloud.down("glance")
        file.write_text(before)


def test_shipped_flavor_is_unset() -> None:
    """Debian's file has no flavor, as the page says."""
    shipped = Path("/usr/share/glance-common/glance-api.conf").read_text()

    assert "[paste_deploy]" in shipped
    assert [] == re.findall(r"(?m)^\s*flavor", shipped)
