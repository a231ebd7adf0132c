"""What a person sees of a run: the logger plugin `study`."""

import logging
import time
from types import SimpleNamespace

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from snakemake_logger_plugin_study import LogHandler, duration, progress_in

QUIET = {"quiet": None, "nocolor": True, "verbose": False, "debug_dag": False, "printshellcmds": False, "stdout": False}


@pytest.fixture
def handler():
    made = LogHandler(SimpleNamespace(**QUIET, show_failed_logs=True, dryrun=False), None)
    yield made
    made.close()


def say(handler: LogHandler, text: str = "", level: int = logging.INFO, **about: object) -> None:
    handler.handle(
        logging.makeLogRecord({"msg": text, "levelno": level, "levelname": logging.getLevelName(level)} | about)
    )


def start(handler: LogHandler, jobid: int, message: str | None, log: str) -> None:
    say(handler, event=LogEvent.JOB_INFO, jobid=jobid, rule_msg=message, rule_name="rl", log=[log])


def test_a_run_says_what_is_done_and_what_failed_and_no_more(handler, tmp_path, capsys):
    log = tmp_path / "job.log"
    log.write_text("training:  50%|#####     | 1/2 [00:01<00:01, 1.00 step/s]\nerror: corpora.x: no file x.jsonl\n")
    say(handler, "Building DAG of jobs...")
    say(handler, "total 2", event=LogEvent.RUN_INFO, stats={"total": 3})
    say(handler, "Select jobs to execute...")
    start(handler, 1, "Training dapo", str(log))
    start(handler, 2, "Building corpus x", str(log))
    start(handler, 3, None, str(log))
    say(handler, event=LogEvent.JOB_FINISHED, job_id=1)
    say(handler, event=LogEvent.JOB_ERROR, jobid=2, rule_name="corpus", log=[str(log)])
    say(handler, "At least one job did not complete", logging.ERROR)
    say(handler, "Complete log(s): x.log")
    assert capsys.readouterr().err.splitlines() == [
        "[1/3] Training dapo (0 s)",
        "failed: Building corpus x",
        "    error: corpora.x: no file x.jsonl",
        f"    (all of it: {log})",
        "At least one job did not complete",
        "Complete log(s): x.log",
    ]


def test_messages_before_a_run_are_kept(handler, capsys):
    say(handler, "Unlocked working directory.")
    say(handler, "Building DAG of jobs...")
    assert capsys.readouterr().err == "Unlocked working directory.\n"


def test_a_job_s_progress_is_the_last_that_its_log_holds(tmp_path):
    log = tmp_path / "job.log"
    line = "{0}%|##        | {0}/100 [00:12<{1}, 5.33 step/s, loss=0.1]\n"
    log.write_text("training: " + line.format(20, "00:48") + "training: " + line.format(45, "00:15"))
    assert progress_in(log, since=0) == "45 % (45/100), 00:15 left"
    assert progress_in(log, since=time.time() + 60) == ""  # of an earlier run
    log.write_text("training:   0%|          | 0/100 [00:00<?, ? step/s]\n")
    assert progress_in(log, since=0) == "0 % (0/100)"
    assert progress_in(tmp_path / "none.log", since=0) == ""


def test_durations_are_as_people_say_them():
    assert [duration(seconds) for seconds in (0.4, 59.4, 60, 185, 3600, 7625)] == [
        *("0 s", "59 s", "1 min 00 s", "3 min 05 s", "1 h 00 min", "2 h 07 min")
    ]
