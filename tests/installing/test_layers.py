"""Stages that become layers, or don't; and which layers are kept."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from interpreter.hosts.installing import InstallFailed, InstallLimits, Layer, Locked, bytecode
from interpreter.hosts.installing.core import Core
from interpreter.hosts.installing.layers import Layers, remove

LOCKED = Locked("toy==1.0 \\\n    --hash=sha256:00\n", (("toy", "1.0"),))


@pytest.fixture
def core(tmp_path: Path) -> Core:
    """An environment of numpy, a single module, and a namespace with one part."""
    packages = tmp_path / "core"
    for path in ("numpy/__init__.py", "numpy.libs/a.so", "six.py", "shared/ours/__init__.py"):
        (packages / path).parent.mkdir(parents=True, exist_ok=True)
        (packages / path).write_text("")
    return Core({"numpy": "2.0"}, packages, tmp_path / "no-index")


@pytest.fixture
def layers(tmp_path: Path, core: Core) -> Layers:
    opened = Layers(tmp_path / "packages", core, InstallLimits(layer_files=20), "key")
    opened.prepare()
    return opened


def staged(layers: Layers, **files: str) -> Path:
    """What uv would have left: the package toy, and more files (``__`` stands for ``/``)."""
    stage = layers.root / "stage" / "run" / "layer"
    info = "toy-1.0.dist-info"
    for path, text in {
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: Toy\nVersion: 1.0\n",
        "toy/__init__.py": "",
        **files,
    }.items():
        (stage / path).parent.mkdir(parents=True, exist_ok=True)
        (stage / path).write_text(text)
    return stage


def names(layer: Layer) -> set[str]:
    return {str(path.relative_to(layer.path)) for path in layer.path.rglob("*")}


def test_layer_is_readable_by_all_and_writable_by_nobody(layers: Layers) -> None:
    stage = staged(layers, **{"toy/run.sh": "", "toy/deep/data.bin": "123"})
    (stage / "toy" / "run.sh").chmod(0o700)
    (stage / "toy" / "deep" / "data.bin").chmod(0o4777)
    layer = layers.adopt(stage, LOCKED)
    assert (layer.files, layer.modules) == (4, ("toy",))
    assert layer.size_bytes == sum(
        each.stat().st_size for each in layer.path.rglob("*") if each.is_file()
    )
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in layer.path.rglob("*")}
    assert modes["run.sh"] == modes["data.bin"] == modes["deep"] == 0o555
    assert modes["__init__.py"] == 0o444
    assert stat.S_IMODE(layer.path.stat().st_mode) == 0o555
    assert layers.find(layer.layer_id) == layer


def test_what_has_no_business_in_a_layer_is_dropped(layers: Layers) -> None:
    dropped = {
        ".lock": "",
        "evil.pth": "import os",
        "bin/tool": "",
        "share/man/x.1": "",
        "sitecustomize.py": "",
        "usercustomize/__init__.py": "",
        "numpy-9.egg-info/PKG-INFO": "",
        "toy/__pycache__/x.cpython-311.pyc": "",
    }
    layer = layers.adopt(staged(layers, **dropped, **{"toy/model.pth": "weights"}), LOCKED)
    assert names(layer) == {
        "toy",
        "toy/__init__.py",
        "toy/model.pth",
        "toy-1.0.dist-info",
        "toy-1.0.dist-info/METADATA",
    }


def _link(stage: Path) -> None:
    (stage / "toy" / "link.py").symlink_to("/etc/passwd")


def _directory_link(stage: Path) -> None:
    (stage / "toy" / "inner").symlink_to("/etc")


def _top_link(stage: Path) -> None:
    (stage / "bin").symlink_to("/usr/bin")


def _pipe(stage: Path) -> None:
    os.mkfifo(stage / "toy" / "pipe")


def _metadata_link(stage: Path) -> None:
    (stage / "numpy-2.0.dist-info").symlink_to("toy-1.0.dist-info")


@pytest.mark.parametrize("spoil", [_link, _directory_link, _top_link, _pipe, _metadata_link])
def test_links_and_devices_are_refused(layers: Layers, spoil: Callable[[Path], None]) -> None:
    stage = staged(layers)
    spoil(stage)
    with pytest.raises(InstallFailed) as caught:
        layers.adopt(stage, LOCKED)
    assert (caught.value.kind, caught.value.subject) == ("unsafe", "toy")
    assert list((layers.root / "layers").iterdir()) == []


def test_stage_that_is_a_link_itself_is_refused(layers: Layers, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    stage = layers.root / "stage" / "layer"
    stage.symlink_to(elsewhere)
    with pytest.raises(InstallFailed):
        layers.adopt(stage, LOCKED)
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "path",
    [
        "numpy/__init__.py",
        "numpy/more.py",
        "numpy.py",
        "numpy.cpython-311-x86_64-linux-gnu.so",
        "six/__init__.py",
        "six.pyc",
        "shared/ours/__init__.py",
        "shared/ours.py",
        "shared/__init__.py",
        "json.py",
        "asyncio/x.py",
        "kernel_startup/x.py",
        "other-1.0.dist-info/METADATA",
        "toy-2.0.dist-info/METADATA",
    ],
)
def test_what_kernels_have_already_is_refused(layers: Layers, path: str) -> None:
    with pytest.raises(InstallFailed) as caught:
        layers.adopt(staged(layers, **{path: ""}), LOCKED)
    assert caught.value.kind == "unsafe"


def test_namespace_of_the_core_may_get_another_part(layers: Layers) -> None:
    layer = layers.adopt(staged(layers, **{"shared/theirs/__init__.py": ""}), LOCKED)
    assert layer.modules == ("shared", "toy")


def test_metadata_of_another_name_is_refused(layers: Layers) -> None:
    stage = staged(layers, **{"toy-1.0.dist-info/METADATA": "Name: numpy\nVersion: 1.0\n"})
    with pytest.raises(InstallFailed) as caught:
        layers.adopt(stage, LOCKED)
    assert caught.value.kind == "unsafe"


def test_owner_of_what_is_refused_is_told_by_records(layers: Layers) -> None:
    stage = staged(
        layers,
        **{
            "other-2.dist-info/METADATA": "Name: other\n",
            "other-2.dist-info/RECORD": "numpy/evil.py,,\n",
            "numpy/evil.py": "",
        },
    )
    both = Locked("x", (("other", "2"), ("toy", "1.0")))
    with pytest.raises(InstallFailed) as caught:
        layers.adopt(stage, both)
    assert caught.value.subject == "other"


@pytest.mark.parametrize(("more", "fits"), [(17, True), (18, True), (19, False)])
def test_files_at_the_limit(layers: Layers, more: int, fits: bool) -> None:
    stage = staged(layers, **{f"toy/m{number}.py": "" for number in range(more)})
    if fits:
        assert layers.adopt(stage, LOCKED).files == more + 2
        return
    with pytest.raises(InstallFailed) as caught:
        layers.adopt(stage, LOCKED)
    assert caught.value.kind == "too_large"


def test_names_depend_on_lock_secret_and_environment(layers: Layers, core: Core) -> None:
    def name(key: str = "key", lock: Locked = LOCKED) -> str:
        again = Layers(layers.root, core, InstallLimits(), key)
        again.prepare()
        return again.name(lock)

    assert name() == layers.name(LOCKED)
    assert name(key="other") != name() != name(lock=Locked("", ()))
    assert stat.S_IMODE((layers.root / "secret").stat().st_mode) == 0o600
    (layers.root / "secret").unlink()
    assert name() != layers.name(LOCKED)


def test_no_packages_make_an_empty_layer(layers: Layers) -> None:
    layer = layers.adopt(Path(), Locked("", ()))
    assert (layer.files, layer.modules, names(layer)) == (0, (), set())


def test_layer_that_lost_its_content_in_a_power_cut_is_not_used(layers: Layers) -> None:
    layer = layers.adopt(staged(layers), LOCKED)
    note = layers.root / "known" / "layers" / f"{layer.layer_id}.json"
    facts = json.loads(note.read_text())
    note.write_text(json.dumps({**facts, "boot": "an earlier one"}))
    assert layers.find(layer.layer_id) == layer
    note.write_text(json.dumps({**facts, "boot": "an earlier one"}))
    metadata = layer.path / "toy-1.0.dist-info" / "METADATA"
    metadata.chmod(0o644)
    os.truncate(metadata, 0)
    assert layers.find(layer.layer_id) is None
    assert not layer.path.exists()


@pytest.mark.parametrize(("left", "kept"), [("the same", True), ("earlier", False), ("", True)])
def test_cache_is_emptied_if_the_machine_stopped_while_in_use(
    layers: Layers, left: str, kept: bool
) -> None:
    download = layers.root / "cache" / "wheels" / "x"
    download.mkdir(parents=True)
    if left == "earlier":
        (layers.root / "known" / "running").write_text("an earlier one")
    elif not left:
        layers.leave()
    layers.prepare()
    assert download.exists() is kept


def test_unused_layers_go_in_the_order_of_their_last_use(layers: Layers) -> None:
    made = []
    for number in range(4):
        locked = Locked(f"{LOCKED.text}{number}", LOCKED.packages)
        made.append(layers.adopt(staged(layers), locked))
        os.utime(made[-1].path, ns=(number, number))
    assert layers.find(made[0].layer_id)  # used again: now the newest
    assert layers.prune({made[1].layer_id}, 2) == 2
    assert sorted(each.name for each in (layers.root / "layers").iterdir()) == sorted(
        [made[0].layer_id, made[1].layer_id]
    )


def test_bytecode_is_put_beside_its_source_only(layers: Layers, tmp_path: Path) -> None:
    layer = layers.adopt(staged(layers), LOCKED)
    for path in ("toy/__init__.cpython-311.pyc", "toy/none.cpython-311.pyc", "x.cpython-311.pyc"):
        (tmp_path / "tree" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / path).write_text("code")
    (tmp_path / "tree" / "toy" / "__init__.cpython-399.pyc").symlink_to("/etc/passwd")
    assert bytecode.put(tmp_path / "tree", layer.path) == 1
    cached = layer.path / "toy" / "__pycache__"
    assert [path.name for path in cached.iterdir()] == ["__init__.cpython-311.pyc"]
    assert stat.S_IMODE(cached.stat().st_mode) == 0o555
    assert layers.find(layer.layer_id) == layer


def test_read_only_directories_are_removed(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("")
    (tmp_path / "a" / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "a" / "b").chmod(0o555)
    (tmp_path / "a").chmod(0o555)
    remove(tmp_path / "a")
    assert os.listdir(tmp_path) == ["outside"]
    assert (tmp_path / "outside" / "file").exists()
