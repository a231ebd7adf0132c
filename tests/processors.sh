#!/usr/bin/env bash
# Tests under the instruction sets of other processors: what a test expects must not rest on how one of them rounds.
#
#     tests/processors.sh [arguments for pytest]
#
# `make processors` gives it all tests that run no whole study. Torch chooses its vector instructions by
# ATEN_CPU_CAPABILITY, oneDNN (matrix products) by ONEDNN_MAX_CPU_ISA, and Numba (our kernels) by NUMBA_CPU_NAME. A setting
# can only take instructions away: a processor without AVX-512 or AMX cannot show what those would give.
set -euo pipefail

SETTINGS=(
    "ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 NUMBA_CPU_NAME=generic"
    "ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2"
)

for setting in "${SETTINGS[@]}"; do
    echo "With $setting:"
    env $setting pytest "$@"
done
