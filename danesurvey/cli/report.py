"""`report`: what the published data set says, for people and for mail servers."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from dane import clock
from dane.faults import LocalTrouble, UsageFault
from danesurvey.cli.context import settings_of

Month = Annotated[
    str | None, typer.Option(help="Of the last run of this month.", metavar="YYYY-MM")
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]


def register(app: typer.Typer) -> None:
    report = typer.Typer(
        help="What the survey says: the monthly post, breakage lists, notices, exceptions.",
        epilog="Example: danesurvey report post --month 2026-11",
        no_args_is_help=True,
    )
    app.add_typer(report, name="report")
    report.command(epilog="Example: danesurvey report post --month 2026-11")(post)
    report.command(epilog="Example: danesurvey report breakage --operator provider.example --csv")(
        breakage
    )
    report.command(epilog="Example: danesurvey report notices > drafts.mbox")(notices)
    report.command(epilog="Example: danesurvey report exceptions --approvals approvals.toml")(
        exceptions
    )
    report.command(epilog="Example: danesurvey report opportunities --top 20")(opportunities)
    report.command(epilog="Example: danesurvey report history mx.example.org")(history)


def post(
    context: typer.Context,
    month: Month = None,
    as_json: AsJson = False,
    as_mail: Annotated[bool, typer.Option("--eml", help="A mail with text and HTML.")] = False,
    as_html: Annotated[bool, typer.Option("--html", help="An HTML page.")] = False,
) -> None:
    """The monthly post for a mailing list, as plain text; with --json, its numbers."""
    from reports import letter
    from reports import post as posts
    from reports.derived_tables import STATISTICS
    from reports.library import Library, to_json
    from reports.manifest import settings_of as published_settings

    if as_json + as_mail + as_html > 1:
        raise UsageFault("--json, --eml and --html exclude each other")
    settings = settings_of(context)
    library = Library.of(settings.publish, settings.state_dir)
    run = library.run(month, full=True)
    if as_json:
        rows = library.dataset.files(run.key).read(STATISTICS).to_pylist()
        typer.echo(to_json(rows), nl=False)
        return
    text = posts.write(posts.edition(library.dataset, run, settings.publish.top_providers))
    if as_html:
        text = letter.as_html(text)
    if as_mail:
        sender = published_settings(library.dataset, run.key).get("probe", {}).get("contact", "")
        mail = letter.as_mail(text, run.key.month, run.key.run_id, run.started, sender or "")
        typer.echo(mail, nl=False)
    else:
        typer.echo(text, nl=False)


def breakage(
    context: typer.Context,
    month: Month = None,
    operator: Annotated[
        str | None, typer.Option(help="Only this operator's, a registrable domain.")
    ] = None,
    confirmed: Annotated[bool, typer.Option(help="Only what is confirmed.")] = False,
    every: Annotated[bool, typer.Option("--all", help="All domains, however many.")] = False,
    provisional: Annotated[
        bool,
        typer.Option(help="Of the run that is under way: what its rows so far come to."),
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV on stdout.")] = False,
    as_json: AsJson = False,
) -> None:
    """Broken and failing domains with evidence, by MX operator and by DNS operator.

    The list names domains: it is for their operator, and for nobody else.
    """
    from reports import breakage as breakages
    from reports import confirmation
    from reports.library import Library

    if as_csv and as_json:
        raise UsageFault("--csv and --json exclude each other")
    settings = settings_of(context)
    if provisional:
        if confirmed or month is not None:
            raise UsageFault("--provisional goes with neither --confirmed nor --month")
        from danesurvey.provisional import breakages as provisional_breakages

        text = provisional_breakages(settings, operator, as_json=as_json, as_csv=as_csv)
        typer.echo(text, nl=False)
        return
    library = Library.of(settings.publish, settings.state_dir)
    found = library.breakages(month, operator=operator, confirmed=confirmed)
    if as_json:
        text = breakages.as_json(found)
    elif as_csv:
        text = breakages.as_csv(found)
    else:
        rule = confirmation.rule(settings.publish.confirmation)
        text = breakages.as_text(found, all_domains=every, rule=rule)
    typer.echo(text, nl=False)


def notices(
    context: typer.Context,
    month: Month = None,
    operator: Annotated[
        str | None, typer.Option(help="Only this operator's, a registrable domain.")
    ] = None,
    sent: Annotated[
        Path | None,
        typer.Option(help="Note that the notices in this mbox or mail were sent.", metavar="FILE"),
    ] = None,
    answered: Annotated[
        int | None, typer.Option(help="Note that this notice was answered.", metavar="NUMBER")
    ] = None,
    mute: Annotated[
        str | None, typer.Option(help="Draft no more notices to this operator.", metavar="OPERATOR")
    ] = None,
    unmute: Annotated[
        str | None, typer.Option(help="Draft notices to it again.", metavar="OPERATOR")
    ] = None,
    ledger: Annotated[bool, typer.Option("--ledger", help="Show the ledger of notices.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --ledger: JSON.")] = False,
) -> None:
    """Drafts of notices to operators about confirmed breakage, as an mbox. Nothing is sent.

    An operator that was told within 30 days gets none, unless there are new problems. Say what
    you have sent: danesurvey report notices --sent drafts.mbox
    """
    from danesurvey import noticing

    settings = settings_of(context)
    actions = (sent, answered, mute, unmute, ledger or None)
    if sum(action is not None for action in actions) > 1:
        raise UsageFault("--sent, --answered, --mute, --unmute and --ledger exclude each other")
    if sent is not None:
        typer.echo(noticing.mark_sent(settings, sent), err=True)
    elif answered is not None:
        noticing.mark_answered(settings, answered)
    elif mute is not None:
        noticing.mute(settings, mute)
    elif unmute is not None:
        noticing.unmute(settings, unmute)
    elif ledger:
        typer.echo(noticing.shown(settings, as_json=as_json), nl=False)
    else:
        drafted = noticing.drafted(settings, month, operator)
        typer.echo(drafted.summary, err=True)
        typer.get_binary_stream("stdout").write(drafted.mbox)


def exceptions(
    context: typer.Context,
    approvals: Annotated[
        Path, typer.Option(help="TOML file of approvals (docs/dataset.md).", metavar="FILE")
    ],
    month: Month = None,
    second_vantage: Annotated[
        Path | None,
        typer.Option(help="The data set of a survey from another network.", metavar="DIR"),
    ] = None,
    for_server: Annotated[
        str, typer.Option("--for", help="The mail server: postfix or exim.", metavar="SERVER")
    ] = "postfix",
    install: Annotated[
        Path | None,
        typer.Option(
            help="Write the list to this file at once, whole; an empty list where none can be "
            "made. For cron.",
            metavar="FILE",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Confirmed-broken domains that senders may stop checking for a while, for Postfix or Exim."""
    from reports import exceptions as lists
    from reports.dataset import replace_file
    from reports.library import Library, to_json

    settings = settings_of(context)
    today = clock.now().date()
    if for_server not in set(lists.Table):
        raise UsageFault(f"--for {for_server}: it is {' or '.join(lists.Table)}")
    if install is not None and as_json:
        raise UsageFault("--install writes a table for a mail server: without --json")
    table = lists.Table(for_server)

    def entries() -> list[lists.Entry]:
        library = Library.of(settings.publish, settings.state_dir)
        days = settings.publish.max_exception_days
        approved = lists.read_approvals(approvals, max_days=days)
        elsewhere = library.confirmed_elsewhere(second_vantage) if second_vantage else frozenset()
        with library.views(month) as views:
            return lists.entries(views, approved, today=today, second_vantage=elsewhere)

    if install is None:
        text = (
            to_json([asdict(one) for one in entries()])
            if as_json
            else lists.as_table(entries(), today=today, table=table)
        )
        typer.echo(text, nl=False)
        return
    found: list[lists.Entry] = []
    try:
        found = entries()
    finally:  # whatever is wrong: yesterday's exceptions must not stay
        try:
            replace_file(install, lists.as_table(found, today=today, table=table).encode())
        except OSError as error:
            raise LocalTrouble(f"{install}: {error.strerror}") from error


def opportunities(
    context: typer.Context,
    month: Month = None,
    top: Annotated[int, typer.Option(help="Operators of each kind.", min=1)] = 20,
    as_json: AsJson = False,
) -> None:
    """Which operator could make most domains DANE domains, and by what."""
    from reports import opportunities as chances
    from reports.library import Library, to_json

    settings = settings_of(context)
    library = Library.of(settings.publish, settings.state_dir)
    with library.views(month, full=True) as views:
        found = chances.find(views)
    text = to_json([asdict(one) for one in found]) if as_json else chances.as_text(found, top)
    typer.echo(text, nl=False)


def history(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(help="A domain, an MX host, or an operator's registrable domain.")
    ],
    as_json: AsJson = False,
) -> None:
    """What all published runs say of a domain, an MX host or an operator, the oldest first.

    Read from the data set alone. It names domains: it is for their operator.
    """
    from reports import timeline
    from reports.library import Library

    settings = settings_of(context)
    library = Library.of(settings.publish, settings.state_dir)
    found = timeline.timeline(library.dataset, name)
    typer.echo(timeline.as_json(found) if as_json else timeline.as_text(found), nl=False)
