"""Mail, through the operator's server."""

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import field
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

import aiosmtplib

from podling.core.value import value
from podling.kit.clock import Clock
from podling.master.alerts.delivery import Content, Refused, Target, Unreachable, shortened

SECONDS = 20.0  # for all of one mail


@value
class MailServer:
    """`encrypted` from the first byte on (smtps); otherwise STARTTLS is used where it is offered.

    A password is never sent in clear. On this machine (`is_local`) nothing needs to be encrypted, and
    the certificate is nobody's.
    """

    host: str
    port: int
    encrypted: bool
    sender: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    is_local: bool = False


class MailSender:
    """Sends plain text; the message's id is that of the alert, so that a mail program shows it once."""

    def __init__(self, server: MailServer, clock: Clock, seconds: float = SECONDS) -> None:
        self._server = server
        self._clock = clock
        self._seconds = seconds
        self._trusted = ssl.create_default_context()

    async def send(self, target: Target, content: Content) -> str:
        mail = self.compose(target.mail, content)
        try:
            async with asyncio.timeout(self._seconds):
                return await self._send(mail, target.mail)
        except TimeoutError:
            raise Unreachable(f"the mail server did not answer within {self._seconds:g} s") from None
        except (aiosmtplib.SMTPRecipientsRefused, aiosmtplib.SMTPResponseException) as error:
            raise _refused(error) from None
        except (aiosmtplib.SMTPException, OSError) as error:
            raise Unreachable(f"the mail server cannot be used: {shortened(str(error))}") from None

    def compose(self, recipients: Sequence[str], content: Content) -> EmailMessage:
        """Return the mail. A header that would hold a line end is an error of this policy."""
        mail = EmailMessage(policy=SMTP)
        mail["From"] = self._server.sender
        mail["To"] = ", ".join(recipients)
        mail["Subject"] = content.message.subject
        mail["Date"] = format_datetime(self._clock.now())
        mail["Message-ID"] = f"<{content.message.message_id}@podling>"
        mail["Auto-Submitted"] = "auto-generated"
        mail["Podling-Delivery"] = content.message.message_id
        mail.set_content(content.text)
        return mail

    async def _send(self, mail: EmailMessage, recipients: Sequence[str]) -> str:
        server = self._server
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            use_tls=server.encrypted,
            start_tls=False if server.encrypted or server.is_local else None,
            tls_context=self._trusted,
            timeout=self._seconds,
        )
        async with client:
            await self._log_in(client)
            refused, answer = await client.send_message(
                mail, sender=server.sender, recipients=list(recipients)
            )
        # Those who were taken must not get it again for the sake of the others.
        others = f"{answer}; but not for {', '.join(sorted(refused))}"
        return shortened(others if refused else answer)

    async def _log_in(self, client: aiosmtplib.SMTP) -> None:
        server = self._server
        if server.user is None or server.password is None:
            return
        in_clear = client.get_transport_info("sslcontext") is None
        if in_clear and not server.is_local:
            raise Refused("the mail server offers no TLS, and a password is not sent in clear")
        await client.login(server.user, server.password)


def _refused(error: aiosmtplib.SMTPException) -> Refused:
    """A refusal that the server calls permanent (5xx) is not tried again."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        codes = [part.code for part in error.recipients]
        said = "; ".join(f"{part.recipient}: {part.code} {part.message}" for part in error.recipients)
        return Refused(f"the mail server refused {shortened(said)}", final=min(codes, default=0) >= 500)
    assert isinstance(error, aiosmtplib.SMTPResponseException)
    said = shortened(f"{error.code} {error.message}")
    return Refused(f"the mail server answered {said}", final=error.code >= 500)
