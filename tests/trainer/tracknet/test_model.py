"""The network's shape is the published one, its mean body stands upright, and its loss is what it says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.body.model import BodyModel
from schemas.errors import AssetError, SettingsError
from tests.trainer.tracknet.made_up import BODY_FILE, NETWORK, vector
from trainer.model import parameter_count
from trainer.tracknet.body import TorchBody
from trainer.tracknet.config import LossSettings, NetworkSettings, PictureSettings, tracknet_preset
from trainer.tracknet.losses import aligned, losses_of
from trainer.tracknet.model import Bodies, TrackNet
from trainer.tracknet.rotations import rotation_from_rotvec, six_from_rotation


@pytest.fixture(scope="module")
def body() -> TorchBody:
    return TorchBody.load(BODY_FILE)


def bodies(rng: np.random.Generator, count: int, form: str) -> tuple[Bodies, torch.Tensor]:
    """Random bodies, and their vectors, float64."""
    truth = torch.from_numpy(np.stack([vector(rng) for _ in range(count)]))
    pose = truth[:, 3:75]
    if form == "rot6d":
        pose = six_from_rotation(rotation_from_rotvec(pose.unflatten(-1, (24, 3)))).flatten(-2)
    return Bodies(pose=pose, betas=truth[:, 75:], camera=truth[:, :3]), truth


def test_the_published_shape() -> None:
    with torch.device("meta"):
        model = TrackNet(tracknet_preset("hmr").network)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert parameter_count(model.encoder) == 23_508_032  # ResNet-50 without its classifier
    assert shapes["encoder.layer1.0.downsample.0.weight"] == (256, 64, 1, 1)
    assert shapes["encoder.layer3.5.conv2.weight"] == (256, 256, 3, 3)
    assert shapes["encoder.layer4.2.conv3.weight"] == (2048, 512, 1, 1)
    assert shapes["fc1.weight"] == (1024, 2048 + 144 + 13)
    assert (shapes["decpose.weight"], shapes["decshape.weight"]) == ((144, 1024), (10, 1024))
    assert model.encoder.layer2[0].conv2.stride == (2, 2)  # the 3x3 carries it, as in the common files


@pytest.mark.parametrize("form", ["rot6d", "axis_angle"])
def test_a_picture_gives_85_numbers_and_an_idle_regressor_the_mean_body(form: str) -> None:
    model = TrackNet(NetworkSettings(**{**vars(NETWORK), "rotation_form": form})).eval()
    for layer in (model.decpose, model.decshape, model.deccam):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    found = model(torch.rand(2, 3, 32, 32))
    assert found.shape == (2, 85)
    upright = rotation_from_rotvec(found[:, 3:6])
    torch.testing.assert_close(
        upright, torch.diag(torch.tensor([1.0, -1, -1])).expand(2, 3, 3), atol=1e-6, rtol=0
    )
    torch.testing.assert_close(found[:, 6:], torch.zeros(2, 79))
    torch.testing.assert_close(found[:, :3], torch.tensor([[0.9, 0, 0]]).expand(2, 3))


def test_both_scalings_of_the_picture() -> None:
    grey = torch.full((1, 3, 32, 32), 0.5)
    hmr = TrackNet(NETWORK).scaled(grey * 2)
    torch.testing.assert_close(hmr, torch.ones(1, 3, 32, 32))  # 255 / 127.5 - 1
    imagenet = TrackNet(NetworkSettings(**{**vars(NETWORK), "scaling": "imagenet"})).scaled(grey)
    torch.testing.assert_close(
        imagenet[0, :, 0, 0], torch.tensor([0.015 / 0.229, 0.044 / 0.224, 0.094 / 0.225])
    )


def test_the_tensor_body_is_the_pipelines(body: TorchBody) -> None:
    found, truth = bodies(np.random.default_rng(0), 3, "axis_angle")
    joints = body.joints(found.rotations.float(), found.betas.float())
    vertices = body.vertices(found.rotations.float(), found.betas.float())
    oracle, nowhere = BodyModel.open_body(), np.zeros(3)
    pose, betas = truth[:, 3:75].reshape(3, 24, 3).numpy(), truth[:, 75:].numpy()
    np.testing.assert_allclose(joints.numpy(), oracle.joints(pose, betas, nowhere), atol=2e-6)
    np.testing.assert_allclose(vertices.numpy(), oracle.vertices(pose, betas, nowhere), atol=5e-6)


def test_a_file_that_is_no_body_is_refused(tmp_path) -> None:
    np.savez(tmp_path / "body.npz", v_template=np.zeros((3, 3)))
    with pytest.raises(AssetError, match="body export"):
        TorchBody.load(tmp_path / "body.npz")


@pytest.mark.parametrize("form", ["rot6d", "axis_angle"])
def test_the_loss_is_zero_at_the_truth_and_knows_no_whole_turns(body: TorchBody, form: str) -> None:
    found, truth = bodies(np.random.default_rng(1), 4, form)
    losses = losses_of(found, truth, body.double(), LossSettings())
    assert float(losses.total) < 1e-12
    length = truth[:, 3:6].norm(dim=1, keepdim=True)
    turned = torch.cat([truth[:, :3], truth[:, 3:6] * (1 - 2 * torch.pi / length), truth[:, 6:]], dim=1)
    assert float(losses_of(found, turned, body.double(), LossSettings()).total) < 1e-12


def test_each_term_in_closed_form(body: TorchBody) -> None:
    found, truth = bodies(np.random.default_rng(2), 4, "rot6d")
    off = Bodies(pose=found.pose, betas=found.betas, camera=found.camera + torch.tensor([0.3, 0, 0]))
    losses = losses_of(off, truth, body.double(), LossSettings())
    assert float(losses.parameters) == pytest.approx(0.03)
    assert float(losses.positions) == pytest.approx(0)
    # a global rotation turned by a: every joint moves by 2 sin(a / 2) times its distance from the axis
    angle = 0.2
    turn = rotation_from_rotvec(torch.tensor([0.0, 0, angle], dtype=torch.float64))
    rotations = found.rotations.clone()
    rotations[:, 0] = turn @ rotations[:, 0]
    off = Bodies(pose=six_from_rotation(rotations).flatten(-2), betas=found.betas, camera=found.camera)
    losses = losses_of(off, truth, body.double(), LossSettings())
    joints = body.joints(found.rotations, found.betas)
    away = (joints - joints[:, :1])[..., :2].norm(dim=-1)
    expected = (2 * np.sin(angle / 2) * away).square().mean()
    assert float(losses.positions) == pytest.approx(float(expected))
    # |turn - 1|_F^2 = 4 (1 - cos a), of 24 matrices of 9 entries
    assert float(losses.rotations) == pytest.approx(4 * (1 - np.cos(angle)) / (24 * 9))


@pytest.mark.parametrize("form", ["rot6d", "axis_angle"])
@pytest.mark.parametrize(("reading", "size"), [("theta85", 85), ("theta82", 82)])
def test_l_para_as_l2_on_the_coefficients(body: TorchBody, form: str, reading: str, size: int) -> None:
    found, truth = bodies(np.random.default_rng(4), 3, form)
    settings = LossSettings(parameters=reading)
    away = torch.zeros(85, dtype=torch.float64)
    away[1], away[80], away[84] = 0.3, -0.5, 0.7  # ty, and two of the shape's
    off = Bodies(pose=found.pose, betas=found.betas + away[75:], camera=found.camera + away[:3])
    expected = float((away[85 - size :] ** 2).sum()) / size
    assert float(losses_of(off, truth, body.double(), settings).parameters) == pytest.approx(
        expected, rel=1e-6
    )
    # one joint bent by a further .2 about its own axis: |theta - theta*| = .2
    length = truth[:, 12:15].norm(dim=1, keepdim=True)
    bent = truth.clone()
    bent[:, 12:15] *= (length + 0.2) / length
    assert float(losses_of(found, bent, body.double(), settings).parameters) == pytest.approx(
        0.04 / size, rel=1e-5
    )
    turned = truth.clone()  # the same body by another vector
    turned[:, 12:15] *= 1 - 2 * torch.pi / length
    assert float(losses_of(found, turned, body.double(), settings).parameters) < 1e-9


def test_the_paper_preset_is_hmr_with_l2_on_its_coefficients() -> None:
    settings = tracknet_preset("paper")
    with torch.device("meta"):
        model = TrackNet(settings.network)
    assert model.fc1.weight.shape == (1024, 2048 + 85)
    assert (settings.network.regressor_activation, settings.losses.parameters) == ("relu", "theta85")
    assert (settings.pictures.background_per, settings.pictures.background_share) == ("sequence", 1.0)
    with pytest.raises(SettingsError, match="background_share"):
        PictureSettings(background_share=2.0)


@pytest.mark.parametrize("form", ["rot6d", "axis_angle"])
@pytest.mark.parametrize("term", ["total", "parameters", "positions", "rotations"])
def test_the_gradient_of_each_term(body: TorchBody, form: str, term: str) -> None:
    rng = np.random.default_rng(3)
    found, _ = bodies(rng, 1, form)
    _, truth = bodies(rng, 1, form)
    exact = body.double()

    def value(pose: torch.Tensor, betas: torch.Tensor, camera: torch.Tensor) -> torch.Tensor:
        made = Bodies(pose=pose, betas=betas, camera=camera)
        return getattr(losses_of(made, truth, exact, LossSettings()), term)

    inputs = [tensor.clone().requires_grad_() for tensor in (found.pose, found.betas, found.camera)]
    assert torch.autograd.gradcheck(value, inputs)
    value(*inputs).backward()
    moved = {"parameters": 3, "total": 3, "positions": 2, "rotations": 1}[term]
    assert sum(tensor.grad is not None and bool(tensor.grad.any()) for tensor in inputs) == moved


def test_alignment_undoes_a_similarity_and_no_mirror() -> None:
    points = torch.randn(2, 24, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    turn = rotation_from_rotvec(torch.tensor([0.3, -1.2, 2.0], dtype=torch.float64))
    moved = 1.7 * points @ turn.T + torch.tensor([1.0, 2, 3])
    torch.testing.assert_close(aligned(moved, points), points)
    mirrored = points * torch.tensor([-1.0, 1, 1])
    assert (aligned(mirrored, points) - points).norm(dim=-1).mean() > 0.1


def test_settings_that_make_no_network_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"network\.blocks"):
        NetworkSettings(blocks=(1, 2))
    with pytest.raises(SettingsError, match="unknown preset"):
        tracknet_preset("huge")
