"""Test Content Credentials: what is kept of a manifest, its validation, and that nothing is downloaded."""

import datetime
import json

import pytest

from deepscan.media import credentials
from deepscan.media.credentials import claims, read_credentials
from deepscan.media.source import SourceFile
from tests import awkward

STORE = {
    "active_manifest": "a",
    "manifests": {
        "a": {
            "claim_generator_info": [{"name": "editor\x1b", "version": "1.2"}],
            "title": "t" * 999,
            "signature_info": {"issuer": "Maker", "common_name": "Camera", "time": "2026-11-30T08:00:00Z"},
            "assertions": [
                {
                    "label": "c2pa.actions.v2",
                    "data": {
                        "actions": [
                            {"action": "c2pa.created", "digitalSourceType": "http://x/digitalCapture"},
                            *[{"action": f"c2pa.{at}"} for at in range(99)],
                        ]
                    },
                }
            ],
        }
    },
    "validation_results": {"activeManifest": {"failure": [{"code": "assertion.bmffHash.mismatch"}]}},
}


def read(path):
    with SourceFile(bytes(path)) as source:
        return read_credentials(source)


def test_what_is_kept_of_a_manifest_is_short_and_printable():
    found = claims(STORE, "Invalid")
    assert (found["state"], found["signer"], found["signed"]) == ("invalid", "Camera", "2026-11-30T08:00:00Z")
    assert found["generator"] == "editor 1.2"
    assert found["actions"][0] == "c2pa.created (digitalCapture)"
    assert found["problems"] == ["assertion.bmffHash.mismatch"]
    assert len(json.dumps(found)) < 2000


def test_a_store_without_a_manifest_claims_nothing():
    assert not any(value for key, value in claims({}, None).items() if key != "state")


def test_without_the_library_nothing_is_reported_and_nothing_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(credentials, "installed", lambda: False)
    monkeypatch.setattr(credentials, "_has_mark", lambda source: pytest.fail("the file was read"))
    assert read(awkward.video(tmp_path / "a.mp4", 3)) is None


def test_a_mark_across_two_chunks_is_found(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"--c2pa--")
    for size in (3, 4, 5):
        monkeypatch.setattr(credentials, "_CHUNK", size)
        with SourceFile(bytes(path)) as source:
            assert credentials._has_mark(source)


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    """Return a video with an embedded manifest, and one with a remote manifest."""
    c2pa = pytest.importorskip("c2pa")
    folder = tmp_path_factory.mktemp("signed")
    plain = awkward.video(folder / "plain.mp4", 5)
    manifest = {
        "claim_generator_info": [{"name": "sample editor", "version": "1.2"}],
        "title": "<b>clip</b>",
        "assertions": [
            {
                "label": "c2pa.actions",
                "data": {
                    "actions": [{"action": "c2pa.created", "digitalSourceType": "http://x/digitalCapture"}]
                },
            }
        ],
    }
    made = {}
    for name in ("here", "elsewhere"):
        builder = c2pa.Builder(json.dumps(manifest))
        if name == "elsewhere":
            builder.set_no_embed()
            builder.set_remote_url("http://127.0.0.1:9/far.c2pa")
        made[name] = folder / f"{name}.mp4"
        with plain.open("rb") as source, made[name].open("wb+") as target:
            builder.sign(_signer(c2pa), "video/mp4", source, target)
    return made


def _signer(c2pa):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def name(organisation, common):
        parts = ((NameOID.ORGANIZATION_NAME, organisation), (NameOID.COMMON_NAME, common))
        return x509.Name([x509.NameAttribute(which, text) for which, text in parts])

    def certificate(subject, issuer, key, by, *, root):
        now = datetime.datetime.now(datetime.UTC)
        usage = dict.fromkeys(
            [
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "encipher_only",
                "decipher_only",
            ],
            False,
        )
        built = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=root, path_length=None), critical=True)
            .add_extension(
                x509.KeyUsage(digital_signature=not root, key_cert_sign=root, crl_sign=root, **usage),
                critical=True,
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False
            )
        )
        if not root:
            built = built.add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False
            )
        return built.sign(by, hashes.SHA256())

    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root, own = name("Test CA", "Test Root"), name("Sample Maker", "Sample Camera")
    chain = [
        certificate(own, root, key, root_key, root=False),
        certificate(root, root, root_key, root_key, root=True),
    ]
    pem = b"".join(link.public_bytes(serialization.Encoding.PEM) for link in chain)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return c2pa.Signer.from_info(
        c2pa.C2paSignerInfo(alg=b"es256", sign_cert=pem, private_key=private, ta_url=None)
    )


def test_a_manifest_validates_until_a_byte_changes(signed, tmp_path):
    found = read(signed["here"])
    assert (found["state"], found["generator"], found["signer"]) == (
        "valid",
        "sample editor 1.2",
        "Sample Camera",
    )
    changed = bytearray(signed["here"].read_bytes())
    changed[changed.rindex(b"mdat") + 100] ^= 0xFF
    (tmp_path / "changed.mp4").write_bytes(changed)
    assert read(tmp_path / "changed.mp4")["state"] == "invalid"


def test_a_remote_manifest_is_not_downloaded(signed):
    assert read(signed["elsewhere"])["state"] == "elsewhere"


def test_a_video_without_a_manifest_has_none(signed, tmp_path):
    assert read(awkward.video(tmp_path / "a.mp4", 3)) is None
