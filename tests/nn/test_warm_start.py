import pytest
import torch
from safetensors.torch import save_file
from tiny_networks import images

from offramp.nn import Supernet
from offramp.nn.warm_start import load_shared
from offramp.spaces import space

SMALL = {"depths": [1, 2], "kernels": [3, 5], "expansions": [3], "width": 0.25}
INPUT, CLASSES = (3, 16, 16), 5


@pytest.fixture
def stored(tmp_path):
    def store(supernet):
        save_file({name: tensor.contiguous() for name, tensor in supernet.state_dict().items()}, tmp_path / "it")
        return tmp_path / "it"

    return store


def of(name, seed, classes=CLASSES, **options):
    return Supernet(space(name, INPUT, classes, **options), seed)


def same(one, other):
    return one.shape == other.shape and torch.equal(one, other)


def test_the_backbone_comes_along_and_the_exits_are_new(stored):
    there, here, untouched = of("nachos", 1, **SMALL), of("edanas", 2, **SMALL), of("edanas", 2, **SMALL)
    new = load_shared(here, stored(there))
    assert new
    assert all("/exit/" in name for name in new)
    assert all(same(here.weights[name], untouched.weights[name]) for name in new)
    taken = set(here.weights) - set(new)
    assert any("depthwise" in name for name in taken)
    assert any("/4/exit/classifier" in name for name in taken)
    assert all(same(here.weights[name], there.weights[name]) for name in taken)


def test_a_network_of_both_spaces_computes_what_it_did(stored):
    """The wider space's slices of the narrower one's sizes are the narrower one's weights."""
    narrow = {"widths": [[8], [16]], "depths": [[1], [1]], "strides": [1, 2], "activations": ["relu", "relu"],
              "kernels": [3], "stem_widths": [8], "expansions": [2], "squeeze_excite": [False]}  # fmt: skip
    wide = narrow | {"widths": [[8, 12], [16, 24]], "kernels": [3, 5], "depths": [[1], [1, 2]], "expansions": [2, 4]}
    there, here = of("offramp", 1, **narrow), of("offramp", 2, **wide)
    load_shared(here, stored(there))
    x = images(4, INPUT)
    for architecture in (there.space.sample(seed) for seed in range(5)):
        torch.testing.assert_close(here(x, architecture), there(x, architecture), rtol=0, atol=1e-6)


def test_a_larger_tensor_gives_its_part(stored):
    options = {"kernels": [3], "squeeze_excite": [False], "max_exits": 1}
    there, here = of("offramp", 1, **options | {"kernels": [3, 5]}), of("offramp", 2, **options)
    assert load_shared(here, stored(there)) == []
    x = images(4, INPUT)
    for architecture in (here.space.sample(seed) for seed in range(5)):
        torch.testing.assert_close(here(x, architecture), there(x, architecture), rtol=0, atol=1e-6)


def test_kernels_shrink_as_the_other_supernet_has_learned(stored):
    there, here = of("nachos", 1, **SMALL | {"kernels": [3, 5, 7]}), of("nachos", 2, **SMALL)
    with torch.no_grad():
        for name, tensor in there.weights.items():
            if name.endswith(("7to5", "5to3")):
                tensor += 0.3 * torch.randn(tensor.shape, generator=torch.Generator().manual_seed(0))
    assert load_shared(here, stored(there)) == []
    x = images(4, INPUT)
    for architecture in (here.space.sample(seed) for seed in range(5)):
        torch.testing.assert_close(here(x, architecture), there(x, architecture), rtol=0, atol=1e-5)


def test_classifiers_of_other_classes_stay(stored):
    there, here = of("offramp", 1, classes=7), of("offramp", 2)
    new = load_shared(here, stored(there))
    assert new
    assert all("/classifier/" in name for name in new)


def test_what_cannot_be_used_is_refused(stored, tmp_path):
    with pytest.raises(ValueError, match="nothing cannot be read as weights"):
        load_shared(of("offramp", 0), tmp_path / "nothing")
    (tmp_path / "noise").write_bytes(b"noise" * 100)
    with pytest.raises(ValueError, match="noise cannot be read"):
        load_shared(of("offramp", 0), tmp_path / "noise")
    save_file({"weights.other": torch.zeros(3)}, tmp_path / "other")
    with pytest.raises(ValueError, match="shares; take those of a network or run that has the same backbone"):
        load_shared(of("offramp", 0), tmp_path / "other")
