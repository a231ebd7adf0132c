"""A sound study as a Provenance Run Crate: an RO-Crate in which each job is an action on files with their hashes.

Profile: https://w3id.org/ro/wfrun/provenance/0.5, which includes Workflow Run Crate and Process Run Crate. Files above
a given size, and the files within model folders, are described by their hashes instead of copied.
"""

import json
import secrets
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any

from rocrate.model import ContextEntity
from rocrate.model.entity import Entity
from rocrate.rocrate import ROCrate

from tokenshift.config.study import Study
from tokenshift.provenance.audit import Audit
from tokenshift.provenance.form import absolute_paths, withheld, without_paths
from tokenshift.provenance.lineage import commit, device
from tokenshift.provenance.records import record_path, rendered

PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/ro/wfrun/provenance/0.5": "Provenance Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
SOURCES = ("workflow/rules", "workflow/tokenshift", "envs")
# Terms that the context of RO-Crate 1.1, which the profiles extend, lacks.
TERMS = {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"}
LICENSE = "https://spdx.org/licenses/Apache-2.0"
FORMATS = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".parquet": "application/vnd.apache.parquet",
    ".pdf": "application/pdf",
    ".png": "image/png",
}


def study_crate(study: Study, study_file: Path, audit: Audit, root: Path, largest: int, private: bool) -> ROCrate:
    """The crate of a study that has passed `audit` (of all its files), with copies of files up to `largest` bytes.

    Unless `private`, host names and absolute paths, which tell of users, are withheld: records stay verifiable.
    """
    return _Crate(study, study_file, root, largest, private).described(audit)


