#!/usr/bin/env bash
# Runs the pipeline on Google Dataflow with the image of docker/pipeline.Dockerfile.
#
#     PROJECT=p REGION=europe-west4 BUCKET=gs://bucket IMAGE=REGISTRY/humandepth-pipeline:0.1.0 \
#         docker/launch_dataflow.sh clips.csv gs://bucket/dataset [--set section.field=value ...]
#
# MAX_WORKERS (default 50) and MACHINE (default n2-standard-4) bound what it costs: ask `python -m pipeline plan` first.
# ACCELERATOR ("type:nvidia-tesla-t4;count:1;install-nvidia-driver") goes to the tracking step alone.
set -euo pipefail

for name in PROJECT REGION BUCKET IMAGE; do
    if [[ -z "${!name:-}" ]]; then
        echo "error: $name is not set. See the head of $0." >&2
        exit 2
    fi
done
if (($# < 2)); then
    echo "usage: $0 MANIFEST gs://BUCKET/DATASET [options of python -m pipeline run]" >&2
    exit 2
fi

manifest=$1 dataset=$2
shift 2
options=("$@")
if [[ -n "${ACCELERATOR:-}" ]]; then
    options+=(--set "run.accelerator=$ACCELERATOR")
fi
beam=(
    --runner=DataflowRunner "--project=$PROJECT" "--region=$REGION"
    "--temp_location=$BUCKET/tmp" "--staging_location=$BUCKET/staging"
    "--sdk_container_image=$IMAGE" --sdk_location=container
    "--machine_type=${MACHINE:-n2-standard-4}" "--max_num_workers=${MAX_WORKERS:-50}"
    --experiments=use_runner_v2
)
exec "${PYTHON:-python}" -m pipeline run "$manifest" --out "$dataset" "${options[@]}" -- "${beam[@]}"
