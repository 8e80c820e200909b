"""A Once-for-All checkpoint, made here with that network's names and shapes, against that network's own arithmetic."""

import pytest
import torch
import torch.nn.functional as F
from tiny_networks import images

from offramp.architecture import Bottleneck
from offramp.nn import Supernet
from offramp.nn.ofa import OfaError, _wanted, load_ofa
from offramp.spaces import space

WIDTHS, STRIDES = (24, 40, 80, 112, 160), (2, 2, 2, 1, 2)
SQUEEZE = (False, True, False, True, True)


def squeezed(hidden: int) -> int:
    """A quarter of `hidden`, as the nearest multiple of 8 that does not lose more than a tenth."""
    quarter = hidden // 4
    found = max(8, (quarter + 4) // 8 * 8)
    return found if found >= 0.9 * quarter else found + 8


def checkpoint(classes: int = 10, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights under the names of `ofa_mbv3_d234_e346_k357_w1.0`."""
    g = torch.Generator().manual_seed(seed)
    found: dict[str, torch.Tensor] = {}

    def put(name: str, *shape: int) -> None:
        fan = max(1, torch.Size(shape[1:]).numel())
        found[name] = torch.randn(*shape, generator=g) * (2 / fan) ** 0.5

    def norm(name: str, channels: int) -> None:
        found[f"{name}.weight"] = torch.rand(channels, generator=g) + 0.5
        found[f"{name}.bias"] = torch.randn(channels, generator=g) * 0.1
        found[f"{name}.running_mean"], found[f"{name}.running_var"] = torch.zeros(channels), torch.ones(channels)
        found[f"{name}.num_batches_tracked"] = torch.tensor(7)

    put("first_conv.conv.weight", 16, 3, 3, 3)
    norm("first_conv.bn", 16)
    first = "blocks.0.mobile_inverted_conv"
    put(f"{first}.depth_conv.conv.weight", 16, 1, 3, 3)
    norm(f"{first}.depth_conv.bn", 16)
    put(f"{first}.point_linear.conv.weight", 16, 16, 1, 1)
    norm(f"{first}.point_linear.bn", 16)
    number, channels = 1, 16
    for width, squeeze in zip(WIDTHS, SQUEEZE):
        for _ in range(4):
            name, hidden = f"blocks.{number}.mobile_inverted_conv", 6 * channels
            put(f"{name}.inverted_bottleneck.conv.conv.weight", hidden, channels, 1, 1)
            norm(f"{name}.inverted_bottleneck.bn.bn", hidden)
            put(f"{name}.depth_conv.conv.conv.weight", hidden, 1, 7, 7)
            put(f"{name}.depth_conv.conv.7to5_matrix", 25, 25)
            put(f"{name}.depth_conv.conv.5to3_matrix", 9, 9)
            norm(f"{name}.depth_conv.bn.bn", hidden)
            if squeeze:
                small = squeezed(hidden)
                put(f"{name}.depth_conv.se.fc.reduce.weight", small, hidden, 1, 1)
                put(f"{name}.depth_conv.se.fc.reduce.bias", small)
                put(f"{name}.depth_conv.se.fc.expand.weight", hidden, small, 1, 1)
                put(f"{name}.depth_conv.se.fc.expand.bias", hidden)
            put(f"{name}.point_linear.conv.conv.weight", width, hidden, 1, 1)
            norm(f"{name}.point_linear.bn.bn", width)
            number, channels = number + 1, width
    put("final_expand_layer.conv.weight", 960, 160, 1, 1)
    norm("final_expand_layer.bn", 960)
    put("feature_mix_layer.conv.weight", 1280, 960, 1, 1)
    put("classifier.linear.weight", classes, 1280)
    put("classifier.linear.bias", classes)
    return found


def reference(state: dict[str, torch.Tensor], architecture, x: torch.Tensor) -> torch.Tensor:
    """What Once-for-All computes for this sub-network, batch norm by the batch's statistics."""

    def norm(y: torch.Tensor, name: str) -> torch.Tensor:
        c = y.shape[1]
        return F.batch_norm(y, None, None, state[f"{name}.weight"][:c], state[f"{name}.bias"][:c], training=True)

    y = F.conv2d(x, state["first_conv.conv.weight"], stride=2, padding=1)
    y = F.hardswish(norm(y, "first_conv.bn"))
    name = "blocks.0.mobile_inverted_conv"
    z = F.relu(
        norm(F.conv2d(y, state[f"{name}.depth_conv.conv.weight"], padding=1, groups=16), f"{name}.depth_conv.bn")
    )
    y = y + norm(F.conv2d(z, state[f"{name}.point_linear.conv.weight"]), f"{name}.point_linear.bn")
    for i, stage in enumerate(architecture.stages):
        act = F.relu if i < 2 else F.hardswish
        blocks = [b for b in stage.blocks if isinstance(b, Bottleneck) and b.hidden]
        for j, block in enumerate(blocks):
            name, c, h = f"blocks.{1 + 4 * i + j}.mobile_inverted_conv", y.shape[1], block.hidden
            z = F.conv2d(y, state[f"{name}.inverted_bottleneck.conv.conv.weight"][:h, :c])
            z = act(norm(z, f"{name}.inverted_bottleneck.bn.bn"))
            kernel = state[f"{name}.depth_conv.conv.conv.weight"][:h]
            if block.kernel < 7:
                matrix = state[f"{name}.depth_conv.conv.7to5_matrix"]
                kernel = (kernel[:, 0, 1:6, 1:6].flatten(1) @ matrix.T).view(h, 1, 5, 5)
            if block.kernel < 5:
                matrix = state[f"{name}.depth_conv.conv.5to3_matrix"]
                kernel = (kernel[:, 0, 1:4, 1:4].flatten(1) @ matrix.T).view(h, 1, 3, 3)
            z = F.conv2d(z, kernel, stride=1 if j else STRIDES[i], padding=block.kernel // 2, groups=h)
            z = act(norm(z, f"{name}.depth_conv.bn.bn"))
            if SQUEEZE[i]:
                se, small = f"{name}.depth_conv.se.fc", squeezed(h)
                s = z.mean((2, 3), keepdim=True)
                s = F.relu(F.conv2d(s, state[f"{se}.reduce.weight"][:small, :h], state[f"{se}.reduce.bias"][:small]))
                s = F.conv2d(s, state[f"{se}.expand.weight"][:h, :small], state[f"{se}.expand.bias"][:h])
                z = z * F.relu6(s + 3) / 6
            z = norm(F.conv2d(z, state[f"{name}.point_linear.conv.conv.weight"][:, :h]), f"{name}.point_linear.bn.bn")
            y = y + z if j else z
    y = F.hardswish(norm(F.conv2d(y, state["final_expand_layer.conv.weight"]), "final_expand_layer.bn"))
    y = F.hardswish(F.conv2d(y.mean((2, 3), keepdim=True), state["feature_mix_layer.conv.weight"])).flatten(1)
    return F.linear(y, state["classifier.linear.weight"], state["classifier.linear.bias"])


@pytest.fixture(scope="module")
def supernet() -> Supernet:
    return Supernet(space("edanas", (3, 64, 64), classes=10), seed=1)


@pytest.fixture
def stored(tmp_path):
    def save(state: object):
        torch.save(state, tmp_path / "ofa.pth")
        return tmp_path / "ofa.pth"

    return save


def test_every_subnetwork_computes_what_ofa_s_own_does(supernet, stored):
    state = checkpoint()
    load_ofa(supernet, stored({"state_dict": state}))
    x = images(8, (3, 64, 64))
    kernels = set()
    with torch.no_grad():
        for seed in range(4):
            architecture = supernet.space.sample(seed)
            kernels |= {getattr(b, "kernel", 0) for stage in architecture.stages for b in stage.blocks}
            expected = reference(state, architecture, (x - supernet.mean) / supernet.std)
            torch.testing.assert_close(supernet(x, architecture)[:, -1], expected, rtol=1e-3, atol=1e-3)
            net = supernet.slice(architecture).train()
            torch.testing.assert_close(net(x)[:, -1], expected, rtol=1e-3, atol=1e-3)
    assert kernels == {3, 5, 7}


def test_names_of_a_newer_release(supernet, stored):
    state = {k.replace(".mobile_inverted_conv.", ".conv."): v for k, v in checkpoint(seed=2).items()}
    unused = load_ofa(supernet, stored(state))
    assert unused
    assert all("running_" in name or "num_batches" in name for name in unused)


def test_another_number_of_classes_keeps_our_classifier(supernet, stored):
    before = {k: v.clone() for k, v in supernet.weights.items() if "stages/4/exit/classifier" in k}
    unused = load_ofa(supernet, stored(checkpoint(classes=1000)))
    assert {"classifier.linear.weight", "classifier.linear.bias"} <= set(unused)
    for key, value in before.items():
        assert torch.equal(supernet.weights[key], value)


def test_a_wrong_file_is_told_by_its_keys(supernet, stored, tmp_path):
    state = checkpoint()
    state["surplus.weight"] = state.pop("blocks.7.mobile_inverted_conv.depth_conv.conv.5to3_matrix")
    state["first_conv.conv.weight"] = state["first_conv.conv.weight"][:8]
    before = {key: value.clone() for key, value in supernet.weights.items()}
    with pytest.raises(OfaError) as error:
        load_ofa(supernet, stored(state))
    for part in (
        "missing keys (1): blocks.7.mobile_inverted_conv.depth_conv.conv.5to3_matrix",
        "unexpected keys (1): surplus.weight",
        "other shapes (1): first_conv.conv.weight has shape (8, 3, 3, 3), here it is (16, 3, 3, 3)",
    ):
        assert part in str(error.value)
    assert all(torch.equal(supernet.weights[key], value) for key, value in before.items())
    with pytest.raises(OfaError, match="there is no file"):
        load_ofa(supernet, tmp_path / "nothing.pth")
    (tmp_path / "noise.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(OfaError, match="cannot be read"):
        load_ofa(supernet, tmp_path / "noise.pth")


@pytest.mark.parametrize("name", ["nachos", "aebnas"])
def test_other_spaces_on_this_backbone_read_the_same_keys(supernet, name):
    """A resized input shifts the blocks of stage 0, not their weights."""
    assert _wanted(Supernet(space(name, (3, 64, 64), classes=10), seed=1)) == _wanted(supernet)
