"""The section [data]."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, NonNegativeInt, PlainValidator, PositiveInt, model_validator

from offramp.recipe._section import Section, Seed, one_of

# As in data/_load.py, which would load torch; a test holds them equal.
SETS = ("digits", "cifar10", "cifar100", "svhn", "folder", "npz")
_OWN_IMAGES = ("folder", "npz")
_SIZED = ("folder",)
_WITH_TEST = ("cifar10", "cifar100", "svhn")


def _count(value: object) -> int | float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if 0 < value < 1:
            return value
        if value >= 1 and float(value).is_integer():
            return int(value)
    raise ValueError(f"{value!r} is neither a count, a whole number from 1, nor a share between 0 and 1")


def _size(value: object) -> object:
    if isinstance(value, list | tuple) and len(value) == 2:
        return value
    raise ValueError(f"{value!r} is no size; give [height, width] in pixels, such as [64, 64]")


Count = Annotated[int | float, PlainValidator(_count)]


class DataSection(Section):
    """Where the images come from, and how they are split."""

    name: Annotated[str, one_of(SETS)] = Field("digits", description="the data set")
    root: str | None = Field(
        None, description="folder or file; default: the environment variable OFFRAMP_DATA, but for folder and npz"
    )
    seed: Seed = Field(0, description="of the splits")
    select: Count | None = Field(
        None,
        description="images, or share of them, that search and thresholds are scored on; default: 0.15, and 0.1 of the "
        "training images where the set has test images of its own",
    )
    calibrate: Count | None = Field(None, description="images, or share of them, kept for guarantees; default: 0.1")
    test: Count | None = Field(
        None, description="images, or share of them, for the test, where the set has none of its own; default: 0.2"
    )
    limit: PositiveInt | None = Field(None, description="use only so many training images")
    size: Annotated[tuple[PositiveInt, PositiveInt], BeforeValidator(_size)] | None = Field(
        None, description="height and width to resize a folder's images to"
    )
    flip: bool | None = Field(
        None, description="whether training images are also mirrored; default: the data set's own"
    )
    pad: NonNegativeInt | None = Field(
        None, description="how many pixels training images are shifted by, at most; default: the data set's own"
    )
    coarse: bool = Field(False, description="CIFAR-100's 20 superclasses")
    extra: bool = Field(False, description="train on SVHN's extra images, too")
    verify: bool = Field(True, description="compare official archives with their published checksums")

    @model_validator(mode="after")
    def _own_images_have_a_place(self) -> DataSection:
        if self.name in _OWN_IMAGES and self.root is None:
            raise ValueError(f"name is {self.name!r}; give root, the {self.name} to read")
        return self

    @model_validator(mode="after")
    def _size_has_a_use(self) -> DataSection:
        if self.size is not None and self.name not in _SIZED:
            raise ValueError(f"size goes with name = 'folder' and is of no use with {self.name!r}; leave it out")
        return self

    @model_validator(mode="after")
    def _options_have_a_use(self) -> DataSection:
        for option, owner in (("coarse", "cifar100"), ("extra", "svhn")):
            if getattr(self, option) and self.name != owner:
                raise ValueError(
                    f"{option} goes with name = {owner!r} and is of no use with {self.name!r}; leave it out"
                )
        return self

    @model_validator(mode="after")
    def _test_is_free(self) -> DataSection:
        if self.test is not None and self.name in _WITH_TEST:
            raise ValueError(f"{self.name!r} has test images of its own; leave test out")
        return self

    @model_validator(mode="after")
    def _some_are_left(self) -> DataSection:
        shares = [share for share in (self.select, self.calibrate, self.test) if share is not None and share < 1]
        if sum(shares) >= 1:
            raise ValueError(f"select, calibrate and test take {sum(shares):g} of the images; leave some to train on")
        return self
