"""Downloading published models: accepted terms, the hub, addresses, resumption and hashes."""

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
    """A local repository in place of the hub."""

    def __init__(self, folder):
        self.folder, self.requests, self.downloads, self.commit = folder, [], [], "c0ffee" + "0" * 34
        self.snapshot = folder.parent / "snapshots" / self.commit

    def model_info(self, repository, *, revision, timeout):
        self.requests.append((repository, revision))
        return type("Info", (), {"sha": self.commit})

    def hf_hub_download(self, repository, file, *, revision, local_dir):
        assert revision == self.commit
        local_dir = local_dir or self.snapshot
        self.downloads.append(file)
        if not (self.folder / file).is_file():
            raise EntryNotFoundError.__new__(EntryNotFoundError)  # its arguments differ between versions
        return shutil.copy(self.folder / file, Path(local_dir) / file)


def reduce_catalogue(monkeypatch, name, source, **changes):
    """Reduce the catalogue to one model with another source."""
    model = catalogue()[name]
    model = dataclasses.replace(model, source=dataclasses.replace(model.source, **source), **changes)
    monkeypatch.setattr(importing, "catalogue", lambda: {name: model})
    monkeypatch.setattr(fetch, "published_model", {name: model}.__getitem__)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub with a small GenD and an empty cache; the catalogue has no counts and no hash."""
    (tmp_path / "hub").mkdir()
    repository = Hub(tmp_path / "hub")
    torch.save(replicas.gend(), repository.folder / "model.pth")
    (repository.folder / "config.json").write_text('{"head": "linear"}')
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *args, **kwargs: None)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: repository)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", repository.hf_hub_download)
    source = {"file": "model.pth", "bytes": None, "sha256": "", "sha256_from": ""}
    reduce_catalogue(monkeypatch, "gend", source, tensors=None, elements=None)
    return repository


def pulled(store, name="gend", accepted=True, offline=False):
    lines = []
    return pull_model(name, store, accepted=accepted, offline=offline, on_progress=lines.append), lines


def test_pulling_installs_the_hubs_model(hub, store):
    card, lines = pulled(store)
    assert card.folder == store / "gend" and not (store / DOWNLOADS / "gend").exists()
    assert card.source["revision"] == hub.commit and card.source["terms_accepted"] is True
    # The config has been downloaded and read.
    assert card.network["normalise"] is False
    assert hub.requests == [("yermandy/GenD_CLIP_L_14", catalogue()["gend"].source.revision)]
    assert any(line.startswith("terms of gend: MIT") for line in lines)


def test_a_missing_config_is_reported_and_defaults_are_assumed(hub, store):
    (hub.folder / "config.json").unlink()
    card, lines = pulled(store)
    assert card.network["normalise"] is True and card.source["assumed"]
    assert any("has no config.json" in line for line in lines)


def test_terms_are_shown_and_must_be_accepted(hub, store):
    lines = []
    with pytest.raises(UsageError) as raised:
        pull_model("gend", store, accepted=False, offline=False, on_progress=lines.append)
    assert "--accept-license" in raised.value.hint and "terms of gend: MIT" in lines[0]
    assert not hub.requests and not store.exists()


def test_a_later_download_must_be_the_same_file(hub, store):
    pulled(store)
    remove_model("gend", store)
    torch.save(replicas.gend(seed=9), hub.folder / "model.pth")
    with pytest.raises(ContractError, match="not the file first installed as gend"):
        pulled(store)
    # The wrong download is not resumed.
    assert not (store / DOWNLOADS / "gend").exists()
    torch.save(replicas.gend(), hub.folder / "model.pth")
    assert pulled(store)[0].name == "gend"


def test_offline_makes_no_request(hub, store):
    with pytest.raises(MissingError, match="--offline forbids downloads"):
        pulled(store, offline=True)
    assert not hub.requests


@pytest.fixture
def cached(hub, store, monkeypatch):
    """Another program has downloaded the file into the hub's cache; its first hash is recorded."""
    hub.snapshot.mkdir(parents=True)
    store.mkdir()
    shutil.copy(hub.folder / "model.pth", hub.snapshot)
    record_hash("gend", sha256_of(hub.folder / "model.pth"), store)

    def from_cache(repository, file, revision):
        return str(hub.snapshot / file) if (hub.snapshot / file).is_file() else None

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", from_cache)
    return hub.snapshot


@pytest.mark.parametrize("offline", [False, True])
def test_files_in_the_hubs_cache_are_not_downloaded(offline, hub, cached, store):
    shutil.copy(hub.folder / "config.json", cached)
    card, _ = pulled(store, offline=offline)
    assert not hub.requests and not hub.downloads
    assert card.source["revision"] == hub.commit and (cached / "model.pth").is_file()
    assert card.network["normalise"] is False


def test_a_config_missing_from_the_cache_is_downloaded(hub, cached, store):
    card, _ = pulled(store)
    assert hub.downloads == ["config.json"] and hub.requests == [("yermandy/GenD_CLIP_L_14", hub.commit)]
    assert card.network["normalise"] is False and "assumed" not in card.source


def test_offline_a_missing_config_is_reported_and_defaults_are_assumed(hub, cached, store):
    card, lines = pulled(store, offline=True)
    assert not hub.requests and card.source["assumed"]
    assert any("config.json" in line and "--offline" in line for line in lines)


def refusing(error):
    """Return a function that raises an error."""

    def refuse(*args, **kwargs):
        raise error

    return refuse


