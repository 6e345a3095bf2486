"""Risk rules for files, disks and the text tools that can write or run something."""

from __future__ import annotations

import re

from opslore.commands.arguments import Invocation
from opslore.commands.judgement import (
    READ,
    Judgement,
    Scene,
    at_least,
    is_scratch,
    is_sensitive,
    written,
)

_AWK_RUNS = re.compile(
    r"\bsystem\s*\(|\|\s*&?\s*(?:getline|\"|sh\b)|\"\s*\|\s*getline|@load|\|\s*[a-z]+cmd"
)
_AWK_WRITES = re.compile(r"print[^|}]*>\s*\S")
_SED_RUNS = re.compile(
    r"(?:^|[;{}\n\d$/])\s*e(?:\s|$)|s(.)(?:\\.|(?!\1).)*\1(?:\\.|(?!\1).)*\1[gIpm\d]*e"
)
_SED_WRITES = re.compile(r"(?:^|[;{}\n\d$/])\s*w\s*(/\S+)")


def _texts(call: Invocation) -> list[str]:
    return [word.text for word in call.positionals]


def remove(call: Invocation, scene: Scene, base: Judgement) -> Judgement:
    """`rm`: everything but single scratch files is lost for good."""
    paths = _texts(call)
    if paths and all(map(is_scratch, paths)) and call.value("recursive", "R", "force") is None:
        return Judgement("disruptive", "remove-scratch", "removes temporary files")
    return Judgement("destructive", "remove", f"removes {' '.join(paths) or 'what a pipe names'}")


def copy(call: Invocation, scene: Scene, base: Judgement) -> Judgement:
    """`cp`, `mv`, `install`, `rsync`: what stands at the target is overwritten."""
    paths = _texts(call)
    target = call.value("target-directory") or (paths[-1] if paths else "")
    found = at_least(base, written(target)) if target else base
    if target == "/dev/null" and call.program == "mv":
        return Judgement("destructive", "remove", "moves files into nothing")
    if call.program == "mv" and any(map(is_sensitive, paths[:-1])):
        return Judgement("destructive", "system-path", "moves files that the system needs")
    if call.value("rsh") is not None:
        return at_least(found, Judgement("unknown", "remote-shell", "runs its own remote shell"))
    return found


def tee(call: Invocation, scene: Scene, base: Judgement) -> Judgement:
    """`tee` writes what it is given."""
    found = READ
    for path in _texts(call):
        found = at_least(found, written(path))
    return found


def disk_copy(call: Invocation, scene: Scene, base: Judgement) -> Judgement:
    """`dd` is as dangerous as its `of=`."""
    targets = [text[3:] for text in _texts(call) if text.startswith("of=")]
    if not targets:
        return READ
    found = written(targets[0])
    return (
        Judgement("destructive", "raw-write", found.why) if found.level == "destructive" else found
    )


def sort(call: Invocation, scene: Scene, base: Judgement) -> Judgement:
    """`sort -o FILE` writes; its relatives only read."""
    path = call.value("o", "output")
    return written(path) if path else base


def awk(call: Invocation, scene: Scene, base: Judgement) -> Judgement:
    """Awk programs can run commands and write files."""
    program = " ".join(_texts(call))
    if _AWK_RUNS.search(program):
        return Judgement("denied", "runs-command", "an awk program that runs commands")
    if _AWK_WRITES.search(program) and re.search(r">\s*\"", program):
        return Judgement("disruptive", "writes-file", "an awk program that writes files")
    if re.search(r"(?:^|\s)-f|--file", program):
        return Judgement("unknown", "program-file", "the awk program is not in the command")
    return base


