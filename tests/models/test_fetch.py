"""Fetching: only what is accepted, from the hub or an address, resumed, the same file as at first."""

import dataclasses
import http.server
import shutil
import threading
from pathlib import Path
from typing import ClassVar

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

from deepscan.backbones import weights
from deepscan.cards import sha256_of
from deepscan.errors import ContractError, MissingError, UsageError
from deepscan.models import fetch, importing
from deepscan.models.catalogue import catalogue
from deepscan.models.fetch import DOWNLOADS, backbone_source, download, pull_model
from deepscan.models.store import record_hash, remove_model
from tests.models import replicas

CONTENT = bytes(range(256)) * 40


class Hub:
    """A repository with files of its own, in the place of the hub."""

    def __init__(self, folder):
        self.folder, self.asked, self.fetched, self.commit = folder, [], [], "c0ffee" + "0" * 34
        self.snapshot = folder.parent / "snapshots" / self.commit

    def model_info(self, repository, *, revision, timeout):
        self.asked.append((repository, revision))
        return type("Info", (), {"sha": self.commit})

    def hf_hub_download(self, repository, file, *, revision, local_dir):
        assert revision == self.commit
        local_dir = local_dir or self.snapshot
        self.fetched.append(file)
        if not (self.folder / file).is_file():
            raise EntryNotFoundError.__new__(EntryNotFoundError)  # its arguments change with versions
        return shutil.copy(self.folder / file, Path(local_dir) / file)


def only(monkeypatch, name, source, **changes):
    """Let the catalogue know one model alone, at another source."""
    known = catalogue()[name]
    small = {name: dataclasses.replace(known, source=dataclasses.replace(known.source, **source), **changes)}
    monkeypatch.setattr(importing, "catalogue", lambda: small)
    monkeypatch.setattr(fetch, "known", small.__getitem__)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub that has a small GenD, with an empty cache; the catalogue's counts and hash are left out."""
    (tmp_path / "hub").mkdir()
    made = Hub(tmp_path / "hub")
    torch.save(replicas.gend(), made.folder / "model.pth")
    (made.folder / "config.json").write_text('{"head": "linear"}')
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *asked, **how: None)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: made)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", made.hf_hub_download)
    source = {"file": "model.pth", "bytes": None, "sha256": "", "sha256_from": ""}
    only(monkeypatch, "gend", source, tensors=None, elements=None)
    return made


def pulled(store, name="gend", accepted=True, offline=False):
    said = []
    return pull_model(name, store, accepted=accepted, offline=offline, on_progress=said.append), said


def test_pulling_installs_what_the_hub_has(hub, store):
    card, said = pulled(store)
    assert card.folder == store / "gend" and not (store / DOWNLOADS / "gend").exists()
    assert card.source["revision"] == hub.commit and card.source["terms_accepted"] is True
    # The config beside it has been fetched and read.
    assert card.network["normalise"] is False
    assert hub.asked == [("yermandy/GenD_CLIP_L_14", catalogue()["gend"].source.revision)]
    assert any(line.startswith("terms of gend: MIT") for line in said)


def test_a_config_that_is_not_there_is_said_and_assumed(hub, store):
    (hub.folder / "config.json").unlink()
    card, said = pulled(store)
    assert card.network["normalise"] is True and card.source["assumed"]
    assert any("has no config.json" in line for line in said)


def test_terms_are_shown_and_must_be_accepted(hub, store):
    said = []
    with pytest.raises(UsageError) as raised:
        pull_model("gend", store, accepted=False, offline=False, on_progress=said.append)
    assert "--accept-license" in raised.value.hint and "terms of gend: MIT" in said[0]
    assert not hub.asked and not store.exists()


def test_what_is_fetched_later_must_be_what_came_first(hub, store):
    pulled(store)
    remove_model("gend", store)
    torch.save(replicas.gend(seed=9), hub.folder / "model.pth")
    with pytest.raises(ContractError, match="not the file that was gend at first"):
        pulled(store)
    # What came is not gone on with.
    assert not (store / DOWNLOADS / "gend").exists()
    torch.save(replicas.gend(), hub.folder / "model.pth")
    assert pulled(store)[0].name == "gend"


