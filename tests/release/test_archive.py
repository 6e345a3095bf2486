from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import resource
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opslore.errors import DataError, IntegrityError, MissingInput, OpsloreError
from opslore.release import archive
from opslore.release.manifest import MANIFEST, MAX_BYTES, MAX_MANIFEST

FILES = {
    "model.gguf": os.urandom(3 * 1024 * 1024 + 7),
    "Modelfile": b"FROM ./model.gguf\n",
    "empty": b"",
}
FILES["index/entries.jsonl"] = b'{"id": "1"}\n' * 1000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        path = tmp_path / "bundle" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "bundle"


def promise(files: dict[str, bytes]) -> bytes:
    entries = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        for name, data in files.items()
    }
    return json.dumps({"format": 1, "files": entries}).encode()


def regular(name: str, data: bytes) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    return info, data


def special(name: str, kind: bytes, link: str = "") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = link
    return info, b""


def forged(
    tmp_path: Path,
    manifest: bytes,
    members: list[tuple[tarfile.TarInfo, bytes]],
    tail: bytes = b"",
    kind: int = tarfile.GNU_FORMAT,
) -> Path:
    """An archive as an attacker would write it: any manifest, any members."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=kind) as tar:
        for info, data in [regular(MANIFEST, manifest), *members]:
            tar.addfile(info, io.BytesIO(data))
    path = tmp_path / "forged.tar.gz"
    path.write_bytes(gzip.compress(raw.getvalue() + tail, 1))
    return path


def refused(path: Path, tmp_path: Path) -> str:
    """The reason unpack gives; nothing may lie in or beside the target afterwards."""
    out = tmp_path / "place" / "out"
    with pytest.raises(IntegrityError) as caught:
        archive.unpack(path, out)
    assert list(out.parent.iterdir()) == []
    return caught.value.message


def test_round_trip(folder: Path, tmp_path: Path) -> None:
    digest = archive.pack(folder, list(FILES), tmp_path / "a.tar.gz")
    archive.unpack(tmp_path / "a.tar.gz", tmp_path / "out")
    found = {p.relative_to(tmp_path / "out").as_posix(): p.read_bytes()
             for p in (tmp_path / "out").rglob("*") if p.is_file()}  # fmt: skip
    assert found == FILES
    assert digest == hashlib.sha256((tmp_path / "a.tar.gz").read_bytes()).hexdigest()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tar.gz", "bundle", "out"]
    listing = archive.manifest(tmp_path / "a.tar.gz").files
    assert listing["Modelfile"].size == len(FILES["Modelfile"])


def test_same_files_same_bytes(folder: Path, tmp_path: Path) -> None:
    first = archive.pack(folder, list(FILES), tmp_path / "a.tar.gz")
    for name in FILES:
        os.utime(folder / name, (1, 1))
        (folder / name).chmod(0o600)
    second = archive.pack(folder, list(reversed(list(FILES))), tmp_path / "other-name.tar.gz")
    assert first == second
    assert (tmp_path / "a.tar.gz").read_bytes() == (tmp_path / "other-name.tar.gz").read_bytes()


def test_nothing_of_this_machine_in_it(folder: Path, tmp_path: Path) -> None:
    archive.pack(folder, list(FILES), tmp_path / "a.tar.gz")
    assert (tmp_path / "a.tar.gz").read_bytes()[3:8] == b"\0" * 5  # no flags, no name, no time
    with tarfile.open(tmp_path / "a.tar.gz") as tar:
        members = tar.getmembers()
    assert [m.name for m in members] == [MANIFEST, *sorted(FILES)]
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {
        (0, 0, 0, "", "", 0o644)
    }


def test_tar_itself_reads_it(folder: Path, tmp_path: Path) -> None:
    archive.pack(folder, list(FILES), tmp_path / "a.tar.gz")
    (tmp_path / "tar").mkdir()
    subprocess.run(["tar", "xzf", tmp_path / "a.tar.gz", "-C", tmp_path / "tar"], check=True)
    assert (tmp_path / "tar" / "model.gguf").read_bytes() == FILES["model.gguf"]


def test_an_old_archive_stays_until_the_new_one_is_whole(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.tar.gz"
    archive.pack(folder, ["Modelfile"], out)
    before = out.read_bytes()
    pid = os.fork()
    if pid == 0:  # a disk that is full after 64 KiB
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
        try:
            archive.pack(folder, list(FILES), out)
        except OpsloreError as error:
            os._exit(7 if str(error).startswith(f"cannot write {out}") else 8)
        os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert out.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tar.gz", "bundle"]


def test_pack_refuses_a_missing_file(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match=r"card\.md: No such file"):
        archive.pack(folder, ["Modelfile", "card.md"], tmp_path / "a.tar.gz")
    assert not (tmp_path / "a.tar.gz").exists()


@pytest.mark.parametrize("name", ["link", "through/passwd", "index"])
def test_pack_follows_no_link(folder: Path, tmp_path: Path, name: str) -> None:
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "through").symlink_to("/etc")
    with pytest.raises(IntegrityError, match=r"is a link|is not a regular file"):
        archive.pack(folder, [name], tmp_path / "a.tar.gz")


@pytest.mark.parametrize(
    "name",
    ["../x", "/etc/passwd", "a/../b", "", ".hidden", "a//b", "a\\b", "é", MANIFEST, "x" * 101],
)
def test_pack_refuses_a_name(folder: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="cannot stand in an archive"):
        archive.pack(folder, [name], tmp_path / "a.tar.gz")


def test_pack_refuses_a_file_named_twice(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="named twice"):
        archive.pack(folder, ["empty", "empty"], tmp_path / "a.tar.gz")


def test_unpack_refuses_a_folder_that_is_there(folder: Path, tmp_path: Path) -> None:
    archive.pack(folder, ["empty"], tmp_path / "a.tar.gz")
    with pytest.raises(DataError, match="is already there"):
        archive.unpack(tmp_path / "a.tar.gz", folder)
    assert (folder / "Modelfile").read_bytes() == FILES["Modelfile"]


def test_unpack_without_an_archive(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="no archive"):
        archive.unpack(tmp_path / "a.tar.gz", tmp_path / "out")


@pytest.mark.parametrize(
    "member",
    [
        special("a", tarfile.SYMTYPE, "/etc/passwd"),
        special("a", tarfile.LNKTYPE, "b"),
        special("a", tarfile.FIFOTYPE),
        special("a", tarfile.CHRTYPE),
        special("a", tarfile.DIRTYPE),
    ],
    ids=["symlink", "hardlink", "fifo", "device", "folder"],
)
def test_only_regular_files(tmp_path: Path, member: tuple[tarfile.TarInfo, bytes]) -> None:
    path = forged(tmp_path, promise({"a": b"", "b": b"x"}), [regular("b", b"x"), member])
    assert "'a' is not a regular file" in refused(path, tmp_path)


@pytest.mark.parametrize("name", ["../a", "/etc/a", "x/../../a", "./a", "a\\..\\b"])
def test_a_name_that_leaves_the_folder(tmp_path: Path, name: str) -> None:
    unpromised = forged(tmp_path, promise({"a": b"x"}), [regular(name, b"x")])
    assert f"{name!r} is not in the manifest" in refused(unpromised, tmp_path)
    promised = forged(tmp_path, promise({name: b"x"}), [regular(name, b"x")])
    assert f"names {name!r}; not a safe file name" in refused(promised, tmp_path)


def test_a_file_as_a_folder(tmp_path: Path) -> None:
    files = {"a": b"x", "a/b": b"y"}
    path = forged(tmp_path, promise(files), [regular(n, d) for n, d in files.items()])
    assert "has 'a/b' inside another file" in refused(path, tmp_path)


def test_an_extra_file(tmp_path: Path) -> None:
    path = forged(tmp_path, promise({"a": b"x"}), [regular("a", b"x"), regular("b", b"y")])
    assert "'b' is not in the manifest" in refused(path, tmp_path)


def test_a_file_twice(tmp_path: Path) -> None:
    path = forged(tmp_path, promise({"a": b"x"}), [regular("a", b"x"), regular("a", b"y")])
    assert "'a' is not in the manifest, or there twice" in refused(path, tmp_path)


def test_a_missing_file(tmp_path: Path) -> None:
    path = forged(tmp_path, promise({"a": b"x", "b": b"y", "c": b""}), [regular("a", b"x")])
    assert refused(path, tmp_path).endswith("b, c missing")


def test_a_changed_file(tmp_path: Path) -> None:
    path = forged(tmp_path, promise({"a": b"right", "b": b""}), [regular("a", b"wrong")])
    assert "a has sha256" in refused(path, tmp_path)


def test_a_size_that_was_not_promised(tmp_path: Path) -> None:
    path = forged(tmp_path, promise({"a": b"x"}), [regular("a", b"x" * 10_000_000)])
    assert "a has 10000000 bytes; the manifest says 1" in refused(path, tmp_path)


def test_a_promise_over_the_limit(tmp_path: Path) -> None:
    digest = "0" * 64
    one = {"format": 1, "files": {"a": {"sha256": digest, "size": MAX_BYTES + 1}}}
    path = forged(tmp_path, json.dumps(one).encode(), [])
    assert "files.a.size: Input should be less than" in refused(path, tmp_path)
    two = {"format": 1, "files": {n: {"sha256": digest, "size": MAX_BYTES} for n in "ab"}}
    path = forged(tmp_path, json.dumps(two).encode(), [])
    assert f"{2 * MAX_BYTES} bytes unpacked; the limit is {MAX_BYTES}" in refused(path, tmp_path)


def test_too_many_files(tmp_path: Path) -> None:
    path = forged(tmp_path, promise({f"f{n}": b"" for n in range(1001)}), [])
    assert "at most 1000 items" in refused(path, tmp_path)


def test_a_manifest_that_is_a_bomb(tmp_path: Path) -> None:
    path = forged(tmp_path, b" " * (MAX_MANIFEST + 1), [])
    assert f"over {MAX_MANIFEST}" in refused(path, tmp_path)


def test_a_bomb_behind_the_last_file(tmp_path: Path) -> None:
    path = forged(tmp_path, promise({"a": b"x"}), [regular("a", b"x")], tail=b"\0" * 50_000_000)
    assert path.stat().st_size < 1_000_000
    assert "something follows the last file" in refused(path, tmp_path)


def test_a_second_tar_behind_the_first(tmp_path: Path) -> None:
    path = forged(
        tmp_path, promise({"a": b"x"}), [regular("a", b"x")], tail=b"\0" * 512 + b"x" * 512
    )
    assert "something follows the last file" in refused(path, tmp_path)


@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=["gnu", "pax"])
def test_long_name_records_are_not_obeyed(tmp_path: Path, kind: int) -> None:
    long = regular("a" * 300, b"x")
    assert "is not a regular file" in refused(
        forged(tmp_path, promise({"a": b"x"}), [long], kind=kind), tmp_path
    )


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        (b"no json", "Invalid JSON"),
        (b'{"format": 2, "files": {}}', "format"),
        (b'{"files": {}}', "files"),
        (b'{"files": {"a": {"sha256": "short", "size": 0}}}', "files.a.sha256"),
        (b'{"files": {"a": {"sha256": "' + b"0" * 64 + b'", "size": -1}}}', "files.a.size"),
        (b'{"files": {"a": {"size": 1}}, "x": 1}', "files.a.sha256"),
    ],
)
def test_a_manifest_that_is_none(tmp_path: Path, manifest: bytes, reason: str) -> None:
    assert reason in refused(forged(tmp_path, manifest, []), tmp_path)


def test_an_archive_of_somebody_else(tmp_path: Path) -> None:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        tar.addfile(*[regular("a", b"")[0]])
    path = tmp_path / "other.tar.gz"
    path.write_bytes(gzip.compress(raw.getvalue()))
    assert "does not begin with MANIFEST.json" in refused(path, tmp_path)
    path.write_bytes(b"just text, no gzip")
    assert "truncated or damaged" in refused(path, tmp_path)
    path.write_bytes(b"")
    assert "truncated or damaged" in refused(path, tmp_path)


def cuts(size: int) -> list[int]:
    return [1, 10, 100, size // 4, size // 2, size - 9, size - 1]


@pytest.mark.parametrize("which", range(7))
def test_truncated(folder: Path, tmp_path: Path, which: int) -> None:
    path = tmp_path / "a.tar.gz"
    archive.pack(folder, list(FILES), path)
    data = path.read_bytes()
    path.write_bytes(data[: cuts(len(data))[which]])
    assert "truncated or damaged" in refused(path, tmp_path)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_flipped_bit_changes_nothing_or_is_found(tmp_path: Path, data: st.DataObject) -> None:
    """The digest guards the files, the manifest the names, gzip's CRC the rest."""
    with tempfile.TemporaryDirectory(dir=tmp_path) as name:
        place = Path(name)
        (place / "a").write_bytes(b"kubectl get pods\n" * 20)
        archive.pack(place, ["a"], place / "a.tar.gz")
        raw = bytearray((place / "a.tar.gz").read_bytes())
        where = data.draw(st.integers(0, len(raw) - 1))
        raw[where] ^= 1 << data.draw(st.integers(0, 7))
        (place / "a.tar.gz").write_bytes(bytes(raw))
        try:
            archive.unpack(place / "a.tar.gz", place / "out")
        except IntegrityError:
            assert not (place / "out").exists()
        else:  # a time, a flag or a padding bit of gzip, which nothing reads
            assert (place / "out" / "a").read_bytes() == b"kubectl get pods\n" * 20
            assert gzip.decompress(raw) == gzip.decompress(original(place))


def original(place: Path) -> bytes:
    archive.pack(place, ["a"], place / "again.tar.gz")
    return (place / "again.tar.gz").read_bytes()


def test_memory_stays_small(tmp_path: Path) -> None:
    """200 MB go through packing and unpacking in chunks, not as a whole."""
    folder = tmp_path / "big"
    folder.mkdir()
    with (folder / "zeros").open("wb") as file:
        file.truncate(200_000_000)

    def grown(call: Callable[[], object]) -> int:
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            call()
            after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            os.write(write, str(after - before).encode())
            os._exit(0)
        os.waitpid(pid, 0)
        return int(os.read(read, 100))

    path = tmp_path / "a.tar.gz"
    assert grown(lambda: archive.pack(folder, ["zeros"], path)) < 32_000  # KiB
    assert grown(lambda: archive.unpack(path, tmp_path / "out")) < 32_000
    assert (tmp_path / "out" / "zeros").stat().st_size == 200_000_000
