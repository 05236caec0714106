"""Hand an HL7 v2 message to a hospital's interface over MLLP, and wait until it is acknowledged.

MLLP is a TCP connection on which a message stands between a vertical tab and a file separator with a carriage return.
The answer is a message too; its MSA segment says accepted (AA, CA), error (AE, CE) or rejected (AR, CR). The connection
is not encrypted: inside a hospital's network, or through a tunnel.
"""

import socket
import time

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


def send(message: str, host: str, port: int, *, timeout_s: float = 30.0) -> str:
    """Send it and return the acknowledgement as it came. timeout_s: for everything together.

    NotDelivered: no connection, no answer in time, an answer that is none, or a refusal, with what the receiver said.
    """
    where = f"HL7 interface {host}:{port}"
    deadline = time.monotonic() + timeout_s
    try:
        with socket.create_connection((host, port), timeout=timeout_s) as connection:
            connection.sendall(_START + message.encode() + _END)
            answer = _answer(connection, deadline, where)
    except TimeoutError:
        raise NotDelivered(
            f"{where}: no answer within {timeout_s:g} s. Whether it took the message is not known; sending it again "
            "does no harm, its control id stays the same."
        ) from None
    except (OSError, UnicodeError) as error:  # a name that cannot be a host's is a UnicodeError
        why = getattr(error, "strerror", None) or error
        raise NotDelivered(f"{where}: {why}. Check host and port, and that it is running.") from None
    _judge(answer, message.split("\r", 1)[0].split("|")[9], where)
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


def _judge(answer: str, control_id: str, where: str) -> None:
    segments = {line[:3]: line.split(line[3]) for line in reversed(answer.splitlines()) if line[3:]}
    said = [*segments.get("MSA", []), "", "", "", ""]
    code, about, text = said[1:4]
    if not code:
        raise NotDelivered(f"{where}: its answer has no acknowledgement (MSA). Ask its operator.")
    if about != control_id:
        raise NotDelivered(f"{where}: it acknowledged message '{about}', not {control_id}. Send the report again.")
    if code not in _ACCEPTED:
        meaning = _MEANING.get("A" + code[1:], "did not accept it")
        error = [*segments.get("ERR", []), *[""] * 9]
        more = "; ".join(part for part in (text, error[8] or error[7] or error[3]) if part) or "no reason given"
        raise NotDelivered(
            f"{where} {meaning} ({code}): {more}. Correct it with the interface's operator, then resend."
        )
