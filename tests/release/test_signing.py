from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import release_world
from release_world import ADAPTERS, MODEL, VERSION, World, base, built, world  # noqa: F401

from opslore.errors import ConfigError, IntegrityError, MissingInput
from opslore.release import archive, counter, keys, papers, signing
from opslore.release.listing import CARD, EVALUATION, RELEASE, SIGNATURE


@pytest.fixture(autouse=True, scope="module")
def library() -> None:
    release_world.needs_openssl()


@pytest.fixture
def signed(world: World) -> World:
    signing.sign(world.folder, world.agent)
    return world


def state(folder: Path) -> dict[str, tuple[int, int]]:
    return {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in folder.iterdir()}


def refused(world: World, *words: str) -> IntegrityError:
    """Verify, expect a refusal that names these words, and exit 4."""
    with pytest.raises(IntegrityError) as caught:
        signing.verify(world.folder, world.agent)
    assert caught.value.exit_code == 4
    for word in words:
        assert word in caught.value.message
    return caught.value


def test_sign_and_verify(world: World, caplog: pytest.LogCaptureFixture) -> None:
    before = state(world.folder)
    fingerprint = signing.sign(world.folder, world.agent)
    found = signing.verify(world.folder, world.agent, VERSION)
    assert (found.agent, found.version, found.counter) == ("sre", VERSION, 1)
    assert found.key == fingerprint
    assert found.files[MODEL] == world.archives[MODEL]
    assert set(found.files) == set(before)
    assert {k: v for k, v in state(world.folder).items() if k != SIGNATURE} == before
    assert "made a signing key" in caplog.text
    caplog.clear()
    again = state(world.folder)
    assert signing.sign(world.folder, world.agent) == fingerprint
    assert state(world.folder) == again, "a re-run writes nothing"
    assert caplog.text == "", "told once"


def test_the_key_is_private(signed: World) -> None:
    own = keys.home() / "signing.pem"
    assert stat.S_IMODE(own.stat().st_mode) == 0o600
    assert stat.S_IMODE(own.parent.stat().st_mode) == 0o700
    assert sorted(p.name for p in own.parent.iterdir()) == ["signing.pem", "signing.pub"]
    found = subprocess.run(
        ["openssl", "pkey", "-in", own, "-pubout"], capture_output=True, check=True, timeout=60
    )
    assert found.stdout == own.with_name("signing.pub").read_bytes()


