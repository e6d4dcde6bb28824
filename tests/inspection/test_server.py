"""The page over HTTP: every view, its bounds, who is let in, and browsers that leave."""

import asyncio
import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi")

from bertsmith.engine.engine import make_engine
from bertsmith.errors import UsageError
from bertsmith.inference.pipelines import FillPipeline
from bertsmith.inspection import guard, server
from bertsmith.inspection.export_requests import all_questions
from bertsmith.inspection.gallery import Gallery
from bertsmith.inspection.page_files import page_files
from bertsmith.inspection.views import VIEWS
from bertsmith.inspection.watcher import NOBODY, Cancelled, Watcher

TEXT, PAIR = "the cat sees the red house.", "a small child likes the moon."


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Speaks to the application without a socket."""

    def __init__(self, gallery: Gallery) -> None:
        self.app = server.make_app(gallery)

    def post(self, view: str, **values: Any) -> Answer:
        return self.send("POST", f"/api/{view}", json.dumps(values).encode())

    def send(self, method: str, path: str, body: bytes = b"", leaves: threading.Event | None = None, **headers: str) -> Answer:
        return asyncio.run(self.converse(method, path, body, leaves, **headers))

    async def converse(
        self, method: str, path: str, body: bytes, leaves: threading.Event | None = None, **headers: str
    ) -> Answer:
        """Send one request; the browser leaves when ``leaves`` is set."""
        fields = {"host": "127.0.0.1:8765", "content-type": "application/json", "content-length": str(len(body))}
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "server": ("127.0.0.1", 8765),
            "headers": [(name.encode(), value.encode()) for name, value in fields.items() if value],
        }
        sent: list[Any] = []
        waiting = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Any:
            if waiting:
                return waiting.pop(0)
            if leaves is not None and leaves.is_set():
                return {"type": "http.disconnect"}
            return await asyncio.Future()

        async def send(message: Any) -> None:
            sent.append(message)

        with suppress(ZeroDivisionError):  # which the server shows in its terminal
            await self.app(scope, receive, send)
        found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], found, b"".join(message.get("body", b"") for message in sent[1:]))


@pytest.fixture
def client(gallery: Gallery) -> Client:
    return Client(gallery)


def grid(value: dict[str, Any]) -> np.ndarray:
    steps = np.frombuffer(base64.b64decode(value["data"]), "<u2").reshape(value["shape"])
    return value["low"] + (value["high"] - value["low"]) * steps / 65535


def test_every_question_of_the_page_is_answered(client: Client, gallery: Gallery) -> None:
    asked = [(view, values) for view, values in all_questions(gallery) if "integrated" not in str(values)]
    assert {view for view, _ in asked} == VIEWS.keys() - {"task", "ablate"}
    for view, values in [*asked[:: len(asked) // 60], *asked[-4:]]:
        answer = client.post(view, **values)
        assert answer.status == 200, (view, values, answer.body)
        assert answer.headers["content-type"] == "application/json"


def test_numbers_on_the_wire_are_the_models(client: Client, gallery: Gallery) -> None:
    reading = gallery.read("a", TEXT)
    heads = grid(client.post("attention", model="a", text=TEXT, layer=2).json["heads"])
    np.testing.assert_allclose(heads, reading.attention[1], atol=1e-5)
    np.testing.assert_allclose(heads.sum(-1), 1, atol=1e-4)
    predicted = client.post("predict", model="a", text=TEXT, position=2, masked=True).json["candidates"]
    subject = gallery.subject("a")
    (filled,) = FillPipeline(make_engine(subject.model), subject.tokenizer)(["the [MASK] sees the red house."], 10)
    assert [(one["token"], one["probability"]) for one in predicted] == [
        (one.token, pytest.approx(one.probability, rel=1e-5)) for one in filled.blanks[0]
    ]


def test_models(client: Client) -> None:
    found = client.send("GET", "/api/models").json
    assert [one["name"] for one in found["models"]] == ["first", "second"] and not found["is_export"]
    assert found["start"] == {"text": TEXT, "pair": PAIR, "choices": []} and found["limits"]["characters"] == 20_000


def test_the_page_and_nothing_else_is_served(client: Client) -> None:
    page = client.send("GET", "/")
    assert page.status == 200 and b"<html" in page.body and page.headers["content-type"].startswith("text/html")
    script = page.body.decode().split('<script src="')[1].split('"')[0]
    assert client.send("GET", f"/{script}").headers["content-type"].startswith("text/javascript")
    for path in ("/../server.py", "/server.py", "/page/index.html", "/docs", "/api/nothing", "/%2e%2e/server.py"):
        answer = client.send("GET", path)
        assert answer.status == 404 and answer.json["error"]["code"] == "not_found"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/api/attention", {"POST"}),
        ("PUT", "/api/attention", {"POST"}),
        ("HEAD", "/api/attention", {"POST"}),
        ("TRACE", "/api/attention", {"POST"}),
        ("POST", "/api/models", {"GET"}),
        ("DELETE", "/", {"GET", "HEAD"}),
        ("OPTIONS", "/base.js", {"GET", "HEAD"}),
        ("PATCH", "/openapi.json", {"GET", "HEAD"}),
    ],
)
def test_another_method_is_refused_with_those_that_are_taken(client: Client, method: str, path: str, allowed: set[str]) -> None:
    answer = client.send(method, path)
    assert answer.status == 405 and answer.json["error"]["code"] == "wrong_method"
    assert set(answer.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize("path", ["/", "/base.js", "/api/models", "/openapi.json"])
def test_what_can_be_got_has_a_head(client: Client, path: str) -> None:
    assert client.send("HEAD", path).status == 200


def test_every_answer_has_the_strict_policy(client: Client) -> None:
    for answer in (
        client.send("GET", "/"),
        client.post("input", model="a", text=""),
        client.send("GET", "/", host="evil.example"),
    ):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"


OTHERS = [
    *("evil.example", "evil.example:8765", "127.0.0.1.evil.example", "localhost.", "", "localhost:", "localhost:1234"),
    *("127.0.0.1:87650", "127.0.0.1:evil", "127.0.0.1:8765:8765", "localhost:8765@evil.example", "[::1]:80", "::1"),
]


@pytest.mark.parametrize("host", OTHERS)
def test_other_hosts_are_kept_out(client: Client, host: str) -> None:
    answer = client.send("GET", "/api/models", host=host)
    assert answer.status == 421 and answer.json["error"]["code"] == "wrong_host"


@pytest.mark.parametrize("host", ["localhost", "LocalHost:8765", "127.0.0.1", "[::1]:8765", "[::1]"])
def test_this_machine_is_let_in(client: Client, host: str) -> None:
    assert client.send("GET", "/api/models", host=host).status == 200


def test_requests_that_are_none(client: Client) -> None:
    def code(**changes: Any) -> tuple[int, str]:
        answer = client.send("POST", "/api/input", **{"body": b'{"model": "a", "text": "x"}', **changes})
        return answer.status, answer.json["error"]["code"]

    assert code(body=b"{") == (422, "invalid")
    assert code(body=b"[]") == (422, "invalid")
    assert code(content_type="text/plain") == (422, "invalid")  # what another page may send without asking
    assert code(content_type="application/jsonp") == (422, "invalid")
    assert code(content_length="") == (422, "invalid")
    assert code(transfer_encoding="chunked") == (422, "invalid")  # whose body may be longer than it says
    assert code(content_length="2000000") == (413, "too_large")
    assert client.post("input", model="z", text="x").status == 404
    answer = client.post("attention", model="a", text=TEXT, layer=9)
    assert answer.json["error"] == {
        "code": "invalid",
        "message": "there is no layer 9: the model has 3",
        "values": {"field": "layer"},
    }
    assert client.post("input", model="a", text="a" * 100_000).json["error"]["values"] == {
        "field": "text",
        "limit": 20_000,
        "found": 100_000,
    }


def test_more_than_is_taken(client: Client) -> None:
    answer = client.post("context", model="a", word="the", texts=["the cat"] * 17)
    assert answer.json["error"] == {
        "code": "too_many",
        "message": "texts has 17 entries; at most 16 are taken: leave some out",
        "values": {"field": "texts", "limit": 16, "found": 17},
    }


def test_the_page_has_words_for_every_refusal() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in Path(server.__file__).parent.glob("*.py"))
    codes = set(re.findall(r'(?:Refusal|Missing)\(\s*"(\w+)"', sources))
    assert codes > {"busy", "no_captum", "too_many"}
    words = page_files()["words.js"]
    assert [code for code in sorted(codes) if f'"error.{code}": [' not in words] == []


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "שלום", "😀👩‍👩‍👧", "a\x00b", "x" * 20_000])
def test_any_text_is_answered(client: Client, text: str) -> None:
    answer = client.post("input", model="a", text=text)
    assert answer.status == 200 and answer.json["text"] == text


def test_a_fault_of_ours_is_no_traceback_in_the_page(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(Gallery, "read", fail)
    answer = client.post("input", model="a", text=TEXT)
    assert answer.status == 500 and answer.json["error"]["code"] == "failed" and b"secret" not in answer.body


def test_openapi_describes_requests_and_answers(client: Client) -> None:
    described = client.send("GET", "/openapi.json").json
    assert set(described["paths"]) == {f"/api/{view}" for view in VIEWS} | {"/api/models", "/api/progress/{name}"}
    schemas = described["components"]["schemas"]
    assert schemas["AttentionRequest"]["properties"]["layer"]["minimum"] == 1
    assert schemas["TextRequest"]["properties"]["text"]["maxLength"] == 20_000
    assert schemas["Attention"]["properties"]["heads"]["required"] == ["shape", "low", "high", "data"]
    assert schemas["ErrorAnswer"]["properties"]["error"] == {"$ref": "#/components/schemas/Problem"}
    assert schemas["HeadSummary"]["properties"]["entropy"] == {"type": "number", "title": "Entropy"}


def test_openapi_has_every_status(client: Client) -> None:
    source = Path(server.__file__).with_name("guard.py").read_text(encoding="utf-8")
    given = set(re.findall(r'"\w+": (\d\d\d),', source)) | {"200", "422", "499"}
    operations = client.send("GET", "/openapi.json").json["paths"]
    for path, operation in operations.items():
        (described,) = (one["responses"] for one in operation.values())
        views_alone = {"404", "413", "499", "503"} | ({"422"} if path == "/api/models" else set())
        assert described.keys() == given - (set() if "post" in operation else views_alone)
        for status, response in described.items():
            schema = response["content"]["application/json"]["schema"]
            assert (schema == {"$ref": "#/components/schemas/ErrorAnswer"}) == (status != "200")


@pytest.fixture
def address(gallery: Gallery) -> Iterator[tuple[str, int]]:
    """Where a real server listens."""
    with server.listen(0) as listening:
        running = server.make_server(gallery)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        yield listening.getsockname()
        running.should_exit = True
        thread.join()


def _said(address: tuple[str, int], sent: bytes) -> bytes:
    """Return everything that the server says to some bytes until it closes the connection."""
    with socket.create_connection(address) as connection:
        connection.sendall(sent.replace(b"PORT", str(address[1]).encode()))
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


@pytest.mark.parametrize(
    "sent",
    [
        b"POST /api/heads HTTP/1.1\r\nHost: localhost:PORT\r\n",
        b"POST /api/heads HTTP/1.1\r\nHost: localhost:PORT\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{",
        b"GET /api/models HTTP/1.1\r\nHost: localhost:PORT\r\n\r\nGET /api/models HTTP/1.1\r\nHost: loc",
        b"GET",
        b"",
    ],
)
def test_a_request_that_is_never_whole_is_given_up(
    address: tuple[str, int], sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "SENDING_SECONDS", 0.05)
    said = _said(address, sent)
    n_whole = sent.count(b"GET /api/models HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n")
    assert said.count(b"HTTP/1.1 200 OK") == n_whole
    if not sent:
        assert said == b""
    elif not n_whole:
        assert said.startswith(b"HTTP/1.1 408 ") and json.loads(said.partition(b"\r\n\r\n")[2])["error"]["code"] == "too_slow"


def test_what_is_no_http_is_refused_as_all_else_is(address: tuple[str, int]) -> None:
    said = _said(address, b"\x16\x03\x01 nonsense\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 400 ") and b"content-security-policy" in said
    assert json.loads(said.partition(b"\r\n\r\n")[2])["error"]["code"] == "not_http"


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Event, list[bool]]]:
    """Slow views begin and do not end before they are cancelled; what they saw is in the list."""
    begun, seen = threading.Event(), []

    def endless(_: Any, watcher: Watcher = NOBODY) -> None:
        try:
            while True:
                watcher.reach(0.25)
                begun.set()
                os.sched_yield()
        except Cancelled:
            seen.append(True)
            raise

    monkeypatch.setattr("bertsmith.inspection.views.pseudo_perplexity", endless)
    yield begun, seen


def test_a_browser_that_leaves_stops_what_it_asked_for(client: Client, stuck: tuple[threading.Event, list[bool]]) -> None:
    begun, seen = stuck
    body = json.dumps({"model": "a", "text": TEXT}).encode()
    answer = client.send("POST", "/api/pseudo-perplexity", body, leaves=begun)
    assert answer.status == 499 and seen == [True]


def test_the_page_can_ask_how_far_a_request_is(client: Client, stuck: tuple[threading.Event, list[bool]]) -> None:
    body, leaves = json.dumps({"model": "a", "text": TEXT}).encode(), threading.Event()

    async def share(name: str) -> Any:
        return (await client.converse("GET", f"/api/progress/{name}", b"")).json["share"]

    async def all_of_it() -> list[Any]:
        named = [client.converse("POST", "/api/pseudo-perplexity", body, leaves, x_request_name=name) for name in ("a", "b")]
        asked = [asyncio.create_task(one) for one in named]
        await asyncio.to_thread(stuck[0].wait)
        shares = [await share(name) for name in ("a", "b", "c")]
        leaves.set()
        await asyncio.gather(*asked)
        return [*shares, await share("a")]

    assert asyncio.run(all_of_it()) == [0.25, None, None, None]


def test_a_long_request_keeps_no_short_one_waiting(client: Client, stuck: tuple[threading.Event, list[bool]]) -> None:
    body, leaves = json.dumps({"model": "a", "text": TEXT}).encode(), threading.Event()

    async def both() -> tuple[Answer, Answer, Answer]:
        slow = asyncio.create_task(client.converse("POST", "/api/pseudo-perplexity", body, leaves))
        waiting = asyncio.create_task(client.converse("POST", "/api/pseudo-perplexity", body, leaves))
        await asyncio.to_thread(stuck[0].wait)
        quick = await client.converse("POST", "/api/heads", body)
        assert not slow.done() and not waiting.done()
        leaves.set()
        return quick, await slow, await waiting

    quick, slow, waiting = asyncio.run(both())
    assert (quick.status, slow.status, waiting.status) == (200, 499, 499)
    assert len(stuck[1]) == 1  # the one that waited was never begun


def test_answers_about_long_passages_keep_no_short_one_waiting(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, ends = threading.Event(), threading.Event()

    def answer(*_: Any) -> None:
        begun.set()
        ends.wait()
        raise Cancelled

    monkeypatch.setattr("bertsmith.inspection.views.task_answer", answer)
    body = json.dumps({"model": "a", "text": TEXT}).encode()

    async def all_three() -> Answer:
        long = [asyncio.create_task(client.converse("POST", "/api/task", body, None)) for _ in range(2)]
        await asyncio.to_thread(begun.wait)
        try:
            return await asyncio.wait_for(client.converse("POST", "/api/heads", body, None), 60)
        finally:
            ends.set()
            await asyncio.gather(*long)

    assert asyncio.run(all_three()).status == 200


def test_no_more_wait_than_can_be_answered(
    client: Client, stuck: tuple[threading.Event, list[bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_MOST_WAITING", 1)
    body, leaves = json.dumps({"model": "a", "text": TEXT}).encode(), threading.Event()

    async def two() -> Answer:
        slow = asyncio.create_task(client.converse("POST", "/api/pseudo-perplexity", body, leaves))
        await asyncio.to_thread(stuck[0].wait)
        refused = await client.converse("POST", "/api/pseudo-perplexity", body)
        leaves.set()
        await slow
        return refused

    refused = asyncio.run(two())
    assert refused.status == 503 and refused.json["error"]["code"] == "busy"


def test_answers_are_kept(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    first = client.post("heads", model="a", text=TEXT)
    monkeypatch.setattr(Gallery, "read", None)
    assert client.post("heads", model="a", text=TEXT).body == first.body


def test_a_port_in_use_is_named_with_one_that_is_free() -> None:
    with server.listen(0) as taken:
        port = taken.getsockname()[1]
        assert taken.getsockname()[0] == "127.0.0.1"
        with pytest.raises(UsageError, match=rf"port {port} is in use; take another, such as --port \d+") as caught:
            server.listen(port)
    with server.listen(int(str(caught.value).rpartition(" ")[2])):
        pass
    with server.listen(port):  # it is free again at once
        pass


def test_served_until_ctrl_c(toy_directory: Path) -> None:
    command = [sys.executable, "-m", "bertsmith", "inspect", str(toy_directory / "model"), "--no-browser", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        address = process.stdout.readline().split()[3]
        with urllib.request.urlopen(address + "api/models") as response:
            assert json.load(response)["models"][0]["name"] == "model"
        with socket.create_connection(("127.0.0.1", int(address.strip("/").rpartition(":")[2]))) as leaving:
            leaving.sendall(b"POST /api/heads HTTP/1.1\r\nHost: localhost\r\n")  # and says no more
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == ""