class _Crate:
    def __init__(self, study: Study, study_file: Path, root: Path, largest: int, private: bool) -> None:
        self.study, self.study_file, self.root = study, study_file, root
        self.largest, self.private = largest, private
        self.salt = secrets.token_hex(16)  # of the paths in the study file
        self.crate = ROCrate(version="1.1")
        self.files: dict[str, Entity] = {}

    def described(self, audit: Audit) -> ROCrate:
        """The crate with the workflow, its steps, and one action for each job."""
        crate = self.crate
        crate.metadata.extra_contexts.append(TERMS)
        crate.name = f"tokenshift study {self.study.name}"
        crate.description = self.study.description or f"Results of the study {self.study.name} with their provenance."
        licence = self._add(LICENSE, "CreativeWork", name="Apache License 2.0")
        crate.license = licence
        crate.root_dataset["conformsTo"] = [
            self._add(url, "CreativeWork", name=name, version=url.rsplit("/", 1)[1]) for url, name in PROFILES.items()
        ]
        kinds = ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"]
        about = {"@type": kinds, "name": "tokenshift"}
        snakefile = self.root / "Snakefile"
        workflow = crate.add_workflow(snakefile, "Snakefile", main=True, lang="snakemake", properties=about)
        workflow["license"] = licence
        for folder in SOURCES:
            for file in sorted((self.root / folder).rglob("*")):
                if file.suffix in (".smk", ".py", ".yaml"):
                    self._copy(str(file.relative_to(self.root)))
        self._copy("requirements.lock")
        self._copy("config/config.yaml")
        self._written(f"config/studies/{self.study_file.name}", self._shown_text(self.study_file.read_text()))
        jobs = [job for job in audit.jobs if job.script]
        steps, controls, actions = {}, [], []
        for job in jobs:
            record = self._shown(audit.records[job.outputs[0]])
            tool = self._tool(job.script)
            if job.rule not in steps:
                step = self._add(f"#step-{job.rule}", "HowToStep", name=job.rule, position=str(len(steps) + 1))
                step["workExample"] = tool
                steps[job.rule] = step
            action = self._action(record, tool, f"{job.rule}: {' '.join(job.outputs)}", job.outputs)
            control = self._add(f"#control-{record['digest']}", "ControlAction", name=f"run of {job.rule}")
            control["instrument"], control["object"] = steps[job.rule], action
            controls.append(control)
            actions.append(action)
        workflow["step"] = list(steps.values())
        workflow["hasPart"] = [self.files[script] for script in dict.fromkeys(job.script for job in jobs)]
        self._run(workflow, audit, controls)
        crate.root_dataset["mentions"] = [*actions, *crate.root_dataset["mentions"]]
        return crate

    def _run(self, workflow: Entity, audit: Audit, controls: list[Entity]) -> None:
        """The action of the whole run, and that of Snakemake, which ordered the jobs."""
        records = list(audit.records.values())
        taken = {entry["path"] for record in records for entry in record["inputs"]}
        results = [self.files[path] for job in audit.jobs for path in job.outputs if job.script and path not in taken]
        run = self._add("#run", "CreateAction", name=f"Run of the study {self.study.name}")
        run["instrument"], run["result"] = workflow, results
        run["object"] = self._study_file()
        run["startTime"] = min(record["started"] for record in records)
        run["endTime"] = max(record["ended"] for record in records)
        run["actionStatus"] = "http://schema.org/CompletedActionStatus"
        engine = self._add(
            "#snakemake", "SoftwareApplication", name="Snakemake", url="https://snakemake.github.io", version="9"
        )
        organised = self._add("#organised", "OrganizeAction", name="Snakemake's run of the jobs")
        organised["instrument"], organised["object"], organised["result"] = engine, controls, run
        self.crate.root_dataset["mentions"] = [run, organised]

    def _study_file(self) -> Entity:
        """The resolved study as a file of the crate."""
        text = self._shown_text(self.study.model_dump_json(indent=2, by_alias=True))
        return self._add(
            "#study", "PropertyValue", name="study", value=text, description="The study file, every default resolved."
        )

    def _action(self, record: dict[str, Any], tool: Entity, name: str, outputs: tuple[str, ...]) -> Entity:
        """A job's action, from its record."""
        action = self._add(f"#job-{record['digest']}", "CreateAction", name=name)
        inputs = {entry["path"]: entry["sha256"] for entry in record["inputs"]}
        results = {entry["path"]: entry["sha256"] for entry in record["outputs"]}
        spec = self._add(f"#spec-{record['digest']}", "PropertyValue", name="arguments")
        spec["value"] = " ".join([*record["arguments"], json.dumps(record["spec"], sort_keys=True)])
        action["instrument"] = tool
        files = [self._file(path, hashed) for path, hashed in inputs.items()]
        action["object"] = [spec, *files, *map(self._source, record["sources"])]
        action["result"] = [self._file(path, results[path]) for path in outputs]
        action["startTime"], action["endTime"] = (
            datetime.fromisoformat(record[key]).isoformat() for key in ("started", "ended")
        )
        action["actionStatus"] = "http://schema.org/CompletedActionStatus"
        action["description"] = f"code {record['code']}, commit {commit(record)}, on {device(record)}"
        about = {"encodingFormat": "application/json"}
        action["subjectOf"] = [self._written(str(record_path(path)), rendered(record), **about) for path in outputs]
        return action

    def _tool(self, script: str) -> Entity:
        if script not in self.files:
            kinds = ["File", "SoftwareSourceCode", "SoftwareApplication"]
            self.files[script] = self._copy(script, **{"@type": kinds}, programmingLanguage="Python")
        return self.files[script]

    def _file(self, path: str, sha256: str) -> Entity:
        """A result or input: a copy of it or, where it is large, its description."""
        if path not in self.files:
            size = (self.root / path).stat().st_size
            about = {"sha256": sha256, "contentSize": str(size)}
            if Path(path).suffix in FORMATS:
                about["encodingFormat"] = FORMATS[Path(path).suffix]
            if size <= self.largest:
                self.files[path] = self._copy(path, **about)
            else:
                self.files[path] = self._add(f"#{path}", "CreativeWork", name=path, **about)
        return self.files[path]

    def _source(self, source: dict[str, Any]) -> Entity:
        """What came from outside the study: a local file or folder with its hash, or what the hub has at a commit."""
        version = source.get("commit") or source.get("sha256") or ""
        entity = self._add(f"#source-{source['path']}@{version}", "CreativeWork", name=source["path"])
        entity["description"], entity["version"] = source["kind"], version
        if source["kind"].startswith("hub"):
            kind = "datasets/" if source["kind"] == "hub data set" else ""
            entity["url"] = f"https://huggingface.co/{kind}{source['path']}/tree/{version}"
        return entity

    def _copy(self, path: str, **about: Any) -> Entity:
        return self.crate.add_file(self.root / path, path, properties={"name": path, **about})

    def _written(self, path: str, text: str, **about: Any) -> Entity:
        """A file of the crate that holds `text`."""
        return self.crate.add_file(StringIO(text), path, properties={"name": path, **about})

    def _shown(self, record: dict[str, Any]) -> dict[str, Any]:
        return record if self.private else withheld(record)

    def _shown_text(self, text: str) -> str:
        """The study as text, without the absolute paths that it names."""
        paths = [] if self.private else absolute_paths(self.study.plain())
        for path in sorted(paths, key=len, reverse=True):
            text = text.replace(path, without_paths(path, self.salt))
        return text

    def _add(self, identifier: str, kind: str, **about: Any) -> Entity:
        return self.crate.add(ContextEntity(self.crate, identifier, {"@type": kind, **about}))