def test_offline_nothing_is_asked_for(hub, store):
    with pytest.raises(MissingError, match="--offline fetches nothing"):
        pulled(store, offline=True)
    assert not hub.asked


@pytest.fixture
def cached(hub, store, monkeypatch):
    """Another program has fetched the file into the hub's cache; what it first was is known."""
    hub.snapshot.mkdir(parents=True)
    store.mkdir()
    shutil.copy(hub.folder / "model.pth", hub.snapshot)
    record_hash("gend", sha256_of(hub.folder / "model.pth"), store)

    def kept(repository, file, revision):
        return str(hub.snapshot / file) if (hub.snapshot / file).is_file() else None

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", kept)
    return hub.snapshot


@pytest.mark.parametrize("offline", [False, True])
def test_what_the_hubs_cache_has_is_not_fetched(offline, hub, cached, store):
    shutil.copy(hub.folder / "config.json", cached)
    card, _ = pulled(store, offline=offline)
    assert not hub.asked and not hub.fetched
    assert card.source["revision"] == hub.commit and (cached / "model.pth").is_file()
    assert card.network["normalise"] is False


def test_what_says_how_it_is_read_is_fetched_where_the_cache_lacks_it(hub, cached, store):
    card, _ = pulled(store)
    assert hub.fetched == ["config.json"] and hub.asked == [("yermandy/GenD_CLIP_L_14", hub.commit)]
    assert card.network["normalise"] is False and "assumed" not in card.source


def test_offline_what_the_cache_lacks_is_said_and_assumed(hub, cached, store):
    card, said = pulled(store, offline=True)
    assert not hub.asked and card.source["assumed"]
    assert any("config.json" in line and "--offline" in line for line in said)


def refusing(error):
    """Return what raises an error, however it is called."""

    def refuse(*asked, **how):
        raise error

    return refuse


def test_what_says_how_it_is_read_being_out_of_reach_is_not_its_absence(hub, cached, store, monkeypatch):
    refuse = refusing(LocalEntryNotFoundError("no route to host"))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    with pytest.raises(MissingError, match="no route to host"):
        pulled(store)


@pytest.mark.parametrize("fault", ["cut", "unknown"])
def test_a_file_in_the_hubs_cache_is_no_dead_end(fault, hub, cached, store):
    """One that is bad, or of which nobody knows whether it is, is fetched in its place."""
    if fault == "unknown":
        remove_model("gend", store, forget=True)
    (cached / "model.pth").write_bytes((hub.folder / "model.pth").read_bytes()[:1000])
    card, said = pulled(store)
    assert hub.fetched == ["config.json", "model.pth"]
    assert card.source["sha256"] == sha256_of(hub.folder / "model.pth")
    assert any("cache is not taken" in line for line in said)


def test_a_hub_out_of_reach_is_missing_and_says_what_to_do(hub, store, monkeypatch):
    monkeypatch.setattr(hub, "model_info", refusing(ConnectionError("no route to host")))
    with pytest.raises(MissingError, match="no route to host") as raised:
        pulled(store)
    assert "deepscan models import FILE --as gend" in raised.value.hint


@pytest.mark.parametrize(
    ("name", "kind", "word"),
    [
        ("effort-ff", MissingError, "needs a browser"),
        ("forensics-adapter", ContractError, "not deterministic"),
        ("gendd", UsageError, "no published model"),
    ],
)
def test_what_cannot_be_pulled_says_why(name, kind, word, store):
    with pytest.raises(kind, match=word):
        pulled(store, name)