def test_an_unreachable_config_is_not_taken_for_a_missing_one(hub, cached, store, monkeypatch):
    refuse = refusing(LocalEntryNotFoundError("no route to host"))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    with pytest.raises(MissingError, match="no route to host"):
        pulled(store)


@pytest.mark.parametrize("fault", ["truncated", "unknown"])
def test_a_bad_or_unknown_file_in_the_hubs_cache_is_downloaded_again(fault, hub, cached, store):
    if fault == "unknown":
        remove_model("gend", store, forget=True)
    (cached / "model.pth").write_bytes((hub.folder / "model.pth").read_bytes()[:1000])
    card, lines = pulled(store)
    assert hub.downloads == ["config.json", "model.pth"]
    assert card.source["sha256"] == sha256_of(hub.folder / "model.pth")
    assert any("cache is not used" in line for line in lines)


def test_an_unreachable_hub_is_an_error_with_a_hint(hub, store, monkeypatch):
    monkeypatch.setattr(hub, "model_info", refusing(ConnectionError("no route to host")))
    with pytest.raises(MissingError, match="no route to host") as raised:
        pulled(store)
    assert "deepscan models import FILE --as gend" in raised.value.hint


@pytest.mark.parametrize(
    ("name", "kind", "word"),
    [
        ("effort-ff", MissingError, "needs a browser"),
        ("forensics-adapter", ContractError, "not deterministic"),
        ("gendd", UsageError, "unknown published model"),
    ],
)
def test_a_model_that_cannot_be_pulled_is_refused_with_the_reason(name, kind, word, store):
    with pytest.raises(kind, match=word):
        pulled(store, name)


def test_a_backbone_is_downloaded_only_for_a_head_that_needs_it(tmp_path, store, monkeypatch):
    """And only after all checks of the file and its name."""
    requests = []

    def fetch_backbone(name, offline, instead):
        requests.append((name, offline))
        return tmp_path / "clip.pth"

    monkeypatch.setattr(weights, "fetch_backbone", fetch_backbone)
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
    assert not requests
    card = importing.import_model(importing.Origin(head, backbone=backbone), "mine", store)
    assert requests == [("clip-vit-l14", True)] and card.source["tower"]["file"] == "clip.pth"


def test_a_backbone_is_a_file_or_none(tmp_path):
    assert backbone_source("", offline=False) is None
    assert backbone_source("clip.pt", offline=False) == Path("clip.pt")


def test_a_backbone_that_cannot_be_downloaded_is_an_error_with_a_hint(hub, store):
    with pytest.raises(MissingError, match="not in the Hugging Face cache") as raised:
        backbone_source("hub", offline=True)("clip-vit-l14")
    assert raised.value.hint == (
        "download open_clip_model.safetensors from the Hugging Face repository "
        "timm/vit_large_patch14_clip_224.openai on a machine with a network, "
        "then: deepscan models import HEAD --as NAME --backbone FILE"
    )


class Server(http.server.BaseHTTPRequestHandler):
    """Serves a file or a range of it; `stop` ends the first answers early."""

    stop: ClassVar[list[int]] = []
    ranges: ClassVar[list[str | None]] = []

    def do_GET(self):
        requested = self.headers.get("Range")
        type(self).ranges.append(requested)
        begin = int(requested.removeprefix("bytes=").removesuffix("-")) if requested else 0
        if begin >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if requested else 200)
        self.send_header("Content-Length", str(len(CONTENT) - begin))
        self.end_headers()
        end = type(self).stop.pop() if type(self).stop else len(CONTENT)
        self.wfile.write(CONTENT[begin:end])

    def log_message(self, *args):
        pass


@pytest.fixture
def address():
    Server.stop, Server.ranges = [], []
    with http.server.HTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/file"
        server.shutdown()


def test_an_interrupted_download_is_resumed(address, tmp_path):
    Server.stop = [1000]
    with pytest.raises(OSError, match="ended after 1,000 of 10,240"):
        download(address, tmp_path / "file", print)
    assert not (tmp_path / "file").exists()
    download(address, tmp_path / "file", print)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert Server.ranges == [None, "bytes=1000-"]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_part_of_another_file_is_discarded(address, tmp_path):
    (tmp_path / "file.part").write_bytes(b"x" * 20_000)
    with pytest.raises(OSError, match="416"):
        download(address, tmp_path / "file", print)
    download(address, tmp_path / "file", print)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_model_is_pulled_from_an_address(address, tmp_path, store, monkeypatch):
    """UniFD's head comes from an address, its backbone from the hub."""
    torch.save(replicas.unifd(), tmp_path / "head.pth")
    torch.save(replicas.open_clip(), tmp_path / "clip.pth")
    monkeypatch.setitem(globals(), "CONTENT", (tmp_path / "head.pth").read_bytes())
    source = {"url": address, "bytes": len(CONTENT), "sha256": sha256_of(tmp_path / "head.pth")}
    reduce_catalogue(monkeypatch, "unifd", source)
    monkeypatch.setattr(weights, "fetch_backbone", lambda name, **options: tmp_path / "clip.pth")
    with pytest.raises(ContractError, match="differs from that of unifd"):
        pulled(store, "unifd")
    # A full-size backbone would need gigabytes.
    monkeypatch.setattr(importing, "_check_backbone", lambda *args: None)
    card, _ = pulled(store, "unifd")
    assert (card.method, card.source["threshold"], card.crop.scale) == ("unifd", 0.5, 1.1375)