def test_the_packages_own_command_verifies_it(signed: World) -> None:
    command = [
        *(sys.executable, "-m", "model_signing", "verify", "key", signed.folder),
        *("--signature", signed.folder / SIGNATURE),
        *("--public_key", keys.home() / "signing.pub"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (signed.folder / CARD).write_text("another")
    assert subprocess.run(command, capture_output=True, timeout=120).returncode != 0


def test_openssl_agrees_with_the_signature(signed: World, tmp_path: Path) -> None:
    envelope = json.loads((signed.folder / SIGNATURE).read_text())["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"])
    kind = envelope["payloadType"]
    (tmp_path / "pae").write_bytes(f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload)
    (tmp_path / "sig").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    public = keys.home() / "signing.pub"
    command = ["openssl", "dgst", "-sha256", "-verify", public, "-signature", tmp_path / "sig"]
    done = subprocess.run(
        [*command, tmp_path / "pae"], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "Verified OK"


def test_another_machine_needs_the_public_key_only(
    signed: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = shutil.copy(keys.home() / "signing.pub", tmp_path / "sre.pub")
    downloaded = Path(shutil.copytree(signed.folder, tmp_path / "elsewhere" / "download"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "another machine"))
    found = signing.verify(downloaded, signed.trusting(Path(public)))
    assert found.version == VERSION
    for value in (str(public), Path(public).read_text()):
        monkeypatch.setenv("OPSLORE_TRUSTED_KEY", value)
        assert signing.check(downloaded, keys.trusted(), "sre", VERSION) == found
    assert not (tmp_path / "another machine").exists(), "verifying makes no key"


# Tampering: one case per way to change a release; each is named, and refused with exit 4.


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def edit_blessing(folder: Path) -> None:
    found = json.loads((folder / EVALUATION).read_text())
    found["gates"][0]["measured"] = "0.99"
    (folder / EVALUATION).write_text(json.dumps(found))


def edit_template(folder: Path) -> None:
    """Pack the model again with another Modelfile; the archive alone is valid."""
    room = folder.parent / "room"
    archive.unpack(folder / MODEL, room)
    text = (room / "Modelfile").read_text()
    (room / "Modelfile").write_text(text.replace(".Prompt", "evil"))
    archive.pack(room, ["Modelfile", "model.gguf"], folder / MODEL)
    assert archive.manifest(folder / MODEL)
    shutil.rmtree(room)


def swap(folder: Path) -> None:
    (folder / MODEL).rename(folder / "x")
    (folder / ADAPTERS).rename(folder / MODEL)
    (folder / "x").rename(folder / ADAPTERS)


def link(folder: Path) -> None:
    """The right bytes, but behind a link."""
    kept = shutil.move(folder / CARD, folder.parent / "card")
    (folder / CARD).symlink_to(kept)


def rewrite_listing(folder: Path) -> None:
    """Whoever changes a file and its digest in release.json has not changed the signature."""
    (folder / CARD).write_text("# Trust me\n")
    found = json.loads((folder / RELEASE).read_text())
    found["files"][CARD] = hashlib.sha256(b"# Trust me\n").hexdigest()
    (folder / RELEASE).write_text(json.dumps(found))


TAMPERING: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "bit flip in the model": (lambda f: flip(f / MODEL), [f"{MODEL} was changed"]),
    "bit flip in the adapter": (lambda f: flip(f / ADAPTERS), [f"{ADAPTERS} was changed"]),
    "bit flip in the card": (lambda f: flip(f / CARD), [f"{CARD} was changed"]),
    "truncated": (lambda f: os.truncate(f / MODEL, 1000), [f"{MODEL} was changed"]),
    "emptied": (lambda f: os.truncate(f / MODEL, 0), [f"{MODEL} was changed"]),
    "swapped": (swap, [f"{ADAPTERS} was changed", f"{MODEL} was changed"]),
    "missing": (lambda f: (f / CARD).unlink(), [f"{CARD} is missing"]),
    "extra": (lambda f: (f / "extra.gguf").write_text("x"), ["extra.gguf is extra"]),
    "extra, hidden": (lambda f: (f / ".gitignore").write_text("x"), [".gitignore is extra"]),
    "extra folder": (lambda f: (f / ".git").mkdir(), [".git is a folder"]),
    "link": (link, [f"{CARD} is a link"]),
    "dangling link": (lambda f: (f / "x").symlink_to("nowhere"), ["x is a link"]),
    "pipe": (lambda f: os.mkfifo(f / "pipe"), ["pipe is a folder or a device"]),
    "renamed": (lambda f: (f / CARD).rename(f / "card.md"), ["model-card.md is missing"]),
    "edited blessing": (edit_blessing, [f"{EVALUATION} was changed"]),
    "edited template": (edit_template, [f"{MODEL} was changed"]),
    "edited listing": (rewrite_listing, [f"{CARD} was changed", f"{RELEASE} was changed"]),
    "no signature": (lambda f: (f / SIGNATURE).unlink(), ["model.sig is missing"]),
    "empty signature": (lambda f: (f / SIGNATURE).write_text(""), ["model.sig"]),
    "nested signature": (lambda f: (f / SIGNATURE).write_text("[" * 10**5), ["model.sig"]),
    "huge signature": (lambda f: (f / SIGNATURE).write_bytes(b" " * (2 << 20)), ["model.sig"]),
}


@pytest.mark.parametrize("how", TAMPERING)
def test_tampering(signed: World, how: str) -> None:
    change, words = TAMPERING[how]
    change(signed.folder)
    refused(signed, *words)


@pytest.mark.parametrize("how", ["bit flip in the model", "edited blessing", "extra", "link"])
def test_a_changed_folder_is_not_signed_again(signed: World, how: str) -> None:
    change, words = TAMPERING[how]
    change(signed.folder)
    before = (signed.folder / SIGNATURE).read_bytes()
    with pytest.raises(IntegrityError, match=words[0].split(" ")[0]):
        signing.sign(signed.folder, signed.agent)
    assert (signed.folder / SIGNATURE).read_bytes() == before


def test_every_byte_of_the_signature_counts(signed: World) -> None:
    """A bit anywhere in it: refused, or it says the very same thing."""
    path = signed.folder / SIGNATURE
    raw = path.read_bytes()
    whole = signing.verify(signed.folder, signed.agent)
    for place in range(0, len(raw), 97):
        path.write_bytes(raw[:place] + bytes([raw[place] ^ 4]) + raw[place + 1 :])
        try:
            assert signing.verify(signed.folder, signed.agent) == whole, place
        except IntegrityError:
            continue


def edited(folder: Path, edit: Callable[[dict], object]) -> None:  # type: ignore[type-arg]
    """Change what the signature says it signs, without the key."""
    bundle = json.loads((folder / SIGNATURE).read_text())
    payload = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    edit(payload)
    raw = json.dumps(payload).encode()
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(raw).decode()
    (folder / SIGNATURE).write_text(json.dumps(bundle))


def test_a_signature_over_something_else(signed: World) -> None:
    (signed.folder / CARD).write_text("# Trust me\n")

    def edit(payload: dict) -> None:  # type: ignore[type-arg]
        digests = hashlib.sha256()
        for item in payload["predicate"]["resources"]:
            if item["name"] == CARD:
                item["digest"] = hashlib.sha256(b"# Trust me\n").hexdigest()
            digests.update(bytes.fromhex(item["digest"]))
        payload["subject"][0]["digest"]["sha256"] = digests.hexdigest()

    edited(signed.folder, edit)
    refused(signed, "the signature was edited")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("ignore_paths", [SIGNATURE, CARD]),
        ("allow_symlinks", True),
        ("hash_type", "blake3"),
        ("method", "shards"),
    ],
)
def test_a_signature_that_covers_less(signed: World, place: str, value: object) -> None:
    edited(
        signed.folder,
        lambda payload: payload["predicate"]["serialization"].update({place: value}),
    )
    refused(signed, "does not cover every file")


