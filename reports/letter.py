"""The monthly post as mail and as HTML. The same post gives the same bytes."""

from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from html import escape

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
</head>
<body>
{body}
</body>
</html>
"""


def as_html(text: str) -> str:
    """A page of the post: paragraphs flow, tables stay what they are."""
    title, _, rest = text.partition("\n\n")
    parts = [f"<h1>{escape(' '.join(title.split()))}</h1>"]
    for part in rest.strip().split("\n\n"):
        if part.startswith((" ", "[")) or "\n " in part:
            parts.append(f"<pre>{escape(part)}</pre>")
        else:
            parts.append(f"<p>{escape(' '.join(part.split()))}</p>")
    return _PAGE.format(title=escape(" ".join(title.split())), body="\n".join(parts))


def as_mail(text: str, month: str, run: int, began: datetime, sender: str) -> bytes:
    """A message (RFC 5322) with the post as text and as HTML, ready to be addressed. Its date is
    the start of the run. Nothing here sends it."""
    message = EmailMessage(policy=SMTP)
    message["Subject"] = f"DANE survey: {month}"
    message["Date"] = format_datetime(began)
    message["Message-ID"] = f"<{month}.run-{run}@danesurvey.invalid>"
    if sender:
        message["From"] = sender
    message.set_content(text)
    message.add_alternative(as_html(text), subtype="html")
    message.set_boundary(f"danesurvey-{month}-{run}")
    return message.as_bytes()
