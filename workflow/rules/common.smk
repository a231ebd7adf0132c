"""The study, its names and paths, and what every rule's `params: spec` holds."""

import json
import sys
from pathlib import Path
from shlex import quote

ROOT = Path(workflow.basedir)
sys.path.insert(0, str(ROOT / "workflow"))

from snakemake.dag import DAG
from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod

from tokenshift.config.analysis import Measures
from tokenshift.config.compute import Hardware
from tokenshift.config.loading import load_study, require_files
from tokenshift.config.measurements import Compared, Drafting, ResponseSampling
from tokenshift.config.section import part_of
from tokenshift.errors import StudyError
from tokenshift.provenance.packages import require_locked
from tokenshift.provenance.hashes import code_hash, file_hash
from tokenshift.provenance.records import require_own
from tokenshift.registries.trajectories import DIRECTIONS, OWN
from tokenshift.cluster.resources import (
    fetching_mb,
    inference_gpus,
    inference_launcher,
    launcher,
    memory_mb,
    size_of,
    training_gpus,
)
from tokenshift.summary.closing import summary
from tokenshift.summary.finding import finding, seen

CONDA = DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method

try:
    STUDY = load_study(config["study"])
    if workflow.is_main_process:
        require_files(STUDY)
        require_own(Path("results") / STUDY.name)
        if not CONDA:  # whose environments are pinned
            require_locked(ROOT / "requirements.lock")
except StudyError as error:
    raise WorkflowError(str(error)) from None

RESULTS = f"results/{STUDY.name}"
# For the texts in workflow/report.
config["allow_overlap"] = STUDY.allow_overlap
config["finding"] = finding(Path(RESULTS)) if workflow.is_main_process else ""
config["seen"] = seen(Path(RESULTS)) if workflow.is_main_process else {}
SCRIPTS = ROOT / "workflow/scripts"

# vLLM pins other packages than the inference stack, so it has an environment of its own; without conda, beside .venv.
VLLM = STUDY.evaluation.engine == "vllm"
VLLM_PYTHON = ROOT / ".venv-vllm/bin/python"
ROLLOUT_SCRIPT = "rollouts_vllm.py" if VLLM else "rollouts.py"
# All RL models are trained in one environment, so that those that are compared differ in what the study says alone.
RL_STACK = "vllm" if any(model.rl and model.rl.engine == "vllm" for model in STUDY.models.values()) else "training"

if unusable := {":", "{", "}"} & set(str(ROOT)):
    raise WorkflowError(
        f"the project's folder, {ROOT}, has {' '.join(sorted(unusable))} in its path: PATH holds no ':', and Snakemake takes "
        "braces for wildcards; move it elsewhere"
    )

# No job can be asked anything. Variables are neither split into words nor taken for patterns: folders may have any name.
PREFIX = "exec < /dev/null; set -f; IFS=; "
# The library is importable in every environment; without conda, `python` is the one that runs Snakemake.
# One thread for the linear algebra and the tables unless a script asks for more, and as many as it asks for whatever the
# machine has: the same bytes everywhere.
PREFIX += f"export PYTHONPATH={quote(str(ROOT / 'workflow'))} OMP_NUM_THREADS=1 MKL_DYNAMIC=FALSE POLARS_MAX_THREADS=1"
PREFIX += f" PYTHONHASHSEED=0 TOKENIZERS_PARALLELISM=false SCRIPTS={quote(str(SCRIPTS))}; "
# What a stopped training run goes on from is declared by no rule, since Snakemake deletes the outputs of a job that failed.
PREFIX += f"export STATES={RESULTS}/training_state; "
if trusted := [name for name in STUDY.models if STUDY.runs_code_of(name)]:
    PREFIX += f"export TOKENSHIFT_REMOTE_CODE={quote(' '.join(trusted))}; "
if not CONDA:
    PREFIX += f"export PATH={quote(str(Path(sys.executable).parent))}:$PATH; "
shell.prefix(PREFIX)


class Spec(dict):
    """Everything but the input files that a result depends on; as text, the JSON for the script's --spec."""

    def __str__(self):
        return json.dumps(self, sort_keys=True)


