"""Write a short study file for a pair of models, to be edited."""

import argparse
import json

from tokenshift.atomic import atomic_file
from tokenshift.command import run
from tokenshift.config.loading import STUDIES, load_study
from tokenshift.errors import StudyError

TEMPLATE = """\
# Every key is described in config/README.md; `make estimate STUDY={name}` says what this will cost, `make problems
# STUDY={name}` what the problems are, and `snakemake -n --config study={name}` which jobs there are.
name: {name}
seed: 1

# Replace by your problems: rows with problem_id, problem and answer (docs/data.md says what else can be read).
problems:
  given:
    jsonl: {{path: {data}}}

models:
  base:
    pretrained: {{path: {base}}}   # a hub id needs `revision`, a commit
  tuned:
    pretrained: {{path: {tuned}}}

pairs:
  tuned: {{base: base, tuned: tuned}}

# How problems become prompts; `chat: false` where a model has no chat template. A model may have a prompt of its own
# (models.NAME.prompt).
prompt: {{chat: true}}

# The paper: 32 samples, at most 20,000 tokens.
evaluation:
  sets: [given]
  samples: 4
  temperature: 1.0
  top_p: 0.7
  max_new_tokens: 2000
  batch_size: 64   # responses decoded together: as many as memory holds

# Decoding with both policies; each quantile of JS is a threshold.
cross_sampling:
  pairs: [tuned]
  quantiles: [0.5, 0.8, 0.9, 0.95]

# On a GPU: device: cuda, dtype: bfloat16, gpus: 1, mem_mb: 64000, runtime: 1440. On a CPU with instructions for it
# (lscpu shows avx512_bf16 or amx_bf16), bfloat16 takes about half the time.
compute: {{device: cpu, dtype: float32}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True, help="name of the study, and of its file under config/studies")
    parser.add_argument("--base", required=True, help="folder or hub id of the base model")
    parser.add_argument("--tuned", required=True, help="folder or hub id of the tuned model")
    parser.add_argument("--data", default="data/problems.jsonl", help="JSON-lines file of problems")
    args = parser.parse_args()
    file = STUDIES / f"{args.name}.yaml"
    if file.exists():
        raise StudyError(f"{file} is there already: edit it, or choose another name")
    quoted = {key: json.dumps(value) for key, value in vars(args).items() if key != "name"}
    with atomic_file(file) as temporary:
        temporary.write_text(TEMPLATE.format(name=args.name, **quoted), encoding="utf-8")
        load_study(str(temporary))
    print(f"{file} written; edit it, then `snakemake -n --config study={args.name}`")


if __name__ == "__main__":
    run(main)
