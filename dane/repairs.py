"""What is wrong, how to repair it, how to check it, how to keep it from coming back.

The one table of problems and their repairs. `check`, lists, notices, pages and the service
read it; no other place words a repair. A row is keyed by the kind of the problem (the
status of an MX host of class F, or `lookup`) and its cause (a MismatchCause, a DnsCause, or
none). Pure text: {placeholders} are filled by whoever shows a row:

    {host}       the MX host
    {base}       the TLSA base domain: the name that senders look for in the certificate
    {tlsa_name}  the owner of the TLSA records, `_25._tcp.{base}`
    {question}   the owner and type of the question that fails
    {name}       the owner of that question
    {rrtype}     its type
    {zone}       the zone at fault
    {server}     an address of a name server of that zone
    {address}    an address of the MX host

A row with `record` is repaired by publishing exactly the records that the program computes
from what the server shows (`3 1 1` and the digest of the key: RFC 7671 section 5.1, which
asks neither for a date nor for a name).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from dane.outcomes import DnsCause, MismatchCause


class ProblemKind(StrEnum):
    """What kind of promise is broken."""

    MISMATCH = "mismatch"  # no usable TLSA record matches
    TA_EXPIRED = "ta_expired"  # a certificate up to the trust anchor is outside its dates
    NAME_MISMATCH = "name_mismatch"  # the certificate lacks the reference name
    NO_STARTTLS = "no_starttls"  # STARTTLS is not offered
    STARTTLS_REJECTED = "starttls_rejected"  # STARTTLS is offered and then refused
    TLS_FAILED = "tls_failed"  # the handshake fails
    LOOKUP = "lookup"  # a question of the DNS gets an error instead of an answer


Cause = MismatchCause | DnsCause | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """One row: three texts, each of one to three sentences, for a busy operator."""

    wrong: str
    repair: str
    prevention: str
    record: bool = False  # publishing the record of the key that is shown repairs it

    def filled(self, **names: str) -> "Repair":
        """The row with the placeholders replaced."""
        return Repair(
            wrong=self.wrong.format(**names),
            repair=self.repair.format(**names),
            prevention=self.prevention.format(**names),
            record=self.record,
        )


# --- how to keep it from coming back ----------------------------------------------------------

ROLLOVER_NEXT = (
    "Keep two records: one for the present key and one for the next key. Publish the record of "
    "the next key at least two TTLs before the server uses that key; remove the old record "
    "afterwards (RFC 7671 section 8.1)."
)
KEEP_KEY = (
    "Let the renewal keep the key, so that the 3 1 1 record stays true: certbot --reuse-key, "
    "lego --reuse-key, or an acme.sh renewal without --always-force-new-domain-key."
)
ROLLOVER_ISSUER = (
    "Or publish, beside the record of the key, 2 1 1 records of every intermediate authority "
    "that may sign the next certificate (RFC 7671 section 8.4)."
)
MONITOR = "Watch port 25 from outside after every renewal."
SIGNER = "Watch how long the signatures of the zone still hold, and let the signer raise an alarm."
SERVERS = "Ask every name server of the zone for TLSA, by IPv4 and IPv6, after every change of it."

_KEYS = f"{KEEP_KEY} {ROLLOVER_NEXT}"

# --- the table --------------------------------------------------------------------------------

_PUBLISH = (
    "Replace the records at {tlsa_name} by the record of each key that {host} shows, as below."
)

_HOSTS: Mapping[tuple[ProblemKind, Cause], Repair] = {
    (ProblemKind.MISMATCH, MismatchCause.PEM_DIGEST): Repair(
        wrong="A TLSA record at {tlsa_name} has the digest of a PEM file. The digest must be that "
        "of the DER form.",
        repair=_PUBLISH,
        prevention="Compute the digest from the DER form: openssl x509 -in CERTIFICATE -noout "
        "-pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256.",
        record=True,
    ),
    (ProblemKind.MISMATCH, MismatchCause.EMPTY_DIGEST): Repair(
        wrong="A TLSA record at {tlsa_name} has the digest of nothing: its script read an empty "
        "file.",
        repair=_PUBLISH,
        prevention="Let the script that makes the record stop when the certificate is missing.",
        record=True,
    ),
    (ProblemKind.MISMATCH, MismatchCause.WRONG_USAGE): Repair(
        wrong="A TLSA record at {tlsa_name} fits a certificate that {host} sends, but its usage "
        "field is wrong: usage 3 is for the server's own certificate, usage 2 for an authority.",
        repair=_PUBLISH,
        prevention=_KEYS,
        record=True,
    ),
    (ProblemKind.MISMATCH, MismatchCause.WRONG_SELECTOR): Repair(
        wrong="A TLSA record at {tlsa_name} fits a certificate that {host} sends, but its selector "
        "is wrong: 0 is the whole certificate, 1 is the key.",
        repair=_PUBLISH,
        prevention=_KEYS,
        record=True,
    ),
    (ProblemKind.MISMATCH, MismatchCause.WRONG_MATCHING_TYPE): Repair(
        wrong="A TLSA record at {tlsa_name} fits a certificate that {host} sends, but its matching "
        "type is wrong: 1 is SHA-256, 2 is SHA-512.",
        repair=_PUBLISH,
        prevention=_KEYS,
        record=True,
    ),
    (ProblemKind.MISMATCH, MismatchCause.RETIRED_ISSUER): Repair(
        wrong="A TLSA record at {tlsa_name} names a certificate authority that no longer issues "
        "the certificates of {host}. The certificate was renewed by another authority.",
        repair=_PUBLISH,
        prevention=f"{_KEYS} {ROLLOVER_ISSUER}",
        record=True,
    ),
    (ProblemKind.MISMATCH, MismatchCause.STALE_CERTIFICATE): Repair(
        wrong="The TLSA records at {tlsa_name} fit a certificate that {host} showed before. The "
        "certificate was changed, and the records were not.",
        repair=_PUBLISH,
        prevention=_KEYS,
        record=True,
    ),
    (ProblemKind.MISMATCH, MismatchCause.TA_NOT_SENT): Repair(
        wrong="The TLSA records at {tlsa_name} name a certificate authority whose certificate "
        "{host} does not send. Senders cannot find it anywhere else (RFC 7672 section 3.1.2).",
        repair="Replace the records by that of each key that {host} shows; or let {host} send the "
        "authority's certificate with its own.",
        prevention="Install the full chain (often called fullchain), the trust anchor included.",
        record=True,
    ),
    (ProblemKind.MISMATCH, MismatchCause.CHAIN_INVALID): Repair(
        wrong="{host} sends the certificate authority that the TLSA records at {tlsa_name} name, "
        "but the path from the server's certificate to it is not valid.",
        repair="Replace the records by that of each key that {host} shows; or install the chain "
        "that the authority issued with the certificate.",
        prevention="Install certificate and chain together, from the same renewal.",
        record=True,
    ),
    (ProblemKind.MISMATCH, MismatchCause.UNKNOWN): Repair(
        wrong="No TLSA record at {tlsa_name} fits any certificate that {host} sends. The usual "
        "reason is a renewal with a new key that left the records as they were.",
        repair=_PUBLISH,
        prevention=_KEYS,
        record=True,
    ),
    (ProblemKind.TA_EXPIRED, None): Repair(
        wrong="A certificate that {host} sends is outside its dates, and the TLSA records at "
        "{tlsa_name} (usage 2) need it.",
        repair="Renew the certificate; or replace the records by that of each key that {host} "
        "shows, for which no date counts.",
        prevention=f"Renew by program, and reload the mail server after it. {MONITOR}",
        record=True,
    ),
    (ProblemKind.NAME_MISMATCH, None): Repair(
        wrong="The certificate of {host} does not contain the name {base}, and the TLSA records "
        "at {tlsa_name} (usage 2) need it.",
        repair="Get a certificate for {base}; or replace the records by that of each key that "
        "{host} shows, for which no name counts.",
        prevention=f"Name every MX host name in the certificate. {MONITOR}",
        record=True,
    ),
    (ProblemKind.NO_STARTTLS, None): Repair(
        wrong="{host} does not offer STARTTLS, though TLSA records at {tlsa_name} promise it.",
        repair="Switch STARTTLS on for all clients on port 25. Until then remove the TLSA records.",
        prevention=f"{MONITOR} A firewall that inspects SMTP can hide STARTTLS: look from outside "
        "of it.",
    ),
    (ProblemKind.STARTTLS_REJECTED, None): Repair(
        wrong="{host} offers STARTTLS and then refuses it, though TLSA records at {tlsa_name} "
        "promise it.",
        repair="Let {host} accept STARTTLS; its log says why it refuses. Until then remove the "
        "TLSA records.",
        prevention=f"{MONITOR} A key file that the mail server cannot read is the usual reason.",
    ),
    (ProblemKind.TLS_FAILED, None): Repair(
        wrong="The TLS handshake with {host} fails, though TLSA records at {tlsa_name} promise "
        "TLS.",
        repair="Let {host} finish a handshake of TLS 1.2 or 1.3 with any client; its log says why "
        "it does not. Demand no client certificate. Until then remove the TLSA records.",
        prevention=MONITOR,
    ),
}

_LOOKUPS: Mapping[DnsCause, tuple[str, str, str]] = {
    DnsCause.SERVERS_SILENT: (
        "No name server of {zone} answers us. The question is {question}.",
        "Bring the name servers of {zone} back, or have firewalls let questions on port 53 "
        "through, by UDP and TCP.",
        SERVERS,
    ),
    DnsCause.LAME: (
        "The name servers that the parent names for {zone} do not serve it. The question is "
        "{question}.",
        "Load the zone {zone} at every name server of its NS RRset, or name the right servers at "
        "the parent.",
        "Compare the NS RRset at the parent with the servers that have the zone, after every move.",
    ),
    DnsCause.TYPE_BLOCKED: (
        "Name servers of {zone} answer other questions, but not {question}.",
        "Let every name server of {zone} answer questions of type {rrtype} with records or a "
        "signed denial. Update the software, or remove the rule of the firewall or load balancer "
        "that stops them.",
        SERVERS,
    ),
    DnsCause.TCP_BROKEN: (
        "Name servers of {zone} say that the answer to {question} needs TCP, and do not answer by "
        "TCP.",
        "Let every name server of {zone} answer by TCP on port 53 (RFC 7766).",
        SERVERS,
    ),
    DnsCause.EDNS_BROKEN: (
        "Name servers of {zone} do not answer questions with EDNS, so a validator gets no "
        "signatures. The question is {question}.",
        "Update the name servers of {zone}, or the firewall before them: a signed zone needs EDNS "
        "(RFC 4035 section 3).",
        SERVERS,
    ),
    DnsCause.FRAGMENTS_LOST: (
        "Large answers of the name servers of {zone} are lost on the way. The question is "
        "{question}.",
        "Limit answers by UDP to 1232 bytes at every name server of {zone}, and answer by TCP.",
        "Keep signed answers small: ECDSA keys, few records.",
    ),
    DnsCause.CNAME_LOOP: (
        "The answer to {question} is a loop of CNAME records.",
        "Break the loop: let one of the names have records of its own.",
        SERVERS,
    ),
    DnsCause.DS_WITHOUT_KEY: (
        "The parent of {zone} has a DS record, and no key of {zone} fits it. Nothing in the zone "
        "can be validated.",
        "Have the parent publish the DS record of the present key signing key; or, until that is "
        "done, have it remove the DS records.",
        "At a change of keys or of provider, wait until the new DS record is at the parent before "
        "the old key goes (RFC 6781 section 4.1.2). CDS records let the parent follow by itself.",
    ),
    DnsCause.DNSKEY_MISSING: (
        "The parent of {zone} has a DS record, and {zone} has no DNSKEY RRset.",
        "Sign {zone} and publish its DNSKEY RRset; or have the parent remove the DS records.",
        "Before a move to a provider that does not sign, have the DS records removed and wait "
        "until they have left all caches.",
    ),
    DnsCause.NO_RRSIG: (
        "Name servers of the signed zone {zone} answer {question} without signatures.",
        "Serve the signed zone at every name server of {zone}; one of them may have an unsigned "
        "copy.",
        SERVERS,
    ),
    DnsCause.SIGNATURE_EXPIRED: (
        "Signatures of {zone} have expired. The question is {question}.",
        "Sign {zone} anew, and load the signed zone at every name server.",
        SIGNER,
    ),
    DnsCause.SIGNATURE_NOT_YET_VALID: (
        "Signatures of {zone} begin in the future. The question is {question}.",
        "Set the clock of the signer, and sign {zone} anew.",
        "Let the signer follow the time of the network (NTP), and begin signatures an hour early.",
    ),
    DnsCause.SERIAL_RAISED_AFTER_SIGNING: (
        "The SOA record of {zone} was changed after the zone was signed, so its signature does "
        "not hold.",
        "Raise the serial before signing, not after it; sign {zone} anew.",
        "Let one program raise the serial and sign.",
    ),
    DnsCause.SIGNATURE_INVALID: (
        "A signature over the answer to {question} does not hold: the data was changed after it "
        "was signed, or another key signed it.",
        "Sign {zone} anew, and load the same signed zone at every name server.",
        SERVERS,
    ),
    DnsCause.DENIAL_MISSING: (
        "Name servers of {zone} deny {question} without the NSEC or NSEC3 records that prove it.",
        "Let every name server of {zone} send the proof with a denial: update its software, or "
        "load the signed zone anew.",
        SERVERS,
    ),
    DnsCause.BAD_DENIAL: (
        "Name servers of {zone} deny {question} with NSEC or NSEC3 records that do not prove it.",
        "Sign {zone} anew with all its names, empty non-terminals such as _tcp included; if a "
        "program makes denials as it answers, update it.",
        SERVERS,
    ),
    DnsCause.VALIDATOR_LIMIT: (
        "The answer to {question} asks for more work than validators do for one answer.",
        "Use fewer keys, signatures and aliases in {zone}.",
        SERVERS,
    ),
    DnsCause.UNKNOWN: (
        "The lookup of {question} fails, and the answers of the name servers of {zone} do not "
        "show why.",
        "Let every name server of {zone} answer {question} with records or a denial whose "
        "signatures hold.",
        SERVERS,
    ),
}

REPAIRS: Mapping[tuple[ProblemKind, Cause], Repair] = {
    **_HOSTS,
    **{
        (ProblemKind.LOOKUP, cause): Repair(wrong=wrong, repair=repair, prevention=prevention)
        for cause, (wrong, repair, prevention) in _LOOKUPS.items()
    },
}


def deciding_cause(causes: Collection[MismatchCause]) -> MismatchCause:
    """Of the causes of a host's records, the one that says most: the first in the table."""
    return next(
        (
            cause
            for kind, cause in REPAIRS
            if kind is ProblemKind.MISMATCH and isinstance(cause, MismatchCause) and cause in causes
        ),
        MismatchCause.UNKNOWN,
    )


# --- how to check without our software --------------------------------------------------------

CHECK_HOST = (
    "dig +dnssec TLSA {tlsa_name}",
    "openssl s_client -starttls smtp -connect {host}:25 -brief \\",
    "  -servername {base} -dane_tlsa_domain {base} \\",
    '  -dane_tlsa_rrdata "{record}" </dev/null',
)
"""After the repair the second command says `Verification: OK`."""
CHECK_LOOKUP = (
    "dig +dnssec {rrtype} {name}",
    "dig +norecurse +dnssec {rrtype} {name} @{server}",
)