def test_a_backbone_is_fetched_only_where_a_head_needs_it(tmp_path, store, monkeypatch):
    """And after all that can be said against the file, or its name."""
    asked = []

    def fetched(name, offline, instead):
        asked.append((name, offline))
        return tmp_path / "clip.pth"

    monkeypatch.setattr(weights, "fetch_backbone", fetched)
    torch.save(replicas.open_clip(), tmp_path / "clip.pth")
    head, whole = tmp_path / "head.pth", tmp_path / "whole.pth"
    torch.save(replicas.unifd(), head)
    torch.save(replicas.gend(), whole)
    backbone = backbone_source("hub", offline=True)
    for path, name, kind in (
        (head, "convnet", UsageError),
        (head, "forensics-adapter", ContractError),
        (tmp_path / "none.pth", "mine", UsageError),
        (head, "unifd", ContractError),
        (whole, "mine", UsageError),
    ):
        with pytest.raises(kind):
            importing.import_model(importing.Origin(path, backbone=backbone), name, store)
    assert not asked
    card = importing.import_model(importing.Origin(head, backbone=backbone), "mine", store)
    assert asked == [("clip-vit-l14", True)] and card.source["tower"]["file"] == "clip.pth"


def test_a_backbone_is_a_file_or_none(tmp_path):
    assert backbone_source("", offline=False) is None
    assert backbone_source("clip.pt", offline=False) == Path("clip.pt")


def test_a_backbone_that_cannot_be_had_says_how_to_go_on(hub, store):
    with pytest.raises(MissingError, match="weights of clip-vit-l14 are not in the hub's cache") as raised:
        backbone_source("hub", offline=True)("clip-vit-l14")
    assert raised.value.hint == (
        "fetch open_clip_model.safetensors of the Hugging Face repository "
        "timm/vit_large_patch14_clip_224.openai where there is a network, "
        "then: deepscan models import HEAD --as NAME --backbone FILE"
    )


class Server(http.server.BaseHTTPRequestHandler):
    """Gives a file, in part where that is asked for; `stop` ends the first answers early."""

    stop: ClassVar[list[int]] = []
    ranges: ClassVar[list[str | None]] = []

    def do_GET(self):
        asked = self.headers.get("Range")
        type(self).ranges.append(asked)
        begin = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if begin >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(CONTENT) - begin))
        self.end_headers()
        end = type(self).stop.pop() if type(self).stop else len(CONTENT)
        self.wfile.write(CONTENT[begin:end])

    def log_message(self, *said):
        pass


@pytest.fixture
def address():
    Server.stop, Server.ranges = [], []
    with http.server.HTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/file"
        server.shutdown()


def test_an_interrupted_download_goes_on(address, tmp_path):
    Server.stop = [1000]
    with pytest.raises(OSError, match="ended after 1,000 of 10,240"):
        download(address, tmp_path / "file", print)
    assert not (tmp_path / "file").exists()
    download(address, tmp_path / "file", print)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert Server.ranges == [None, "bytes=1000-"]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_beginning_of_something_else_is_begun_anew(address, tmp_path):
    (tmp_path / "file.part").write_bytes(b"x" * 20_000)
    with pytest.raises(OSError, match="416"):
        download(address, tmp_path / "file", print)
    download(address, tmp_path / "file", print)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_model_comes_from_an_address(address, tmp_path, store, monkeypatch):
    """UniFD's head comes from an address, its backbone from the hub."""
    torch.save(replicas.unifd(), tmp_path / "head.pth")
    torch.save(replicas.open_clip(), tmp_path / "clip.pth")
    monkeypatch.setitem(globals(), "CONTENT", (tmp_path / "head.pth").read_bytes())
    source = {"url": address, "bytes": len(CONTENT), "sha256": sha256_of(tmp_path / "head.pth")}
    only(monkeypatch, "unifd", source)
    monkeypatch.setattr(weights, "fetch_backbone", lambda name, **how: tmp_path / "clip.pth")
    with pytest.raises(ContractError, match="another than that of unifd"):
        pulled(store, "unifd")
    # One of the full size takes gigabytes.
    monkeypatch.setattr(importing, "_check_backbone", lambda *given: None)
    card, _ = pulled(store, "unifd")
    assert (card.method, card.source["threshold"], card.crop.scale) == ("unifd", 0.5, 1.1375)
