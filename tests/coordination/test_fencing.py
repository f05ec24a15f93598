"""The example of the documents: what goes wrong without a fencing token, and not with it."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_without_the_token_a_sale_is_lost_and_with_it_none_is() -> None:
    ran = subprocess.run(
        [sys.executable, ROOT / "examples/fencing.py"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ran.stdout.splitlines() == [
        "Stock: two were sold, and 99 are left",
        "refused: token 1 is older than 2",
        "FencedStock: two were sold, and 98 are left",
    ]


def test_the_documents_show_the_program_as_it_is() -> None:
    page = (ROOT / "docs/coordination.md").read_text()
    program = (ROOT / "examples/fencing.py").read_text()
    shown = page.partition("<!-- examples/fencing.py -->\n```python\n")[2].partition("```")[0]
    assert shown and shown in program
