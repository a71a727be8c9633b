"""The same targets under atheris, which is libFuzzer (``pip install atheris``): each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from fuzz.corpus import load, minimised, save

__all__ = ["campaigns"]


def campaigns(names: list[str], seconds: float, seed: int, *, keep: bool) -> int:
    """Give each target its share of the time; 0 when nothing was found."""
    faults = 0
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            corpus = Path(folder) / "corpus"
            corpus.mkdir()
            options = (
                f"-max_total_time={max(int(seconds / len(names)), 1)}",
                f"-seed={seed + 1}",
                "-max_len=20000",
                "-timeout=10",
                f"-artifact_prefix={folder}/",
                f"-dict={_dictionary(name, folder)}",
            )
            command = (sys.executable, "-m", "fuzz.with_atheris", name, str(corpus), *options)
            run = subprocess.run(command, check=False)
            faults += run.returncode != 0
            for path in Path(folder).glob("*-*"):
                sys.stdout.write(f"FOUND by {name}: {path.read_bytes()!r}\n")
            if keep:
                _keep(name, corpus)
    return 1 if faults else 0


def _dictionary(name: str, folder: str) -> Path:
    from fuzz.targets import TARGETS

    path = Path(folder) / "words"
    spelled = ("".join(f"\\x{byte:02x}" for byte in word) for word in TARGETS[name].dictionary if word)
    path.write_text("".join(f'"{word}"\n' for word in spelled), "ascii")
    return path


def _keep(name: str, corpus: Path) -> None:
    from fuzz.coverage import Coverage
    from fuzz.targets import TARGETS

    found = [path.read_bytes() for path in corpus.iterdir()]
    kept = minimised(TARGETS[name], Coverage(), [*load(name), *found])
    save(name, kept)


def _fuzz(name: str, corpus: Path, options: list[str]) -> None:
    import atheris  # type: ignore[import-not-found]  # optional, and not on every Python

    with atheris.instrument_imports(include=["sansio_pingora"], enable_loader_override=False):
        from fuzz.targets import TARGETS
    target = TARGETS[name]
    for number, data in enumerate([*load(name), *target.seeds()]):
        (corpus / f"seed-{number}").write_bytes(data)
    atheris.Setup([name, str(corpus), *options], target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    _fuzz(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