def spec(script, stack, **settings):
    """Spec of a rule that runs `script` in the environment of `stack` with this slice of the study."""
    return Spec(**settings, code=code_hash(SCRIPTS / script), environment=file_hash(ROOT / "envs" / f"{stack}.yaml"))


def spec_later(script, stack, **settings):
    """The same as a function of wildcards: code is hashed for rules that have a job, not for all at each start."""
    return lambda wildcards: spec(script, stack, **settings)


def data_hash(entry):
    """Hash of the local file that a problem set or corpus is read from; null for other sources."""
    source = entry.jsonl or entry.datasets
    return file_hash(source.path) if source and Path(source.path).is_file() else None


def one_of(names):
    """Wildcard constraint: one of `names` (of none, nothing)."""
    return "|".join(names) or "(?!)"


def models_from(origin):
    return [name for name, model in STUDY.models.items() if model.origin == origin]


def manifest(model):
    """The file that stands for a model's folder: hashes of all others, written last."""
    return f"{RESULTS}/models/{model}/manifest.json"


def heldout_problems(rl):
    """The problem set that a training run is evaluated on while it runs; none without `evaluation`."""
    return [] if rl.evaluation is None else f"{RESULTS}/problems/{rl.evaluation.problems}.parquet"


def training_spec(model, threads=STUDY.compute.threads):
    """Settings of the job that trains `model` on so many CPU threads."""
    entry = STUDY.models[model]
    return {
        entry.origin: getattr(entry, entry.origin).plain(),
        "seed": entry.seeds[0],
        "prompt": STUDY.prompt_of(model).plain(),
        "compute": part_of(STUDY.compute, Hardware) | {"threads": threads},
    }


def sampling_spec(samples=STUDY.evaluation.samples):
    """Settings of every job that draws so many responses to each evaluation problem."""
    return {
        "seed": STUDY.seed,
        "evaluation": part_of(STUDY.evaluation, ResponseSampling) | {"samples": samples},
        "compute": part_of(STUDY.compute, Hardware),
    }


def rollouts_spec(wildcards):
    """Settings of a job that samples responses of one model."""
    settings = {"prompt": STUDY.prompt_of(wildcards.model).plain(), **sampling_spec()}
    if not VLLM:
        return spec(ROLLOUT_SCRIPT, "inference", **settings)
    sharded = STUDY.compute.placement == "sharded"
    gpus = inference_gpus(STUDY.compute, [size_of(STUDY, wildcards.model)]) if sharded else 1
    return spec(ROLLOUT_SCRIPT, "vllm", engine=STUDY.evaluation.engine, gpus=max(1, gpus), **settings)


def prompting_spec(wildcards):
    """The prompts of a pair's models, and which of them a policy is conditioned on."""
    pair = STUDY.pairs[wildcards.pair]
    prompts = {"base": STUDY.prompt_of(pair.base).plain(), "tuned": STUDY.prompt_of(pair.tuned).plain()}
    return {"prompts": prompts, "conditioning": STUDY.scoring.conditioning}


def sweep_spec(wildcards):
    """Settings of every job that decodes with two policies."""
    return {
        "pair": wildcards.pair,
        "set": wildcards.problem_set,
        "direction": wildcards.direction,
        "drafting": part_of(STUDY.cross_sampling, Drafting),
        **prompting_spec(wildcards),
        **sampling_spec(STUDY.cross_sampling.samples or STUDY.evaluation.samples),
    }


def evaluation_truncation():
    """The evaluation's sampling distribution."""
    return {"temperature": STUDY.evaluation.temperature, "top_p": STUDY.evaluation.top_p}


def scoring_spec(wildcards):
    """Settings of every job that scores responses."""
    return {
        "pair": wildcards.pair,
        "set": wildcards.problem_set,
        **prompting_spec(wildcards),
        "truncation": evaluation_truncation(),
        "compared": part_of(STUDY.scoring, Compared),
        "batch_tokens": STUDY.scoring.batch_tokens,
        "chunk_memory_mb": STUDY.scoring.chunk_memory_mb,
        "compute": part_of(STUDY.compute, Hardware),
    }


