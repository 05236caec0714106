"""Against the library's own server, and against receivers that misbehave."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import trustme
from hl7apy.core import Message
from hl7apy.mllp import AbstractHandler, MLLPServer

from helpers.reporting import FEW, SIGNATURE, content, facts
from marrowscope.errors import BadInput, NotDelivered
from marrowscope.report.hl7 import oru_message
from marrowscope.report.mllp import parse_address, send, trusting

MESSAGE = oru_message(content(facts({"MYELO": 3})[0], scheme=FEW, signature=SIGNATURE), b"%PDF-1.7" * 100)
CONTROL_ID = MESSAGE.split("|")[9]


class Receiver(AbstractHandler):  # type: ignore[misc]
    """Reads the message and acknowledges it."""

    def __init__(self, message: str, taken: list[str], code: str) -> None:
        super().__init__(message)
        taken.append(message)
        self.code = code

    def reply(self) -> str:
        answer = Message("ACK", version="2.5.1")
        answer.msa.msa_1 = self.code
        answer.msa.msa_2 = self.incoming_message.split("|")[9]
        if self.code != "AA":
            answer.msa.msa_3 = "unknown patient"
        return str(answer.to_mllp())


@contextmanager
def library_server(code: str) -> Iterator[tuple[int, list[str]]]:
    taken: list[str] = []
    with MLLPServer("127.0.0.1", 0, {"ORU^R01^ORU_R01": (Receiver, taken, code)}) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1], taken
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def receiver(answer: Callable[[socket.socket], object], tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server that reads the message and does what it likes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            plain, _ = server.accept()
            # A client that does not trust the certificate hangs up.
            with (
                suppress(ssl.SSLError, ConnectionError),
                plain if tls is None else tls.wrap_socket(plain, server_side=True) as connection,
            ):
                data = b""
                while not data.endswith(b"\x1c\r"):
                    if not (part := connection.recv(1 << 16)):
                        return
                    data += part
                answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            thread.join()


def test_a_report_is_taken_whole_and_acknowledged() -> None:
    with library_server("AA") as (port, taken):
        answer = send(MESSAGE, "127.0.0.1", port)
    assert taken == [MESSAGE]
    assert f"MSA|AA|{CONTROL_ID}" in answer


@pytest.mark.parametrize(("code", "meaning"), [("AE", "found an error"), ("AR", "rejected it"), ("CR", "rejected it")])
def test_a_refusal_is_told_in_the_receivers_words(code: str, meaning: str) -> None:
    with library_server(code) as (port, _), pytest.raises(NotDelivered, match=rf"{meaning} .*{code}.*unknown patient"):
        send(MESSAGE, "127.0.0.1", port)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"", "closed the connection"),
        (b"\x0bMSH|^~\\&|X\rMSA|AA|", "closed the connection"),
        (b"\x0bMSH|^~\\&|X\r\x1c\r", "no acknowledgement"),
        (b"nonsense\x1c\r", "no acknowledgement"),
        (b"\x0bMSH|^~\\&|X\rMSA|AA|other\r\x1c\r", "'other'"),
        (
            f"\x0bMSH|^~\\&|X\rMSA|AE|{CONTROL_ID}\rERR||PID^1|101||||no such patient\r\x1c\r".encode(),
            "no such patient",
        ),
        (f"\x0bMSH|^~\\&|X\rMSA|ZZ|{CONTROL_ID}\r\x1c\r".encode(), "no reason given"),
    ],
)
def test_an_answer_that_is_no_acknowledgement_is_a_failure(answer: bytes, told: str) -> None:
    with receiver(lambda connection: connection.sendall(answer)) as port, pytest.raises(NotDelivered, match=told):
        send(MESSAGE, "127.0.0.1", port)


def test_silence_ends_with_the_time_that_was_given() -> None:
    done = threading.Event()
    with receiver(lambda connection: done.wait()) as port:
        try:
            with pytest.raises(NotDelivered, match=r"no answer within 0\.2 s"):
                send(MESSAGE, "127.0.0.1", port, timeout_s=0.2)
        finally:
            done.set()


ACCEPTED = f"\x0bMSH|^~\\&|X\rMSA|AA|{CONTROL_ID}\r\x1c\r".encode()


def test_an_encrypted_line_leads_to_a_receiver_whose_authority_is_trusted_and_to_no_other(tmp_path: Path) -> None:
    ours, others = trustme.CA(), trustme.CA()
    ours.cert_pem.write_to_path(tmp_path / "ours.pem")
    encrypted = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ours.issue_cert("127.0.0.1").configure_cert(encrypted)
    with receiver(lambda connection: connection.sendall(ACCEPTED), encrypted) as port:
        assert CONTROL_ID in send(MESSAGE, "127.0.0.1", port, tls=trusting(tmp_path / "ours.pem"))
    others.issue_cert("127.0.0.1").configure_cert(encrypted)
    heard = []
    with (
        receiver(heard.append, encrypted) as port,
        pytest.raises(NotDelivered, match=r"not to be trusted .*Nothing was sent"),
    ):
        send(MESSAGE, "127.0.0.1", port, tls=trusting(tmp_path / "ours.pem"))
    assert not heard


def test_a_receiver_that_does_not_encrypt_is_told_apart() -> None:
    with receiver(lambda connection: None) as port, pytest.raises(NotDelivered, match=f"127.0.0.1:{port}"):
        send(MESSAGE, "127.0.0.1", port, tls=trusting(), timeout_s=1)


def test_nobody_listening_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(NotDelivered, match=rf"127\.0\.0\.1:{port}: .*refused"):
        send(MESSAGE, "127.0.0.1", port)
    with pytest.raises(NotDelivered, match="Check host"):
        send(MESSAGE, "." * 70, port)


@pytest.mark.parametrize(
    ("text", "address"),
    [("hl7.lab:2575", ("hl7.lab", 2575)), ("[::1]:9", ("::1", 9)), ("10.0.0.1:65535", ("10.0.0.1", 65535))],
)
def test_an_address_is_host_and_port(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text", ["", "hl7.lab", "hl7.lab:", ":2575", "hl7.lab:0", "hl7.lab:65536", "hl7.lab:x", "hl7.lab:²"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="HOST:PORT"):
        parse_address(text)
