"""THE table of SMTP and LMTP commands; each verb has a module of its name."""

from __future__ import annotations

from mailcore.smtp.commands.auth import handle_auth
from mailcore.smtp.commands.bdat import handle_bdat
from mailcore.smtp.commands.data import handle_data
from mailcore.smtp.commands.hello import handle_hello, handle_helo
from mailcore.smtp.commands.help import handle_help
from mailcore.smtp.commands.mail import handle_mail
from mailcore.smtp.commands.noop import handle_noop
from mailcore.smtp.commands.outcome import Handler
from mailcore.smtp.commands.quit import handle_quit
from mailcore.smtp.commands.rcpt import handle_rcpt
from mailcore.smtp.commands.rset import handle_rset
from mailcore.smtp.commands.starttls import handle_starttls
from mailcore.smtp.commands.vrfy import handle_expn, handle_vrfy
from mailcore.smtp.commands.xforward import handle_xforward

COMMANDS: dict[str, Handler] = {
    "MAIL": handle_mail,
    "RCPT": handle_rcpt,
    "DATA": handle_data,
    "BDAT": handle_bdat,
    "RSET": handle_rset,
    "NOOP": handle_noop,
    "QUIT": handle_quit,
    "VRFY": handle_vrfy,
    "EXPN": handle_expn,
    "HELP": handle_help,
    "STARTTLS": handle_starttls,
    "XFORWARD": handle_xforward,
    "AUTH": handle_auth,
}
"""Verb to handler; LHLO, or EHLO and HELO, are added by the policy's choice."""


def handler_of(verb: str, hello_verb: str) -> Handler | None:
    """Return the handler of a verb on a server whose greeting command is `hello_verb`."""
    if verb == hello_verb:
        return handle_hello
    return handle_helo if verb == "HELO" and hello_verb == "EHLO" else COMMANDS.get(verb)