def sed(call: Invocation, scene: Scene, base: Judgement) -> Judgement:
    """Sed edits in place with `-i`, writes with `w`, and runs commands with `e`."""
    texts = _texts(call)
    script = next((text for text in texts if not text.startswith("-")), "")
    if any(_SED_RUNS.search(text) for text in [script] if text):
        return Judgement("denied", "runs-command", "a sed script that runs commands")
    wrote = _SED_WRITES.search(script)
    if wrote:
        return written(wrote.group(1))
    if any(re.match(r"-[nErsuz]*i|--in-place", text) for text in texts):
        if any(map(is_sensitive, texts)):
            return Judgement("destructive", "system-path", "edits files that the system needs")
        return Judgement("disruptive", "edits-file", "edits files in place")
    if any(re.match(r"-f$|--file", text) for text in texts):
        return Judgement("unknown", "program-file", "the sed script is not in the command")
    return base


def permissions(call: Invocation, scene: Scene, base: Judgement) -> Judgement:
    """chmod, chown and their kin."""
    texts = _texts(call)
    recursive = any(re.match(r"-\w*R|--recursive", text) for text in texts)
    if any(re.search(r"[ugoa]*[+=]\w*s|^[2467]\d{3}$", text) for text in texts[:2]):
        return Judgement("destructive", "setuid", "lets a file run as its owner")
    if any(re.fullmatch(r"/(?:\w+/?|\*)?", text) for text in texts) and recursive:
        return Judgement("destructive", "permissions-tree", "changes a whole system tree")
    if any(is_sensitive(text) for text in texts) and (
        recursive or "777" in texts or "000" in texts
    ):
        return Judgement("destructive", "permissions-system", "opens or closes system files")
    return base


def archive(call: Invocation, scene: Scene, base: Judgement) -> Judgement:
    """Tar and the compressors."""
    texts = _texts(call)
    joined = " ".join(texts)
    if re.search(
        r"--(?:checkpoint-action|to-command|use-compress-program|info-script)|-I\s", joined
    ):
        return Judgement("denied", "runs-command", "an archive option that runs commands")
    if call.program != "tar":
        return base
    first = texts[0].lstrip("-") if texts else ""
    if re.match(r"[a-z]*t", first) or "--list" in texts:
        return READ
    if re.match(r"[a-zA-Z]*x", first) or "--extract" in texts:
        if re.search(r"(?:-C|--directory[= ])\s*/(?:\s|$|etc|usr|boot)", joined):
            return Judgement("destructive", "system-path", "unpacks over the system")
        return Judgement("disruptive", "unpacks", "overwrites files with an archive's")
    return base


def disks(call: Invocation, scene: Scene, base: Judgement) -> Judgement:
    """Partition and volume tools are harmless only when they list."""
    texts = _texts(call)
    if texts and re.match(
        r"-(?:l|-list|a)$|print$|ls$|info$|status$|-p$", texts[-1] if texts else ""
    ):
        return READ
    if texts and texts[0] in (
        "-l",
        "-la",
        "--list",
        "-a",
        "print",
        "ls",
        "info",
        "status",
        "luksDump",
    ):
        return READ
    return base


def mounts(call: Invocation, scene: Scene, base: Judgement) -> Judgement:
    """Mounts, volume growth and filesystem checks."""
    texts = _texts(call)
    joined = " ".join(texts)
    if call.program in ("mount", "swapon") and (not texts or texts[0] in ("-l", "-s", "--show")):
        return READ
    if call.program in ("tune2fs", "e2fsck", "fsck", "xfs_repair", "fstrim") and texts[:1] in (
        ["-l"],
        ["-n"],
        ["-N"],
    ):
        return READ
    if call.program == "btrfs":
        if re.search(r"\b(?:show|df|usage|stats|list|status|du)\b", joined):
            return READ
        if "delete" in texts:
            return Judgement("destructive", "remove", "deletes a subvolume or device")
    return base


FILE_RULES = {
    "rm": remove,
    "copy": copy,
    "tee": tee,
    "dd": disk_copy,
    "sort": sort,
    "awk": awk,
    "sed": sed,
    "chmod": permissions,
    "archive": archive,
    "disk": disks,
    "mount": mounts,
}
