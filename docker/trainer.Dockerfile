# The trainer on NVIDIA GPUs. PyPI's torch brings its own CUDA libraries; the host gives the driver.
#
#     docker build --file docker/trainer.Dockerfile --tag humandepth-trainer:0.1.0 .
#     docker run --rm --gpus all --volume "$PWD:/data" humandepth-trainer:0.1.0 \
#         fit /data/dataset --out /data/checkpoint --preset paper
#
# `fit` on one GPU needs no --shm-size and no --ipc: batches do not pass through /dev/shm. NCCL, for several GPUs, uses
# it: add --shm-size=1g.
FROM python:3.11.13-slim-bookworm

# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 trainer

ARG TORCH_INDEX=https://pypi.org/simple
WORKDIR /opt/humandepth
COPY docker/trainer.lock ./
RUN python -m pip install --no-cache-dir --index-url "${TORCH_INDEX}" torch==2.13.0 \
    && python -m pip install --no-cache-dir --require-hashes --no-deps --requirement trainer.lock

COPY pyproject.toml README.md LICENSE NOTICE ./
COPY schemas schemas
COPY pipeline pipeline
COPY trainer trainer
RUN python -m pip install --no-cache-dir --no-deps --no-build-isolation .

USER 1000
WORKDIR /data
ENTRYPOINT ["python", "-m", "trainer"]
