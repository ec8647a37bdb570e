"""What holds of the package as a whole: its layers, its stages, its options, the names of its files."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tarsier_recipe import options
from tarsier_recipe.__main__ import STAGES
from tarsier_recipe.folders import BuildFolder, save_atomically

PACKAGE = Path(__file__).resolve().parents[1] / "tarsier_recipe"
LAYERS = (
    "",
    "text",
    "detector",
    "evaluation",
    "packs",
    "foreign",
)  # each imports from those before it, and from itself


def imported(path):
    """Names of the package's modules that a file imports, in whatever place."""
    for node in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(node, ast.ImportFrom)
            and node.level == 0
            and (node.module or "").split(".")[0] == "tarsier_recipe"
        ):
            parts = node.module.split(".")[1:]
            for alias in node.names:
                yield [*parts, alias.name] if (PACKAGE.joinpath(*parts)).is_dir() else parts


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_file_imports_from_layers_above_its_own(path):
    own = LAYERS.index(path.parent.name if path.parent != PACKAGE else "")
    for parts in imported(path):
        layer = LAYERS.index(parts[0] if len(parts) > 1 else "")
        assert layer <= own, f"{path.name} imports {'.'.join(parts)}"
    assert "sys.path" not in path.read_text()


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_a_module_with_a_main(stage):
    path = PACKAGE / f"{STAGES[stage][0].replace('.', '/')}.py"
    tree = ast.parse(path.read_text())
    assert "main" in {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}
    assert ast.get_docstring(tree)


def run(*arguments):
    command = [sys.executable, "-m", "tarsier_recipe", *arguments]
    return subprocess.run(command, cwd=PACKAGE.parent, capture_output=True, text=True)


def test_help_lists_every_stage_with_a_line():
    lines = [line.split(maxsplit=1) for line in run("--help").stdout.splitlines()[2:]]
    assert {name: what for name, what in lines} == {name: what for name, (_, what) in STAGES.items()}


def test_without_a_stage_or_with_an_unknown_one_it_says_so_and_fails():
    assert run().returncode == 64 and "STAGE" in run().stdout
    unknown = run("trian")
    assert unknown.returncode == 1 and "no stage trian" in unknown.stderr and "train" in unknown.stderr


def test_an_unknown_model_is_named_with_those_that_there_are(monkeypatch):
    monkeypatch.setenv("MODEL", "tarsier-x")
    done = run("pack", "--help")
    assert done.returncode == 1 and "tarsier-x" in done.stderr and "tarsier-n" in done.stderr


def test_no_two_files_of_a_build_folder_have_one_name():
    build = BuildFolder("build")
    paths = [str(p) for p in vars(build).values() if isinstance(p, Path)]
    assert len(paths) == len(set(paths))
    assert build.photos_of("train") == build.photos and build.branch("masks") != build.branch_checkpoint("masks")


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "new/file"
    save_atomically(path, lambda f: f.write(b"old"))

    def interrupted(f):
        f.write(b"ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_atomically(path, interrupted)
    assert path.read_bytes() == b"old"


def test_the_default_folder_is_a_build_folder_like_one_that_is_named():
    by_default = options.parse(options.parser("a stage"), [])
    named = options.parse(options.parser("a stage"), ["--build", str(by_default.build.folder)])
    assert by_default.build.prompts == named.build.prompts
