#!/usr/bin/env bash
# Runs the pipeline as an array job of Slurm, a shard of the clips a task, and merges the shards in a job that waits.
#
#     SHARDS=32 docker/launch_slurm.sh clips.csv dataset [options of `run`] [-- options of sbatch]
#     SHARDS=32 WORKERS=4 docker/launch_slurm.sh clips.csv dataset --preset released -- --partition=cpu --mem=8G
#
# All folders must lie on a disk that every node sees. Every shard has a folder of its own in PARTS (DATASET.parts).
# A second array job (RETRIES of them, default 1) runs what the first left unfinished; the merge says what is missing
# after that. The same command again goes on: finished units are never made twice.
#
# SHARDS   tasks of the array (8)                  MAX_RUNNING  of them at a time (all)
# WORKERS  processes and CPUs of a task (1)        KEEP_PARTS=1 leaves the shards' folders (else they are deleted)
# PYTHON   the Python of every node (python)
set -euo pipefail

is_finished() { # a shard's note is there only once its run has ended, whatever became of single clips
    [[ -e "$parts/$1-of-$shards/meta/shards/$1-of-$shards.json" ]]
}

case "${1:-}" in
--task) # of the array: ATTEMPT PARTS SHARDS MANIFEST [options of run]
    attempt=$2 parts=$3 shards=$4 manifest=$5 shard=$SLURM_ARRAY_TASK_ID code=0
    shift 5
    if ((attempt > 0)) && is_finished "$shard"; then
        exit 0
    fi
    "${PYTHON:-python}" -m pipeline run "$manifest" --out "$parts/$shard-of-$shards" --shard "$shard/$shards" "$@" ||
        code=$?
    if is_finished "$shard"; then # codes 3, 4 and 5 speak of clips: they are in the table `failures`
        exit 0
    fi
    exit "$((code ? code : 1))"
    ;;
--merge) # PARTS SHARDS DATASET [options of merge]
    parts=$2 shards=$3 dataset=$4 missing=() folders=()
    shift 4
    for ((shard = 0; shard < shards; shard++)); do
        is_finished "$shard" || missing+=("$shard")
        folders+=("$parts/$shard-of-$shards")
    done
    if [[ ${#missing[@]} -gt 0 && ! -e "$dataset/meta/merged.json" ]]; then
        echo "error: shards not finished: ${missing[*]} of $shards. See $parts/logs, and run the same command again." >&2
        exit 1
    fi
    "${PYTHON:-python}" -m pipeline dataset merge "${folders[@]}" --out "$dataset" "$@"
    exit 0
    ;;
esac

if (($# < 2)); then
    echo "usage: $0 MANIFEST DATASET [options of python -m pipeline run] [-- options of sbatch]" >&2
    exit 2
fi
shards=${SHARDS:-8} retries=${RETRIES:-1} workers=${WORKERS:-1}
for name in shards retries workers; do
    if [[ ! "${!name}" =~ ^[0-9]+$ ]] || { [[ $name != retries ]] && ((${!name} < 1)); }; then
        echo "error: ${name^^} is '${!name}', expected a whole number." >&2
        exit 2
    fi
done
manifest=$1 dataset=$2
shift 2
run=() submit=()
while (($#)) && [[ $1 != -- ]]; do
    run+=("$1")
    shift
done
submit=("${@:2}")
if [[ -e "$dataset/meta/info.json" ]]; then
    echo "error: $dataset is there already. Give another DATASET; \`python -m pipeline run\` adds clips to one." >&2
    exit 1
fi
parts=${PARTS:-$dataset.parts}
mkdir -p "$parts/logs"

job() { # NAME LOG DEPENDENCY sbatch-option... : submits this script, prints the job's number
    local name=$1 log=$2 after=$3 waits=()
    shift 3
    [[ -z $after ]] || waits=("--dependency=afterany:$after")
    local number
    number=$(sbatch --parsable --job-name "$name" --output "$parts/logs/$log" --open-mode append --requeue \
        "${waits[@]}" "$@")
    echo "${number%%;*}"
}

last=""
for ((attempt = 0; attempt <= retries; attempt++)); do
    last=$(job humandepth "%A_%a.log" "$last" --array "0-$((shards - 1))${MAX_RUNNING:+%$MAX_RUNNING}" \
        --cpus-per-task "$workers" "${submit[@]}" "$0" --task "$attempt" "$parts" "$shards" "$manifest" \
        --workers "$workers" "${run[@]}")
    echo "array job $last: $shards shards$([[ $attempt == 0 ]] || echo ", those left unfinished")"
done
move=(--move)
[[ -z "${KEEP_PARTS:-}" ]] || move=()
last=$(job humandepth-merge "%A.log" "$last" "${submit[@]}" "$0" --merge "$parts" "$shards" "$dataset" "${move[@]}")
echo "merge job $last: $dataset; logs in $parts/logs"
