"""docs/keys.md is the code's own account of a recipe's keys."""

import re
from pathlib import Path

from offramp.recipe import Recipe
from offramp.recipe._reference import reference

PAGE = Path(__file__).parents[2] / "docs" / "keys.md"


def test_the_page_is_that_of_the_code():
    written = "write it anew: python -m offramp.recipe._reference > docs/keys.md"
    assert PAGE.read_text() == reference(), written


def test_every_key_is_explained():
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.*) \|$", reference(), re.M)
    assert len(rows) > 100
    assert [key for key, _, said in rows if not said] == []


def test_the_page_tells_defaults_and_what_is_allowed():
    page = reference()
    assert "| `joint_epochs` | `18` |" in page
    assert "allowed: `random`, `nsga2`, `surrogate` |" in page
    assert "| `widths` | `[[8, 12, 16], [16, 24, 32]," in page
    sections = set(re.findall(r"^## \[(\w+)\]", page, re.M))
    assert sections == set(Recipe.model_fields) - {"seed"}
