"""An audit in words: the chain of a figure as a tree, all of a study as a summary, and either as a page."""

import hashlib
import html
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenshift.provenance.audit import Audit, Break
from tokenshift.provenance.plan import Job

UNFOLDED = 4  # files that a job was made from
SHOWN = 20  # files that are covered by no record: the others are counted

Node = tuple[int, Job, bool]  # depth in the tree, the job, whether it was shown before


def chain(audit: Audit) -> Iterator[Node]:
    """The jobs that no other one waits for, and under each job those that its inputs come from.

    What was shown before is not followed again.
    """
    makers = audit.makers
    taken = {path for job in audit.jobs for path in job.inputs}
    shown: set[tuple[str, ...]] = set()

    def below(job: Job, depth: int) -> Iterator[Node]:
        known = job.outputs in shown
        shown.add(job.outputs)
        yield depth, job, known
        if not known:
            for maker in dict.fromkeys(makers[path] for path in job.read if path in makers):
                yield from below(maker, depth + 1)

    for job in audit.jobs:
        if taken.isdisjoint(job.outputs):
            yield from below(job, 0)


def tree(audit: Audit) -> str:
    """The chains as indented lines: files, rule, and of each record hash, code, seeds, commit and device."""
    lines = []
    for depth, job, known in chain(audit):
        files = " ".join(_short(path) for path in job.outputs)
        if known:
            lines.append(f"{'  ' * depth}{files}  (above)")
            continue
        lines.append(f"{'  ' * depth}{files}")
        about = ", ".join(f"{name} {value}" for name, value in description(job, audit).items())
        lines.append(f"{'  ' * depth}  | {about}")
        lines += [f"{'  ' * depth}  ! {broken}" for broken in audit.breaks if _concerns(broken, job)]
    return "\n".join(lines)


def description(job: Job, audit: Audit) -> dict[str, str]:
    """What to say of a job's record, in a few short words each."""
    record = next((audit.records[output] for output in job.outputs if output in audit.records), None)
    about = {"rule": job.rule, "script": str(job.script)}
    if record is None:
        return about | {"record": "none that is sound"}
    hashes = {entry["path"]: entry["sha256"][:12] for entry in record["outputs"]}
    about["sha256"] = " ".join(hashes[output] for output in job.outputs if output in hashes)
    about["code"] = record["code"]
    if record["seeds"]:
        about["seed"] = " ".join(f"{key.removesuffix('seed')}{value}" for key, value in record["seeds"].items())
    if record["sources"]:
        about["source"] = "; ".join(map(_source, record["sources"]))
    return about | {"commit": commit(record), "device": device(record), "ended": record["ended"]}


def _source(source: dict[str, Any]) -> str:
    """What a job took from outside the study, in a few words."""
    return " ".join(str(value) for key, value in source.items() if value and key != "resolved")


def commit(record: dict[str, Any]) -> str:
    """The commit that a job ran on, and whether its files differed from it."""
    git = record["git"]
    if git["commit"] is None:
        return "unknown"
    return git["commit"][:10] + (f" with {len(git['changed'])} changed files" if git["changed"] else "")


def device(record: dict[str, Any]) -> str:
    """Names of the GPUs a job used, or else of the processor."""
    gpus = Counter(record["device"]["gpus"])
    return " + ".join(f"{count} x {name}" for name, count in gpus.items()) or record["device"]["cpu"]


def notes(audit: Audit) -> list[str]:
    """What is no break, but should be known of a study's provenance."""
    records = list({record["digest"]: record for record in audit.records.values()}.values())
    commits = Counter(commit(record) for record in records)
    hosts = Counter(record["host"] for record in records)
    devices = Counter(device(record) for record in records)
    lines = [
        f"{title}: " + ", ".join(f"{name} ({count} jobs)" for name, count in counts.most_common())
        for title, counts in (("commits", commits), ("hosts", hosts), ("devices", devices))
        if counts
    ]
    for record in records:
        for source in record["sources"]:
            given, resolved = source.get("revision"), source.get("commit")
            if source["kind"].startswith("hub") and given != resolved:
                lines.append(f"not pinned: {source['path']} at revision {given}, which was commit {resolved}")
    if audit.uncovered:
        more = f" and {len(audit.uncovered) - SHOWN} more" if len(audit.uncovered) > SHOWN else ""
        lines.append(f"not covered by any record: {', '.join(audit.uncovered[:SHOWN])}{more}")
    return lines


def summary(audit: Audit) -> str:
    """What was checked, what should be known, each break, and the verdict."""
    breaks = [f"! {broken}" for broken in audit.breaks]
    return "\n".join([*notes(audit), *breaks, verdict(audit)])


def verdict(audit: Audit) -> str:
    """The result of an audit in one line."""
    checked = f"{len(audit.jobs)} jobs, {audit.files} files"
    if not audit.breaks:
        return (
            f"sound: {checked}; every file is what its record says, made by today's code and settings; "
            f"hash of all records: {fingerprint(audit)}"
        )
    return f"{len(audit.breaks)} breaks in {checked}"


def fingerprint(audit: Audit) -> str:
    """One SHA-256 for all records: another one, later, means that a job ran again or that a record was rewritten."""
    digests = sorted({record["digest"] for record in audit.records.values()})
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Audit of {study}</title><style>
body {{ font: 14px/1.45 sans-serif; color: #333; margin: 1.5em; }}
li {{ overflow-wrap: anywhere; }}
table {{ border-collapse: collapse; width: 100%; }}
td, th {{ border-bottom: 1px solid #ddd; padding: .25em .6em; text-align: left; }}
td {{ font-family: monospace; font-size: 11px; vertical-align: top; overflow-wrap: anywhere; }}
.break {{ color: #b00020; }}
</style></head><body>
<h1>Audit of {study}</h1><p class="{look}">{verdict}</p>
<ul>{notes}</ul><ul class="break">{breaks}</ul>
<table><tr><th>file</th><th>rule</th><th>SHA-256</th><th>code</th><th>seeds</th><th>commit</th><th>device</th><th>ended</th>
<th>made from</th></tr>
{rows}
</table></body></html>
"""
COLUMNS = ("rule", "sha256", "code", "seed", "commit", "device", "ended")


def page(audit: Audit, study: str) -> str:
    """The audit as one HTML file that needs no other."""
    rows = []
    for job in audit.jobs:
        if job.script:
            about = description(job, audit)
            files = "<br>".join(html.escape(_short(path)) for path in job.outputs)
            cells = [files, *(html.escape(about.get(column, "")) for column in COLUMNS)]
            cells.append(_listed([html.escape(_short(path)) for path in job.read]))
            rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return PAGE.format(
        study=html.escape(study),
        look="break" if audit.breaks else "sound",
        verdict=html.escape(verdict(audit)),
        notes="".join(f"<li>{html.escape(note)}</li>" for note in notes(audit)),
        breaks="".join(f"<li>{html.escape(str(broken))}</li>" for broken in audit.breaks),
        rows="\n".join(rows),
    )


def _listed(paths: list[str]) -> str:
    """Paths below one another; many of them folded."""
    lines = "<br>".join(paths)
    if len(paths) <= UNFOLDED:
        return lines
    return f"<details><summary>{len(paths)} files</summary>{lines}</details>"


def _short(path: str) -> str:
    """A path within its study's results."""
    return path.split("/", 2)[-1] if path.startswith("results/") else path


def _concerns(broken: Break, job: Job) -> bool:
    folders = [f"{Path(output).parent}/" for output in job.outputs if output.endswith("manifest.json")]
    return broken.file.startswith((*job.outputs, *folders))
