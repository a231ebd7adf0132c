"""What is done when a run starts: before the first job, in the main process only."""

from tokenshift.cluster import start
from tokenshift.provenance.records import is_sound
from tokenshift.training.finished import forget_finished

ASKED = {*start.FLAGS, "gpu", "gpu_model"}


def asked_of_slurm():
    """What the jobs of this run ask of SLURM."""
    jobs = [job for job in workflow.dag.needrun_jobs() if not job.is_local]
    return [{**{name: job.resources.get(name) for name in ASKED}, "threads": job.threads} for job in jobs]


def check_start():
    """Refuse a run that SLURM would refuse, or that would write what jobs of an earlier run still write."""
    submitting = workflow.executor_plugin.name == "slurm"
    try:
        if submitting:
            start.require_slurm()
        elif STUDY.compute.nodes > 1:
            raise StudyError(
                f"compute.nodes is {STUDY.compute.nodes}: only SLURM starts training on several nodes; start with "
                "`snakemake --profile slurm`, or set compute.nodes to 1"
            )
        start.refuse_live_jobs(Path.cwd())
        if submitting:
            start.refuse_impossible(asked_of_slurm())
    except StudyError as error:
        raise WorkflowError(str(error)) from None


def published():
    """Trained models of this run's plan that Snakemake does not take for incomplete, and that their records describe."""
    jobs = [job for job in workflow.dag.jobs if job.rule.name in ("pretrain", "sft", "rl")]
    complete = [job for job in jobs if not workflow.async_run(workflow.persistence.incomplete(job))]
    return [job.wildcards.model for job in complete if is_sound(Path(manifest(job.wildcards.model)))]


onstart:
    check_start()
    forget_finished(Path(f"{RESULTS}/training_state"), published())
