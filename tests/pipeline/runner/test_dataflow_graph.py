"""What would be submitted to Dataflow, asserted without a network: image, hints of each step, fusion breaks."""

from __future__ import annotations

import pytest

from pipeline.config import Settings
from pipeline.records import ClipRef
from pipeline.runner import graph
from pipeline.runner.steps import Steps
from pipeline.runner.units import UnitWork
from schemas.settings import with_overrides

pytest.importorskip("google.cloud.storage", reason="pip install 'apache-beam[gcp]'")
pytest.importorskip("apitools", reason="pip install 'apache-beam[gcp]'")

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2

OPTIONS = [
    "--runner=DataflowRunner", "--project=a-project", "--region=us-central1", "--job_name=test", "--no_auth",
    "--temp_location=gs://bucket/tmp", "--staging_location=gs://bucket/staging", "--dry_run=True",
    "--sdk_container_image=registry/worker:1.2", "--sdk_location=container",
]  # fmt: skip
ACCELERATOR = "type:nvidia-tesla-t4;count:1;install-nvidia-driver"


@pytest.fixture(scope="module")
def proto():
    settings = with_overrides(Settings(), [f"run.accelerator={ACCELERATOR}", "run.tracking_ram=16GB"])
    pipeline = beam.Pipeline(options=PipelineOptions(OPTIONS))
    clip = ClipRef(clip_id="c", uri="gs://bucket/c.mp4", source_id="s")
    graph.build_for_cluster(pipeline, [clip], Steps(work=UnitWork(settings=settings, root="gs://bucket/out")))
    return pipeline.runner.driver().job.proto_pipeline


def steps(proto) -> dict:
    """Leaf steps by their first name."""
    found = {}
    for step in proto.components.transforms.values():
        if step.spec.urn == "beam:transform:pardo:v1":
            found[step.unique_name.split("/")[0]] = step
    return found


def environment(proto, step):
    return proto.components.environments[step.environment_id]


def test_every_step_runs_in_the_given_image(proto) -> None:
    for step in steps(proto).values():
        payload = beam_runner_api_pb2.DockerPayload.FromString(environment(proto, step).payload)
        assert payload.container_image == "registry/worker:1.2"


def test_only_tracking_asks_for_memory_and_an_accelerator(proto) -> None:
    found = {name: dict(environment(proto, step).resource_hints) for name, step in steps(proto).items()}
    hints = found.pop("Track")
    assert hints["beam:resources:accelerator:v1"] == ACCELERATOR.encode()
    assert int(hints["beam:resources:min_ram_bytes:v1"]) == 16 * 10**9
    assert {"Cut", "Render"} <= set(found)
    assert all(not other for other in found.values())


def test_a_shuffle_stands_on_both_sides_of_tracking(proto) -> None:
    """Walks upwards from a step to the first shuffle: none of its neighbours may be fused to it."""
    producers = {
        output: step for step in proto.components.transforms.values() for output in step.outputs.values()
    }

    def above(name: str) -> list[str]:
        (collection,) = steps(proto)[name].inputs.values()
        return [step.unique_name for step in proto.components.transforms.values()
                if collection in step.outputs.values()]  # fmt: skip

    assert producers
    assert any("Spread segments" in name for name in above("Track"))
    assert any("Spread tracks" in name for name in above("Render"))


def test_on_one_machine_all_steps_are_one() -> None:
    pipeline = beam.Pipeline()
    graph.build_for_one_machine(pipeline, 2, "queue", Steps(work=UnitWork(settings=Settings(), root="out")))
    proto = pipeline.to_runner_api()
    assert steps(proto)["Track"].environment_id == steps(proto)["Render"].environment_id
    for name, after in (("Draw", "Track"), ("Track", "Render")):
        assert list(steps(proto)[name].outputs.values()) == list(steps(proto)[after].inputs.values())
