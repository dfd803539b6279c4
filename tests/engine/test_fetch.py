"""`hhray fetch-weights` against a real HTTP server that imitates the two hubs' listing and download APIs."""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from engine.fetch import verbs
from engine.fetch.catalogue import PARTS, choose_parts, require_licences
from hhray.errors import ConfigError, ServerUnreachable

MODEL = "GAIR/daVinci-MagiHuman"
LARGE = random.Random(7).randbytes(3_000_000)
FILES = {
    MODEL: {
        "distill/model-00001-of-00002.safetensors": LARGE,
        "distill/model-00002-of-00002.safetensors": LARGE[::-1],
        "distill/model.safetensors.index.json": b'{"weight_map": {}}',
        "turbo_vae/checkpoint-340000.ckpt": b"turbo",
        "README.md": b"not asked for",
    },
    "google/t5gemma-9b-9b-ul2": {"config.json": b"{}", "sub/model.safetensors": b"text"},
}


class FakeHub:
    """What the server does wrong, and what it was asked."""

    def __init__(self) -> None:
        self.cut_after: list[int] = []  # bytes after which the next bodies break off
        self.wrong_bytes = False
        self.ignores_ranges = False
        self.token = ""
        self.busy = 0
        self.outside = False
        self.requests: list[tuple[str, str, str]] = []  # path, range, authorization


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def log_message(self, *args):
        pass

    def do_GET(self):
        url, hub = urlsplit(self.path), self.hub
        path, query = unquote(url.path), {key: values[0] for key, values in parse_qs(url.query).items()}
        hub.requests.append((path, self.headers.get("range", ""), self.headers.get("authorization", "")))
        if hub.token and self.headers.get("authorization") != f"Bearer {hub.token}":
            return self.answer(401, b"")
        repository = next((name for name in FILES if f"/{name}/" in f"{path}/"), None)
        if repository is None:
            return self.answer(404, b"")
        if "/api/models/" in path:
            return self.huggingface_listing(repository, path, query)
        if path.endswith("/repo/files"):
            return self.modelscope_listing(repository, query)
        name = query.get("FilePath") or path.partition("/resolve/main/")[2]
        return self.send_file(FILES[repository][name])

    def huggingface_listing(self, repository, path, query):
        folder = path.partition("/tree/main")[2].strip("/")
        names = [name for name in FILES[repository] if name.startswith(folder)]
        entries = [{"type": "directory", "path": folder or "sub", "size": 0, "oid": "0"}]
        for name in names:
            data = FILES[repository][name]
            entry = {"type": "file", "path": name, "size": len(data), "oid": git_blob(data)}
            if name.endswith((".safetensors", ".ckpt")):
                entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}
            entries.append(entry)
        if self.hub.outside:
            entries.append({"type": "file", "path": f"{folder}/../../evil", "size": 1, "oid": "0"})
        first = int(query.get("cursor", 0))  # two entries a page
        link = f'<http://elsewhere.invalid{path}?recursive=true&cursor={first + 2}>; rel="next"'
        self.answer(200, json.dumps(entries[first : first + 2]).encode(), link if first + 2 < len(entries) else "")

    def modelscope_listing(self, repository, query):
        files = [{"Path": "distill", "Type": "tree", "Size": 0, "Sha256": ""}]
        for name, data in FILES[repository].items():
            if name.startswith(query["Root"]):
                sha = hashlib.sha256(data).hexdigest()
                files.append({"Path": name, "Type": "blob", "Size": len(data), "Sha256": sha})
        self.answer(200, json.dumps({"Code": 200, "Data": {"Files": files}}).encode())

    def send_file(self, data):
        hub, first = self.hub, 0
        if hub.busy:
            hub.busy -= 1
            return self.answer(503, b"")
        if hub.wrong_bytes:
            data = bytes(len(data))
        asked = self.headers.get("range", "")
        if asked and not hub.ignores_ranges:
            first = int(asked.removeprefix("bytes=").removesuffix("-"))
        body = data[first:]
        self.send_response(206 if first else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if hub.cut_after and len(body) > hub.cut_after[0]:
            self.wfile.write(body[: hub.cut_after.pop(0)])
            self.close_connection = True
            return None
        self.wfile.write(body)
        return None

    def answer(self, code, body, link=""):
        self.send_response(code)
        self.send_header("content-length", str(len(body)))
        if link:
            self.send_header("link", link)
        self.end_headers()
        self.wfile.write(body)


def git_blob(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@pytest.fixture
def hub(monkeypatch):
    state = FakeHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": state}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(verbs, "FIRST_PAUSE_SECONDS", 0.001)
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


def fetch(hub, folder, *words, source="huggingface", parts="distill"):
    (verb,) = verbs.VERBS
    parser = argparse.ArgumentParser()
    verb.configure(parser)
    options = ["--from", source, "--to", str(folder), "--parts", parts, "--hub-url", hub.url, *words]
    return verb.run(parser.parse_args(options))


def distill_is_whole(folder):
    expected = {name.removeprefix("distill/"): data for name, data in FILES[MODEL].items() if name.startswith("dist")}
    return {path.name: path.read_bytes() for path in (folder / "distill").iterdir()} == expected


def downloads(hub):
    return [(path, asked) for path, asked, _ in hub.requests if "/api/models/" not in path]


@pytest.mark.parametrize("source", ["huggingface", "modelscope"])
def test_a_part_arrives_whole_from_either_hub(hub, tmp_path, capsys, source):
    assert fetch(hub, tmp_path, "--json", source=source) == 0
    assert distill_is_whole(tmp_path)
    (part,) = json.loads(capsys.readouterr().out)["parts"]
    assert part == {
        "part": "distill", "repository": MODEL, "licence": "apache-2.0", "gated": False, "files": 3, "bytes": 6_000_018,
    }  # fmt: skip


def test_broken_connections_are_resumed_where_they_broke(hub, tmp_path):
    hub.cut_after = [1_000_000, 700_000]
    assert fetch(hub, tmp_path) == 0
    assert distill_is_whole(tmp_path)
    first = [asked for path, asked in downloads(hub) if "00001" in path]
    assert [asked.partition("=")[2] for asked in first] == ["", "1000000-", "1700000-"]


def test_a_hub_in_passing_trouble_is_asked_again(hub, tmp_path):
    hub.busy = 3
    assert fetch(hub, tmp_path) == 0
    assert distill_is_whole(tmp_path)


def test_a_later_run_goes_on_and_a_third_fetches_nothing(hub, tmp_path):
    hub.cut_after = [1_000_000, *[0] * 5]
    with pytest.raises(ServerUnreachable, match=r"stopped at 1,000,000 of 3,000,000 bytes: .*; run the command again"):
        fetch(hub, tmp_path)
    hub.requests.clear()
    assert fetch(hub, tmp_path) == 0
    assert distill_is_whole(tmp_path)
    assert downloads(hub)[0][1] == "bytes=1000000-"
    hub.requests.clear()
    assert fetch(hub, tmp_path) == 0
    assert downloads(hub) == []


def test_a_hub_that_ignores_ranges_starts_over(hub, tmp_path):
    hub.ignores_ranges, hub.cut_after = True, [1_000_000]
    assert fetch(hub, tmp_path) == 0
    assert distill_is_whole(tmp_path)


@pytest.mark.parametrize("part", ["distill", "turbo_vae"])
def test_wrong_bytes_are_refused_and_deleted(hub, tmp_path, part):
    hub.wrong_bytes = True
    with pytest.raises(ConfigError, match=r"is not what the hub lists: expected .* bytes with checksum"):
        fetch(hub, tmp_path, parts=part)
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_small_files_are_checked_by_their_git_id(hub, tmp_path):
    assert fetch(hub, tmp_path, "--accept-licence", "gemma", parts="text") == 0
    assert (tmp_path / "text" / "config.json").read_bytes() == b"{}"
    assert (tmp_path / "text" / "sub" / "model.safetensors").read_bytes() == b"text"
    hub.wrong_bytes = True
    with pytest.raises(ConfigError, match=r"config\.json is not what the hub lists"):
        fetch(hub, tmp_path / "again", "--accept-licence", "gemma", parts="text")


def test_a_gated_part_needs_its_licence_by_name_and_shows_it_before(hub, tmp_path, capsys):
    with pytest.raises(ConfigError, match=r"text is under 'gemma', .* and add --accept-licence gemma"):
        fetch(hub, tmp_path, "--accept-licence", "stability-ai-community", parts="turbo_vae,text")
    shown = capsys.readouterr().out
    assert "gemma" in shown
    assert "google/t5gemma-9b-9b-ul2" in shown
    assert downloads(hub) == []
    assert fetch(hub, tmp_path, "--list", parts="text") == 0  # looking needs no licence
    assert not any(tmp_path.iterdir())
    with pytest.raises(ConfigError, match="--accept-licence gemma --accept-licence stability-ai-community"):
        require_licences(PARTS.values(), ())
    require_licences(PARTS.values(), ("gemma", "stability-ai-community"))


def test_the_token_comes_from_the_settings_and_is_never_shown(hub, tmp_path, monkeypatch, capsys, caplog):
    caplog.set_level("DEBUG")
    hub.token = "hf_secret"
    with pytest.raises(ConfigError, match=r"the hub refuses .* \(401\): .*HHRAY_HUB__HUGGINGFACE_TOKEN"):
        fetch(hub, tmp_path)
    monkeypatch.setenv("HHRAY_HUB__HUGGINGFACE_TOKEN", "hf_secret")
    assert fetch(hub, tmp_path) == 0
    assert {authorization for *_, authorization in hub.requests[1:]} == {"Bearer hf_secret"}
    shown = capsys.readouterr()
    assert "hf_secret" not in shown.out + shown.err + caplog.text


def test_files_outside_of_the_folder_are_refused(hub, tmp_path):
    hub.outside = True
    with pytest.raises(ConfigError, match="lists a file outside of its folder"):
        fetch(hub, tmp_path / "to")
    assert not (tmp_path / "evil").exists()


def test_a_full_disk_is_said_before_anything_comes(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: argparse.Namespace(free=1_000_000))
    with pytest.raises(ConfigError, match=r"has room for 0\.0 GB only"):
        fetch(hub, tmp_path)
    assert downloads(hub) == []


def test_what_is_unknown_or_absent_is_refused(hub, tmp_path):
    with pytest.raises(ConfigError, match="no part 'sound'; there are: base, distill"):
        choose_parts(["sound"])
    with pytest.raises(ConfigError, match=r"the hub has no Wan-AI/Wan2\.2-TI2V-5B-Diffusers \(404\)"):
        fetch(hub, tmp_path, parts="video_vae")
    hub.url = "http://127.0.0.1:9"
    with pytest.raises(ServerUnreachable, match="does not answer"):
        fetch(hub, tmp_path)
