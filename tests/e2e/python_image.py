"""An image with Debian's Python in it, as small as what `podling/task.py` imports."""

import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

PYTHON = Path("/usr/bin/python3")
PYTHON_IMAGE = "podling-python-task:local"
_LOAD = (
    "import runpy, sys; runpy.run_path(sys.argv[1]); import ssl, encodings.idna, importlib, signal, datetime"
)
_TELL = "\nfor module in list(sys.modules.values()):\n    print(getattr(module, '__file__', None) or '')"


def make_python_image(root: Path) -> str:
    """Make the image, with podling/task.py and the example beside it; return its name."""
    task, example = root / "podling/task.py", root / "examples/long_job.py"
    loading = [str(PYTHON), "-I", "-S", "-c", _LOAD + _TELL, str(task)]
    loaded = subprocess.run(loading, check=True, capture_output=True, text=True).stdout.split()
    files = {Path(line) for line in loaded if line.startswith("/usr/lib/")} | {PYTHON.resolve()}
    files |= _libraries([file for file in files if ".so" in file.name or file.parent == PYTHON.parent])
    with BytesIO() as made:
        with tarfile.open(fileobj=made, mode="w") as tar:
            for file in sorted(files):
                tar.add(file.resolve(), str(file))
            tar.add(PYTHON.resolve(), "/usr/bin/python3")
            tar.add(task, "/task.py")
            tar.add(example, "/long_job.py")
        command = ["docker", "import", "--change", "ENV PATH=/usr/bin", "-", PYTHON_IMAGE]
        subprocess.run(command, input=made.getvalue(), check=True, capture_output=True)
    return PYTHON_IMAGE


def _libraries(programs: list[Path]) -> set[Path]:
    found: set[Path] = set()
    for program in programs:
        told = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
        found |= {Path(word) for word in told.split() if word.startswith("/")}
    return found
