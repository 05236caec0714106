"""Hand an HL7 v2 message to a hospital's interface over MLLP, and wait until it is acknowledged.

MLLP is a TCP connection on which a message stands between a vertical tab and a file separator with a carriage return.
The answer is a message too; its MSA segment says accepted (AA, CA), error (AE, CE) or rejected (AR, CR). Plain MLLP is
not encrypted; interfaces outside the hospital's network speak it over TLS.
"""

import socket
import ssl
import time
from pathlib import Path

from marrowscope.errors import BadInput, NotDelivered

_START, _END = b"\x0b", b"\x1c\r"
_LONGEST = 1 << 20
_ACCEPTED = ("AA", "CA")
_MEANING = {"AE": "found an error in it", "AR": "rejected it"}


def parse_address(text: str) -> tuple[str, int]:
    """`HOST:PORT`, `[IPv6]:PORT` -> host, port. BadInput."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise BadInput(f"'{text}' is no address of an interface. Write HOST:PORT, for example interface.hospital:2575.")
    return host, int(port)


def trusting(authority: Path | None = None) -> ssl.SSLContext:
    """TLS to an interface whose certificate is signed by an authority of this machine, or by the one of the file.

    authority: certificates in PEM. BadInput where the file holds none.
    """
    try:
        return ssl.create_default_context(cafile=authority)
    except OSError as error:  # ssl.SSLError is one
        raise BadInput(f"{authority}: no certificate of an authority ({error.strerror}). Give a PEM file.") from None


def control_id(message: str) -> str:
    """MSH-10, by which sender and receiver know a message."""
    return message.split("\r", 1)[0].split("|")[9]


def send(message: str, host: str, port: int, *, timeout_s: float = 30.0, tls: ssl.SSLContext | None = None) -> str:
    """Send it and return the acknowledgement as it came. timeout_s: for everything together. tls: None for none.

    NotDelivered: no connection, no answer in time, an answer that is none, or a refusal, with what the receiver said.
    """
    where = f"HL7 interface {host}:{port}"
    deadline = time.monotonic() + timeout_s
    try:
        with (
            socket.create_connection((host, port), timeout=timeout_s) as plain,
            plain if tls is None else tls.wrap_socket(plain, server_hostname=host) as connection,
        ):
            connection.sendall(_START + message.encode() + _END)
            answer = _answer(connection, deadline, where)
    except ssl.SSLCertVerificationError as error:
        raise NotDelivered(
            f"{where}: its certificate is not to be trusted ({error.verify_message}). Nothing was sent. Name the "
            "authority that signed it, and the host as it stands in it."
        ) from None
    except TimeoutError:
        raise NotDelivered(
            f"{where}: no answer within {timeout_s:g} s. Whether it took the message is not known; sending it again "
            "does no harm, its control id stays the same."
        ) from None
    except (OSError, UnicodeError) as error:  # a name that cannot be a host's is a UnicodeError
        why = getattr(error, "strerror", None) or error
        raise NotDelivered(f"{where}: {why}. Check host and port, and that it is running.") from None
    _judge(answer, control_id(message), where)
    return answer


def _answer(connection: socket.socket, deadline: float, where: str) -> str:
    data = b""
    while _END not in data:
        connection.settimeout(max(deadline - time.monotonic(), 1e-3))
        part = connection.recv(65536)
        data += part
        if not part or len(data) > _LONGEST:
            what = "closed the connection without an acknowledgement" if not part else "answered without an end"
            raise NotDelivered(f"{where}: {what}. Ask its operator whether it takes ORU^R01 of HL7 2.5.1.")
    return data.partition(_END)[0].partition(_START)[2].decode("utf-8", errors="replace")


def _judge(answer: str, about: str, where: str) -> None:
    segments = {line[:3]: line.split(line[3]) for line in reversed(answer.splitlines()) if line[3:]}
    said = [*segments.get("MSA", []), "", "", "", ""]
    code, acknowledged, text = said[1:4]
    if not code:
        raise NotDelivered(f"{where}: its answer has no acknowledgement (MSA). Ask its operator.")
    if acknowledged != about:
        raise NotDelivered(f"{where}: it acknowledged message '{acknowledged}', not {about}. Send the report again.")
    if code not in _ACCEPTED:
        meaning = _MEANING.get("A" + code[1:], "did not accept it")
        error = [*segments.get("ERR", []), *[""] * 9]
        more = "; ".join(part for part in (text, error[8] or error[7] or error[3]) if part) or "no reason given"
        raise NotDelivered(
            f"{where} {meaning} ({code}): {more}. Correct it with the interface's operator, then resend."
        )