def test_the_right_key_but_files_left_out(signed: World) -> None:
    """Signed by the trusted key with model-signing itself, which may ignore files."""
    from model_signing import hashing
    from model_signing import signing as library

    config = hashing.Config().set_ignored_paths(paths=[SIGNATURE, CARD])
    library.Config().set_hashing_config(config).use_elliptic_key_signer(
        private_key=keys.home() / "signing.pem"
    ).sign(signed.folder, signed.folder / SIGNATURE)
    refused(signed, "does not cover every file")


def test_another_key(signed: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = release_world.key(tmp_path / "other.pem")
    own = signing.verify(signed.folder, signed.agent).key
    trusting = signed.trusting(Path(f"{other}.pub"))
    with pytest.raises(IntegrityError, match=f"signed by the key {own[:16]}, which is not trusted"):
        signing.verify(signed.folder, trusting)
    monkeypatch.setenv("OPSLORE_SIGNING_KEY", str(other))
    fresh = signing.sign(signed.folder, trusting)
    assert fresh != own
    assert signing.verify(signed.folder, trusting).key == fresh
    with pytest.raises(IntegrityError, match="which is not trusted"):
        signing.check(signed.folder, [keys.Public(b"", own)], "sre")


def test_a_false_claim_of_the_key(
    signed: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signed by another key, but the signature says that it is the trusted one."""
    own = signing.verify(signed.folder, signed.agent).key
    monkeypatch.setenv("OPSLORE_SIGNING_KEY", str(release_world.key(tmp_path / "other.pem")))
    (signed.folder / SIGNATURE).unlink()
    signing.sign(signed.folder, signed.agent)
    monkeypatch.delenv("OPSLORE_SIGNING_KEY")
    bundle = json.loads((signed.folder / SIGNATURE).read_text())
    bundle["verificationMaterial"]["publicKey"]["hint"] = own
    (signed.folder / SIGNATURE).write_text(json.dumps(bundle))
    refused(signed, "the signature was edited, or is not of the key it names")


def test_two_trusted_keys_in_one_file(signed: World, tmp_path: Path) -> None:
    other = release_world.key(tmp_path / "other.pem")
    both = tmp_path / "both.pub"
    both.write_bytes(Path(f"{other}.pub").read_bytes() + (keys.home() / "signing.pub").read_bytes())
    assert signing.verify(signed.folder, signed.trusting(both)).version == VERSION


def test_no_trusted_key_is_an_error(
    signed: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "another machine"))
    with pytest.raises(ConfigError, match="no trusted key") as caught:
        signing.verify(signed.folder, signed.agent)
    assert "publish.key" in caught.value.hint
    with pytest.raises(ConfigError, match=r"publish\.key: .*No such file") as caught:
        signing.verify(signed.folder, signed.trusting(tmp_path / "gone.pub"))
    assert "cp " in caught.value.hint


def test_signing_with_a_key_nobody_trusts(world: World, tmp_path: Path) -> None:
    other = release_world.key(tmp_path / "other.pem")
    with pytest.raises(ConfigError, match=r"not one of those that publish\.key"):
        signing.sign(world.folder, world.trusting(Path(f"{other}.pub")))
    assert not (world.folder / SIGNATURE).exists()


def test_another_agents_release_and_another_version(signed: World) -> None:
    other = signed.agent.model_copy(update={"name": "dba"})
    with pytest.raises(IntegrityError, match="a release of sre, not of dba"):
        signing.verify(signed.folder, other)
    with pytest.raises(
        IntegrityError, match=f"this is {VERSION}, and v20270101-01234567 was asked"
    ):
        signing.verify(signed.folder, signed.agent, "v20270101-01234567")


def test_what_did_not_pass_is_not_signed(world: World) -> None:
    world.papers(made=release_world.cards(passed=False))
    with pytest.raises(IntegrityError, match="the evaluation did not pass"):
        signing.sign(world.folder, world.agent)
    assert not (world.folder / SIGNATURE).exists()


def test_papers_and_archives_have_to_fit_before_they_are_signed(world: World) -> None:
    flip(world.folder / MODEL)
    with pytest.raises(IntegrityError, match=f"not signed, .*{MODEL} was changed"):
        signing.sign(world.folder, world.agent)
    assert not (world.folder / SIGNATURE).exists()
    with pytest.raises(MissingInput, match="no release in"):
        signing.sign(world.root / "nothing", world.agent)


def test_papers_after_the_signature(signed: World) -> None:
    """Writing them again changes nothing; other papers take the old signature away first."""
    before = state(signed.folder)
    signed.papers()
    assert state(signed.folder) == before
    signed.papers(made=release_world.cards(seed="other"))
    assert not (signed.folder / SIGNATURE).exists()
    signing.sign(signed.folder, signed.agent)
    assert signing.verify(signed.folder, signed.agent).version == VERSION


def test_tampered_papers_are_not_kept(signed: World) -> None:
    """Without a signature nothing that lies there is believed; it is written anew."""
    right = (signed.folder / CARD).read_bytes()
    rewrite_listing(signed.folder)
    (signed.folder / SIGNATURE).unlink()
    signed.papers()
    assert (signed.folder / CARD).read_bytes() == right


def test_a_replay(signed: World, tmp_path: Path) -> None:
    """The older release, as it was signed, in the place of the newer one that is deployed."""
    later = "v20260214-89abcdef"
    newer = World(signed.root, signed.folder.with_name(later), signed.agent, dict(signed.archives))
    newer.folder.mkdir()
    for name in signed.archives:
        shutil.copy(signed.folder / name, newer.folder / name)
    newer.papers(2, release_world.cards(seed="later"), later)
    signing.sign(newer.folder, newer.agent)
    state = counter.place(signed.agent)
    with counter.accepted(state, signing.verify(newer.folder, newer.agent, later)):
        pass
    shutil.rmtree(newer.folder)
    shutil.copytree(signed.folder, newer.folder)
    replayed = signing.verify(newer.folder, newer.agent)
    with pytest.raises(IntegrityError, match=f"{VERSION} is release 1 of sre, older than {later}"):
        counter.accept(state, replayed)
    with pytest.raises(IntegrityError, match=f"this is {VERSION}, and {later} was asked for"):
        signing.verify(newer.folder, newer.agent, later)
    counter.accept(state, replayed, rollback=True)


# Keys.


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o620])
def test_a_key_that_others_may_read(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    path = release_world.key(tmp_path / "key.pem")
    path.chmod(mode)
    monkeypatch.setenv("OPSLORE_SIGNING_KEY", str(path))
    with pytest.raises(ConfigError, match="others may read or write it") as caught:
        signing.sign(world.folder, world.agent)
    assert caught.value.hint.startswith(f"chmod 600 {path}")


def test_revoked_permissions(monkeypatch: pytest.MonkeyPatch) -> None:
    # tmp_path is closed to other users, so that another user cannot even look at it.
    with tempfile.TemporaryDirectory() as room:
        Path(room).chmod(0o755)
        path = release_world.key(Path(room) / "key.pem")
        path.chmod(0)
        monkeypatch.setenv("OPSLORE_SIGNING_KEY", str(path))
        with release_world.nobody(), pytest.raises(ConfigError, match="Permission den") as caught:
            keys.private()
    assert "OPSLORE_SIGNING_KEY" in caught.value.hint


def test_no_place_for_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as room:
        Path(room).chmod(0o755)
        monkeypatch.delenv("OPSLORE_SIGNING_KEY", raising=False)
        monkeypatch.setenv("XDG_CONFIG_HOME", room)
        with release_world.nobody(), pytest.raises(ConfigError, match="cannot make a signing key"):
            keys.private()
        assert list(Path(room).iterdir()) == []


def test_an_encrypted_key(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = release_world.key(tmp_path / "plain.pem")
    path = tmp_path / "key.pem"
    command = ["openssl", "pkcs8", "-topk8", "-in", plain, "-out", path, "-passout", "pass:Kd7#z"]
    subprocess.run(command, check=True, timeout=60)
    path.chmod(0o600)
    monkeypatch.setenv("OPSLORE_SIGNING_KEY", str(path))
    with pytest.raises(ConfigError, match="the key is encrypted") as missing:
        signing.sign(world.folder, world.agent)
    monkeypatch.setenv("OPSLORE_SIGNING_PASSWORD", "Kd7#wrong")
    with pytest.raises(ConfigError, match="is not its password") as wrong:
        signing.sign(world.folder, world.agent)
    for error in (missing.value, wrong.value):
        assert "Kd7#" not in str(error) + error.hint + repr(error.__cause__)
    monkeypatch.setenv("OPSLORE_SIGNING_PASSWORD", "Kd7#z")
    signing.sign(world.folder, world.agent)
    assert signing.verify(world.folder, world.agent).version == VERSION
    assert "Kd7#" not in repr(keys.private())
    monkeypatch.setenv("OPSLORE_SIGNING_KEY", str(plain))
    with pytest.raises(ConfigError, match="the key is not encrypted"):
        keys.private()


@pytest.mark.parametrize(
    "options",
    [("-algorithm", "ED25519"), ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")],
)
def test_keys_of_another_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    path = release_world.key(tmp_path / "key.pem", *options)
    monkeypatch.setenv("OPSLORE_SIGNING_KEY", str(path))
    with pytest.raises(ConfigError, match="not an elliptic curve key"):
        keys.private()
    monkeypatch.setenv("OPSLORE_TRUSTED_KEY", f"{path}.pub")
    with pytest.raises(ConfigError, match="not an elliptic curve key"):
        keys.trusted()


def test_files_that_are_no_keys(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "key.pem"
    path.write_text("not a key")
    path.chmod(0o600)
    monkeypatch.setenv("OPSLORE_SIGNING_KEY", str(path))
    with pytest.raises(ConfigError, match="not a private key in PEM"):
        keys.private()
    with pytest.raises(ConfigError, match="no public key in PEM"):
        keys.trusted(world.trusting(path))
    private = release_world.key(tmp_path / "real.pem")
    with pytest.raises(ConfigError, match="holds a private key"):
        keys.trusted(world.trusting(private))


def test_a_larger_curve(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384")
    path = release_world.key(tmp_path / "key.pem", *options)
    monkeypatch.setenv("OPSLORE_SIGNING_KEY", str(path))
    signing.sign(world.folder, world.agent)
    assert signing.verify(world.folder, world.trusting(Path(f"{path}.pub"))).version == VERSION


def test_two_that_make_the_key_at_once(world: World) -> None:
    """Eight at once: one key, whole, and everybody has the same."""
    start, found = threading.Barrier(8), []

    def make() -> None:
        start.wait()
        found.append(keys.private().public.fingerprint)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 8
    assert len(set(found)) == 1
    left = {p.name for p in keys.home().iterdir()}
    assert {"signing.pem", "signing.pub"} == left


# Quarantine, speed, imports.


def test_quarantine(signed: World) -> None:
    flip(signed.folder / MODEL)
    reason = refused(signed).message
    kept = signing.quarantine(signed.folder, reason)
    assert kept == signed.folder.parent / ".quarantine" / VERSION
    assert (kept / MODEL).is_file()
    assert not signed.folder.exists()
    assert f"{MODEL} was changed" in kept.with_name(f"{VERSION}.reason.txt").read_text()
    signed.folder.mkdir()
    second = signing.quarantine(signed.folder, "again")
    assert second.name == f"{VERSION}.2"
    assert second.with_name(f"{VERSION}.2.reason.txt").read_text() == "again\n"


@pytest.mark.slow
def test_cost_of_150_megabytes(world: World) -> None:
    """What signing adds to a release of the usual size is reading it a few times."""
    world.archives.update(release_world.packed(world.folder, world.root / "room", 150 << 20))
    began = time.process_time()
    world.papers()
    wrote = time.process_time()
    signing.sign(world.folder, world.agent)
    done = time.process_time()
    signing.verify(world.folder, world.agent)
    read = time.process_time()
    print(f"papers {wrote - began:.2f} s, sign {done - wrote:.2f} s, verify {read - done:.2f} s")
    assert done - wrote < 5
    assert read - done < 5


def test_the_commands_load_none_of_it() -> None:
    code = (
        "import sys, opslore.cli, opslore.release.signing, opslore.release.papers;"
        "print([n for n in ('model_signing', 'cyclonedx', 'cryptography') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_archive_is_read_from_what_was_verified(signed: World) -> None:
    """The digests that verify() gives are those of the archives, by another program."""
    found = signing.verify(signed.folder, signed.agent)
    for name in (MODEL, ADAPTERS):
        done = subprocess.run(
            ["sha256sum", signed.folder / name], capture_output=True, text=True, check=True
        )
        assert done.stdout.split()[0] == found.files[name]
        assert tarfile.is_tarfile(signed.folder / name)
    assert papers.RELEASE in found.files
