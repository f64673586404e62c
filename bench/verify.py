"""DANE verification offline: cases a second through `dane.case`, as `danesurvey verify --batch`.

    python -m bench.verify [--cases 4000]

Every chain is new (a leaf, its issuer and a root), so no certificate is known from the case
before; half the cases are 3 1 1, half 2 0 1 with two signatures to check. The bar is 2 000
cases a second on one core; the reference is what must be done in any case, the JSON, the PEM
and the ECDSA signatures alone.
"""

import argparse
import json
import ssl
import time
from collections.abc import Callable, Sequence
from itertools import pairwise

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from dane.case import verify_line
from tests.oracle.chains import AT, BASE, Authority, Leaf, Plan, RecordPlan, make

BAR_CASES_PER_S = 2000
_AUTHORITIES = (Authority("p256", 0, 0, 1), Authority("p256", 1, 1, 1))
_RECORDS = (RecordPlan(3, 1, 1, 0), RecordPlan(2, 0, 1, 2))


def cases(count: int) -> list[bytes]:
    """JSON lines. ECDSA signatures are random, so each certificate is a new one."""
    lines = []
    for number in range(count):
        made = make(Plan(Leaf(), _AUTHORITIES, (1, 2), (_RECORDS[number % 2],), (BASE,)))
        chain = [one.public_bytes(Encoding.PEM).decode() for one in made.all]
        case = {"id": number, "chain": chain, "tlsa": [made.tlsa[0].text()], "names": [BASE]}
        lines.append(json.dumps({**case, "at": AT.isoformat()}).encode())
    return lines


def reference(line: bytes) -> None:
    """JSON, PEM, and for an anchor the signatures, with nothing decided."""
    case = json.loads(line)
    chain = [ssl.PEM_cert_to_DER_cert(pem) for pem in case["chain"]]
    if case["tlsa"][0].startswith("2"):
        parsed = [x509.load_der_x509_certificate(der) for der in chain]
        for subject, issuer in pairwise(parsed):
            key = issuer.public_key()
            assert isinstance(key, ec.EllipticCurvePublicKey)
            key.verify(subject.signature, subject.tbs_certificate_bytes, ec.ECDSA(hashes.SHA256()))


def rate(lines: Sequence[bytes], work: Callable[[bytes], object]) -> float:
    """Lines a second of CPU."""
    began = time.process_time()
    for line in lines:
        work(line)
    return len(lines) / (time.process_time() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=4000)
    lines = cases(parser.parse_args().cases)
    assert all(b'"verdict": "match"' in verify_line(line)[0].encode() for line in lines[:10])
    ours, theirs = rate(lines, verify_line), rate(lines, reference)
    print(f"verify: {ours:,.0f} cases/s a core (bar {BAR_CASES_PER_S:,})")
    print(f"signatures and decoding alone: {theirs:,.0f} cases/s, ratio {theirs / ours:.2f}")


if __name__ == "__main__":
    main()
