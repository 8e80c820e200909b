"""The file of a recipe, and files that it names."""

import pytest
from recipe_mistakes import MINIMAL

from offramp.recipe import Recipe, RecipeError, find


def refusal(read, *arguments, **options):
    with pytest.raises(RecipeError) as caught:
        read(*arguments, **options)
    return str(caught.value)


def test_a_file_that_is_no_text_is_named(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b"seed = 1\n\xff")
    said = refusal(Recipe.load, path)
    assert said == f"{path}:\n  not UTF-8 text (byte 0xff at 9); save it as UTF-8"
    child = tmp_path / "child.toml"
    child.write_text('extends = "mine.toml"')
    assert refusal(Recipe.load, child).startswith(f"{child}:\n  extends: mine.toml: not UTF-8 text")


def test_a_mark_before_the_text_is_none_of_it(tmp_path):
    path = tmp_path / "notepad.toml"
    path.write_bytes(b"\xef\xbb\xbf" + MINIMAL.encode())
    assert Recipe.load(path) == Recipe.parse(MINIMAL)


def test_a_folder_and_a_file_that_is_not_there_are_named(tmp_path):
    assert f"{tmp_path}:\n  cannot be read: " in refusal(Recipe.load, tmp_path)
    gone = tmp_path / "gone.toml"
    assert f"{gone}:\n  cannot be read: No such file" in refusal(Recipe.load, gone)
    assert (
        refusal(find, str(tmp_path))
        == f"{tmp_path}:\n  a folder; give the file of a recipe in it, such as a run's recipe.toml"
    )


def test_files_that_a_recipe_names_are_asked_for_where_it_is_to_be_run(tmp_path):
    path, images, checkpoint = tmp_path / "mine.toml", tmp_path / "images", tmp_path / "ofa.pth"
    path.write_text(
        f'{MINIMAL}[data]\nname = "folder"\nroot = "{images}"\n'
        f'[supernet]\ninit = "ofa:{checkpoint}"\n[search]\ninitial = 0\n'
    )
    said = refusal(Recipe.load, path, ["search.batch=0"], files=True).splitlines()[1:]
    assert [line.split(":")[0].strip() for line in said] == [
        "search.initial", "search.batch", "data.root", "supernet.init",
    ]  # fmt: skip
    good = ["search.initial=1"]
    Recipe.load(path, good)  # a run's own recipe may outlive its images
    images.mkdir()
    assert refusal(Recipe.load, path, good, files=True).endswith(f"'{checkpoint}'; give the path of a checkpoint")
    checkpoint.touch()
    Recipe.load(path, good, files=True)


def test_the_supernet_of_another_run_must_be_there(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(f'{MINIMAL}[supernet]\ninit = "run:{tmp_path}"\n')
    assert "supernet.safetensors'; give the folder of a run whose supernet is trained" in refusal(
        Recipe.load, path, files=True
    )
    (tmp_path / "supernet.safetensors").touch()
    Recipe.load(path, files=True)
