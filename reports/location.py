"""Where the MX hosts with TLSA records are: country and autonomous system of each address.

From MMDB files of the operator's choice (`publish.geoip`, `publish.asn`). Without them the
statistics of `locations.sql` have no rows.
"""

import ipaddress
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import maxminddb
import pyarrow as pa

from dane.faults import UsageFault

SCHEMA = pa.schema(
    [
        pa.field("address", pa.string(), nullable=False),
        pa.field("family", pa.string(), nullable=False),
        pa.field("country", pa.string()),
        pa.field("asn", pa.string()),
    ]
)


def locate(addresses: Iterable[str], geoip: Path | None, asn: Path | None) -> pa.Table:
    """Country (ISO 3166) and autonomous system (`AS64500`) of addresses, null where not known.

    Raises UsageFault for a file that is no MMDB.
    """
    rows: list[dict[str, Any]] = []
    with ExitStack() as stack:
        countries = stack.enter_context(_opened("geoip", geoip)) if geoip else None
        systems = stack.enter_context(_opened("asn", asn)) if asn else None
        for address in addresses:
            place: Any = countries.get(address) if countries else None
            system: Any = systems.get(address) if systems else None
            number = system.get("autonomous_system_number") if isinstance(system, dict) else None
            country = place.get("country") if isinstance(place, dict) else None
            rows.append(
                {
                    "address": address,
                    "family": f"ipv{ipaddress.ip_address(address).version}",
                    "country": country.get("iso_code") if isinstance(country, dict) else None,
                    "asn": f"AS{number}" if number else None,
                }
            )
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _opened(name: str, path: Path) -> maxminddb.Reader:
    try:
        return maxminddb.open_database(path)
    except (OSError, maxminddb.InvalidDatabaseError, ValueError) as error:
        raise UsageFault(f"publish.{name}: cannot read {path}: {error}") from error