def pair_models(wildcards):
    """The two model folders of a pair, as named inputs."""
    pair = STUDY.pairs[wildcards.pair]
    return {"base": manifest(pair.base), "tuned": manifest(pair.tuned)}


def part(path):
    """The path that a stage's job writes: the file itself or, with several shards, its shard of it."""
    stem, suffix = path.rsplit(".", 1)
    return path if STUDY.compute.shards == 1 else f"{stem}/{{shard}}-of-{STUDY.compute.shards}.{suffix}"


def shard(wildcards):
    """Number of this job's shard, from 0, and how many there are."""
    return [int(getattr(wildcards, "shard", 0)), STUDY.compute.shards]


def pair_sizes(wildcards):
    """Billions of parameters of a pair's two models, where the study says."""
    pair = STUDY.pairs[wildcards.pair]
    return [size_of(STUDY, pair.base), size_of(STUDY, pair.tuned)]


def holding(sizes):
    """Resources of a job that runs models of these `sizes`, a function of its wildcards; `launch` starts its script."""
    return {
        "launch": lambda w: inference_launcher(STUDY.compute, inference_gpus(STUDY.compute, sizes(w))),
        "nodes": 1,  # SLURM would spread the GPUs of a job over nodes
        "gpu": lambda w: inference_gpus(STUDY.compute, sizes(w)),
        "mem_mb": lambda w: memory_mb(STUDY.compute, sizes(w)),
        "runtime": STUDY.compute.runtime,
    }


def python_of(stack):
    """The command that runs Python in the environment of `stack`: on PATH but for vLLM's without conda."""
    return quote(str(VLLM_PYTHON)) if stack == "vllm" and VLLM_PYTHON.is_file() and not CONDA else "python"


def rollout_launch():
    """How rollouts are started where not as every other model job: vLLM starts a process for each GPU by itself."""
    return {"launch": python_of("vllm")} if VLLM else {}


def training(stack="training"):
    """Resources of a training job in the environment of `stack`; `launch` is the command that starts its processes.

    On several nodes, in the one shape that works: `gres` counts GPUs on a node, where `gpu` counts those of the job, and
    SLURM's plugin wants at least two tasks on each node of a job that calls srun itself (`mpi`).
    """
    compute = STUDY.compute
    gpus = lambda w: training_gpus(compute, size_of(STUDY, w.model))
    asked = {
        "mem_mb": lambda w: memory_mb(compute, [size_of(STUDY, w.model)]),
        "runtime": compute.runtime,
        "launch": lambda w, threads: launcher(compute, gpus(w), threads, python_of(stack)),
    }
    if compute.nodes == 1:
        return {**asked, "gpu": gpus, "nodes": 1}
    asked |= {"nodes": compute.nodes, "mpi": "srun", "tasks_per_node": lambda w: max(2, gpus(w))}
    return {**asked, "gres": lambda w: f"gpu:{gpus(w)}"} if compute.device == "cuda" else asked


# Where a job behind an ancient file is not rerun, Snakemake 9 takes those behind it for decided too, and leaves out what is
# missing (its issue 4166): a study whose preflight check is to be made again would end after that check. So the jobs that
# follow from a rerun are looked for along other files alone; of the rest, each is decided by its own state.
def following(dag, direction, *jobs, stop=lambda job: False):
    queue, seen = list(jobs), set(jobs)
    while queue:
        job = queue.pop(0)
        if stop(job):
            continue
        yield job
        for other, files in direction[job].items():
            if other not in seen and not (direction is dag.depending and all(file.is_ancient for file in files)):
                seen.add(other)
                queue.append(other)


DAG.bfs = following


wildcard_constraints:
    problem_set=one_of(STUDY.problems),
    corpus=one_of(STUDY.corpora),
    model=one_of(STUDY.models),
    pair=one_of(STUDY.pairs),
    trajectory=one_of(dict.fromkeys([*OWN, *STUDY.scoring.trajectories])),
    direction=one_of(DIRECTIONS),
    shard=r"\d+",
