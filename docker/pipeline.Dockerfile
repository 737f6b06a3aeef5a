# The image of Beam's workers, on Dataflow or elsewhere: Apache Beam's own worker image of the version in
# docker/pipeline.lock, GL libraries for the pyrender backend, this package, and the fetched models.
#
#     docker build --file docker/pipeline.Dockerfile --tag REGISTRY/humandepth-pipeline:0.1.0 .
#
# It runs as root, as Beam's worker images do: Dataflow mounts the folders that its harness writes to as root.
FROM apache/beam_python3.11_sdk:2.77.0

# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libegl1 libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/humandepth
COPY docker/pipeline.lock ./
RUN python -m pip install --no-cache-dir --require-hashes --no-deps --requirement pipeline.lock

COPY pyproject.toml README.md LICENSE NOTICE ./
COPY schemas schemas
COPY pipeline pipeline
COPY trainer trainer
RUN python -m pip install --no-cache-dir --no-deps --no-build-isolation .

ENV HUMANDEPTH_CACHE=/opt/humandepth/models \
    OMP_NUM_THREADS=1 \
    OPENBLAS_NUM_THREADS=1
RUN python -m pipeline fetch pose_detection.tflite pose_landmark_full.tflite pose_landmark_heavy.tflite
