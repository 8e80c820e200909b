"""The folder of a run: what is where, and what of it is already there."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from torch import nn

_REASON = 200
_OUTPUT = (".log", ".out", ".err")
_EXPORTED = ("model.onnx",)
TRAINING = ".training"
"""In the name of a final training's checkpoint; before it, what the training depends on."""


class RunFolder:
    """Paths inside one run's folder, and the small files in it; everything is written whole or not at all."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.recipe = self.root / "recipe.toml"
        self.data = self.root / "data.json"
        self.journal = self.root / "study.journal"
        self.supernet = self.root / "supernet.safetensors"
        self.checkpoint = self.root / "supernet.checkpoint"
        self.front = self.root / "front.json"
        self.report = self.root / "report.html"
        self.log_file = self.root / "log.jsonl"
        self.networks = self.root / "networks"
        self.device = self.root / "device.json"

    @property
    def begun(self) -> bool:
        """Whether there is anything in it that a recipe's run has made."""
        return any(file.exists() for file in (self.data, self.supernet, self.checkpoint, self.journal))

    def strangers(self) -> list[str]:
        """Names of what lies in it though it is no run's folder and no run has made it; hidden files are no matter."""
        if self.begun or self.log_file.exists() or not self.root.is_dir():
            return []
        names = {path.name for path in self.root.iterdir()} - {path.name for path in vars(self).values()}
        # A log may be where the output is sent to, and the journal has a lock beside it.
        return sorted(n for n in names if not n.startswith((".", f"{self.journal.name}.")) and not n.endswith(_OUTPUT))

    def forget(self) -> None:
        """Take back what a run has written that was refused before it made anything."""
        copies = self.networks.glob("*.json")
        for path in (self.data, self.device, *copies, *self.root.glob(f"{self.journal.name}*")):
            path.unlink(missing_ok=True)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else's meanwhile, where the file system can tell.

        Raises:
            RuntimeError: another run is at work in it.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".lock").open("a", encoding="utf-8") as file:
            if fcntl is not None:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise RuntimeError(
                        f"another run is at work in {self.root}; let it end, stop it, or take another --out"
                    ) from None
                except OSError:
                    pass  # a file system without locks
            yield

    def named(self, name: str) -> Path:
        """The copy of the network that the budget `name` names."""
        return self.networks / f"{name}.json"

    def chosen(self, name: str) -> Path:
        """The folder of a delivered network."""
        return self.root / "chosen" / name

    def trainings(self) -> list[Path]:
        """Checkpoints of final trainings, which networks may share; earlier versions kept them beside the network."""
        return [*self.root.glob(f"*{TRAINING}*"), *self.root.glob("chosen/*/checkpoint*")]

    def delivered(self) -> list[Path]:
        """Folders of the networks that are finished, by name."""
        return sorted(path.parent for path in self.root.glob("chosen/*/metrics.json"))

    def log(self, event: str, **fields: Any) -> None:
        """Append a line to `log.jsonl`."""
        self.root.mkdir(parents=True, exist_ok=True)
        record = {"time": round(time.time(), 1), "event": event, **fields}
        with self.log_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


def delivered_file(folder: Path, name: str) -> Path:
    """The file `name` in the folder of a delivered network.

    Raises:
        FileNotFoundError: it is not there; where `folder` is a run's, the message names the networks that have it.
    """
    path = folder / name
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there: {_instead(folder, name)}")
    return path


def _instead(folder: Path, name: str) -> str:
    """What `folder` is, which lacks the file `name`, and what to give in its stead."""
    run = RunFolder(folder)
    if networks := [str(network) for network in run.delivered() if (network / name).is_file()]:
        return f"{folder} is the folder of a run; give that of a network in it: {', '.join(networks)}"
    if run.recipe.is_file():
        return f"{folder} is the folder of a run, in which no network is delivered yet; start `offramp run` again"
    if folder.parent.name == "chosen" and not (folder / "metrics.json").is_file():
        return f"the network in {folder} is not finished; start `offramp run` again"
    if (folder / "metrics.json").is_file():
        why = "of several seeds only the first is exported" if name in _EXPORTED else "by an earlier version"
        return f"the network in {folder} was delivered without it: {why}"
    return f"{folder} holds no delivered network; give DIR/chosen/NAME of a run"


def write_text(path: Path, text: str) -> None:
    """Write a file so that a kill leaves the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: Path, keys: Sequence[str] = ()) -> Any:
    """The value that a JSON file holds; where `keys` are given, an object that has them.

    Raises:
        ValueError: the file is damaged, or lacks a key; it names the file.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise damaged(path, error) from error
    if missing := [key for key in keys if not isinstance(found, dict) or key not in found]:
        raise damaged(path, f"no {', '.join(missing)} in it")
    return found


def damaged(path: Path, what: object) -> ValueError:
    """The error of a run's file that cannot be used, and what to do."""
    if path.parent.parent.name == "chosen":
        return ValueError(f"{path} is damaged ({what}); {anew(path.parent)}")
    return ValueError(f"{path} is damaged ({what}); remove it and run again, and it is written anew")


def anew(folder: Path) -> str:
    """The advice where the folder of a delivered network cannot be used as it is."""
    return (
        f"move {folder} away and run again, and the network is trained anew (by `offramp quantize`, where that made it)"
    )


def save_weights(path: Path, net: nn.Module) -> None:
    """Write a network's tensors to a .safetensors file, so that a kill leaves the old one or the new one."""
    from safetensors.torch import save

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    # Not by save_file, whose files nobody else can read.
    temporary.write_bytes(save({name: tensor.contiguous() for name, tensor in net.state_dict().items()}))
    os.replace(temporary, path)


def load_weights(path: Path, net: nn.Module, advice: str) -> None:
    """Put the tensors of a .safetensors file into `net`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or holds another network's weights; it names the file, and says what `advice` does.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        net.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:_REASON]  # torch lists every tensor that does not fit
        raise ValueError(f"{path} does not hold the weights of this network ({reason}); {advice}") from error


def identity(*parts: Any) -> str:
    """A short name for what a file was computed from: equal parts, equal name."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]
