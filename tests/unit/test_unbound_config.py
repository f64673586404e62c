"""The resolver's configuration: what stands in it for which machine and settings."""

import ipaddress
import re
from pathlib import Path

import pytest

from crawler.dns.configuration import Machine, cache_mib, configuration, trust_anchors
from crawler.dns.settings import ResolverSettings
from crawler.dns.unbound import Unbound, loopback
from dane.faults import LocalTrouble, UsageFault

GIB = 1 << 30
MACHINE = Machine(cores=2, memory_bytes=16 * GIB, open_files=1 << 20, ipv6=True)

# docs/measurement.md, section 1, word by word
CONTRACT = {
    "module-config": '"validator iterator"',
    "ede": "yes",
    "val-log-level": "2",
    "aggressive-nsec": "no",
    "prefetch": "no",
    "serve-expired": "no",
    "qname-minimisation": "no",
    "infra-keep-probing": "yes",
    "infra-cache-max-rtt": "10000",
    "root-key-sentinel": "yes",
    "minimal-responses": "yes",
    "ratelimit": "0",
    "ip-ratelimit": "0",
    "wait-limit": "0",
    "discard-timeout": "0",
    "num-threads": "2",
    "num-queries-per-thread": "4096",
    "outgoing-range": "8192",
    "so-reuseport": "yes",
    "so-rcvbuf": "4m",
    "so-sndbuf": "4m",
    "incoming-num-tcp": "100",
    "outgoing-num-tcp": "100",
    "infra-cache-numhosts": "1000000",
    "do-ip6": "yes",
}


