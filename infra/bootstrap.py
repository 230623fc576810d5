"""Makes `.venv` from the lock file with nothing but Python 3.11: run by `make setup`.

Only the standard library is imported here. Where Debian's Python comes without ensurepip
(no python3-venv), pip's wheel is taken out of Debian's package: as root by apt-get,
otherwise downloaded and unpacked beside the environment.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INPUTS = ("pyproject.toml", "infra/bootstrap.py")
OLDEST = (3, 11)


def main() -> int:
    """Make the environment named by the first argument from the lock named by the second."""
    environment, lock = Path(sys.argv[1]), Path(sys.argv[2])
    if sys.version_info < OLDEST:
        return fail(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}: make PYTHON=python3.11 ...")
    stamp = environment / ".installed"
    wanted = fingerprint(lock)
    if is_usable(environment) and stamp.is_file() and stamp.read_text() == wanted:
        return 0
    try:
        print(f"setting up {environment} from {lock} ...", flush=True)
        if not is_usable(environment):
            shutil.rmtree(environment, ignore_errors=True)
            venv.create(environment, symlinks=True)
        pip = find_pip(environment)
        run(*pip, "install", "-qq", "--require-hashes", "--requirement", str(lock))
        compat = "--config-settings=editable_mode=compat"
        run(*pip, "install", "-qq", "--no-deps", "--no-build-isolation", compat, "--editable", str(ROOT))
        stamp.write_text(wanted)
    except PermissionError as error:
        return fail(f"cannot write to {error.filename}: use a checkout that belongs to this user")
    except subprocess.CalledProcessError as error:
        return fail(f"this command failed with status {error.returncode}: {' '.join(error.cmd)}")
    return 0


def fingerprint(lock: Path) -> str:
    """Return what the environment depends on, as one digest."""
    digest = hashlib.sha256(sys.version.encode())
    for path in (lock, *(ROOT / name for name in INPUTS)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def is_usable(environment: Path) -> bool:
    """Tell whether the environment's Python runs for this user and is the one we run on."""
    try:
        answer = subprocess.run(
            [str(environment / "bin/python"), "-c", "import sys; print(sys.version)"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return False
    return answer.stdout.strip() == sys.version.strip()


def find_pip(environment: Path) -> list[str]:
    """Return the command that runs pip in the environment."""
    python = str(environment.absolute() / "bin/python")
    if succeeds(python, "-m", "pip", "--version") or succeeds(python, "-m", "ensurepip", "--default-pip"):
        return [python, "-m", "pip"]
    wheel = debian_pip_wheel(environment)
    run(python, f"{wheel}/pip", "install", "--quiet", "--no-index", str(wheel))
    shutil.rmtree(environment / "pip-wheel", ignore_errors=True)
    return [python, "-m", "pip"]


def debian_pip_wheel(environment: Path) -> Path:
    """Return pip's wheel out of the package python3-pip-whl."""
    if os.geteuid() == 0 and not list(Path("/usr/share/python-wheels").glob("pip-*.whl")):
        run("apt-get", "-qq", "update")
        run("apt-get", "-qq", "install", "-y", "--no-install-recommends", "python3-pip-whl")
    installed = sorted(Path("/usr/share/python-wheels").glob("pip-*.whl"))
    if installed:
        return installed[-1]
    folder = environment.absolute() / "pip-wheel"
    for name in ("state/lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    own = [f"-oDir::State={folder}/state", "-oDir::State::status=/var/lib/dpkg/status", f"-oDir::Cache={folder}/cache"]
    run("apt-get", "-qq", *own, "update")
    run("apt-get", "-qq", *own, "download", "python3-pip-whl", cwd=folder)
    for package in folder.glob("*.deb"):
        run("dpkg", "-x", str(package), str(folder))
    return next(folder.glob("usr/share/python-wheels/pip-*.whl"))


def succeeds(*command: str) -> bool:
    """Tell whether a command ends with status 0; its output is dropped."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def run(*command: str, cwd: Path = ROOT) -> None:
    """Run a command, which must succeed."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    subprocess.run(command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, check=True)


def fail(reason: str) -> int:
    """Say in one line why there is no environment."""
    print(f"setup: {reason}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