def options(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if match := re.fullmatch(r"    ([a-z0-9-]+): (.+)", line):
            found.setdefault(match[1], []).append(match[2])
    return found


def test_the_contract() -> None:
    found = options(configuration(ResolverSettings(), MACHINE))
    assert {name: found[name] for name in CONTRACT} == {k: [v] for k, v in CONTRACT.items()}
    assert found["interface"] == ["127.0.0.1@5301"]
    assert re.findall(r"DS (\d+)", " ".join(found["trust-anchor"])) == ["20326", "38696"]
    assert found["control-use-cert"] == ["no"]
    # never: the system's resolver, made-up refusals, the lab's exception
    absent = {"private-address", "forward-addr", "val-sig-skew-max", "do-not-query-localhost"}
    assert not absent & found.keys()


def test_the_second_look_has_qname_minimisation_and_a_port_of_its_own() -> None:
    first = options(configuration(ResolverSettings(), MACHINE))
    second = options(configuration(ResolverSettings(), MACHINE, second_look=True))
    differing = {name for name in first if first[name] != second[name]}
    assert second["qname-minimisation"] == ["yes"]
    assert differing == {
        "qname-minimisation",
        "interface",
        "port",
        "msg-cache-size",
        "rrset-cache-size",
        "key-cache-size",
    }


@pytest.mark.parametrize(
    ("open_files", "cores", "outgoing", "queries"),
    [
        (1 << 20, 2, 8192, 4096),
        (20_000, 2, 8192, 4096),
        (4096, 2, 1760, 880),
        (1024, 1, 704, 352),
        (1 << 20, 64, 8192, 4096),
        (65_536, 16, 3836, 1918),
    ],
)
def test_the_open_file_limit_bounds_the_range(
    open_files: int, cores: int, outgoing: int, queries: int
) -> None:
    machine = Machine(cores=cores, memory_bytes=GIB, open_files=open_files, ipv6=False)
    found = options(configuration(ResolverSettings(), machine))
    assert found["outgoing-range"] == [str(outgoing)]
    assert found["num-queries-per-thread"] == [str(queries)]
    assert found["do-ip6"] == ["no"]


def test_too_few_open_files_to_work_with() -> None:
    machine = Machine(cores=16, memory_bytes=GIB, open_files=1024, ipv6=False)
    with pytest.raises(LocalTrouble, match="ulimit"):
        configuration(ResolverSettings(), machine)


@pytest.mark.parametrize("memory", [1 << 28, GIB, 2 * GIB, 16 * GIB, 1024 * GIB])
def test_caches_fit_the_memory(memory: int) -> None:
    machine = Machine(cores=2, memory_bytes=memory, open_files=1 << 20, ipv6=False)
    total = sum(
        cache_mib(ResolverSettings(), machine, second_look=second) for second in (False, True)
    )
    assert total << 20 <= max(memory // 6, 96 << 20)
    assert cache_mib(ResolverSettings(), machine) <= 4096


def test_settings_win_over_the_machine() -> None:
    settings = ResolverSettings(
        port=5999, threads=1, cache_mib=70, ipv6=False, query_localhost=True
    )
    found = options(configuration(settings, MACHINE))
    assert found["port"] == ["5999"]
    assert found["num-threads"] == ["1"]
    assert found["msg-cache-size"] == ["20m"]
    assert found["do-ip6"] == ["no"]
    assert found["do-not-query-localhost"] == ["no"]
    refused = set(found["do-not-query-address"])
    assert {"10.0.0.0/8", "169.254.0.0/16", "100.64.0.0/10"} <= refused
    assert not {"127.0.0.0/8", "::1/128"} & refused


def test_no_address_that_is_not_public_is_asked() -> None:
    """Glue is a stranger's word: it may lead into our own network."""
    found = options(configuration(ResolverSettings(), MACHINE))
    asked_never = [ipaddress.ip_network(one) for one in found["do-not-query-address"]]
    for text in ("10.0.0.1", "169.254.169.254", "192.168.1.1", "100.64.0.1", "127.0.0.1",
                 "fd00::1", "fe80::1", "::ffff:10.0.0.1", "2002:a00:1::1"):  # fmt: skip
        assert any(ipaddress.ip_address(text) in one for one in asked_never), text
    for text in ("193.0.14.129", "2001:7fd::1"):
        assert not any(ipaddress.ip_address(text) in one for one in asked_never), text


def test_trust_anchors_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "root.key"
    digest = "AB" * 32
    file.write_text(
        "; of the lab\n"
        f".\t172800\tIN\tDS\t1 13 2 (\n {digest} )\n"
        ". IN DNSKEY 257 3 8 AwEAAaz/tAm8yTn4Mfeh5eyI96WSVexTBAvkMgJzkKTOiW1vkIbzxeF3\n"
        "com. IN DS 2 13 2 " + digest + "\n"
    )
    anchors = trust_anchors(file)
    assert [line.split()[2] for line in anchors] == ["DS", "DNSKEY"]
    assert all(line.startswith(". IN ") for line in anchors)


@pytest.mark.parametrize(
    "content", [b"", b"; nothing\n", b"com. IN DS 1 13 2 00\n", b"\xff\xfe", b"hello world\n"]
)
def test_a_trust_anchor_file_without_an_anchor(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "root.key"
    file.write_bytes(content)
    with pytest.raises(UsageFault, match=r"root\.key"):
        trust_anchors(file)


def test_a_trust_anchor_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match="No such file"):
        trust_anchors(tmp_path / "absent")


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:53", ("127.0.0.1", 53)), ("[::1]:5301", ("::1", 5301)),
     ("127.9.9.9:1", ("127.9.9.9", 1)), ("127.0.0.1", ("127.0.0.1", 53)), ("::1", ("::1", 53)),
     ("::1@54", ("::1", 54)), ("127.0.0.1#55", ("127.0.0.1", 55))],
)  # fmt: skip
def test_addresses_of_a_resolver(text: str, address: tuple[str, int]) -> None:
    assert loopback(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost:53",
        "127.0.0.1:0",
        "127.0.0.1:99999",
        "9.9.9.9:53",
        "[2620:fe::fe]:53",
        "127.0.0.1:dns",
    ],
)
def test_a_resolver_elsewhere_is_not_believed(text: str) -> None:
    with pytest.raises(UsageFault, match="resolver address"):
        loopback(text)


def test_a_resolver_without_control_cannot_be_flushed(tmp_path: Path) -> None:
    given = Unbound(ResolverSettings(address="127.0.0.1:53"), tmp_path)
    assert given.control is None
    given.flush()
    assert given.statistics() == {}


def test_an_unbound_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crawler.dns.installation._SEARCHED", (str(tmp_path),))
    with (
        pytest.raises(LocalTrouble, match="apt install unbound"),
        Unbound(ResolverSettings(port=5390), tmp_path),
    ):
        pass
