"""The example of docs/your-own-task.md, as it stands there."""

import json
import random
import re
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "your-own-task.md"


def test_the_example_runs_and_learns(toy_directory: Path, tmp_path: Path, monkeypatch) -> None:
    task, use = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert len([line for line in task.splitlines() if line.strip()]) < 60
    draw = random.Random(1)
    words = {1: "night", 2: "rain", 3: "river", 4: "song", 5: "moon"}
    for name, n_lines in (("train.txt", 200), ("dev.txt", 40)):
        stars = [draw.randint(1, 5) for _ in range(n_lines)]
        (tmp_path / name).write_text("".join(f"{one} stars: the {words[one]} at the sea\n" for one in stars), encoding="utf-8")
    (tmp_path / "a-bert").symlink_to(toy_directory / "model")
    monkeypatch.chdir(tmp_path)
    fast = use.replace("lr=(1e-4, 5e-5)", "lr=(5e-3,), epochs=(10.0,), batch_size=(16,)").replace(
        "Stars()", "Stars(max_length=32)"
    )
    namespace: dict[str, object] = {}
    exec(task + fast, namespace)
    pipe = namespace["pipe"]
    found = pipe([f"the {word} at the sea" for word in words.values()])
    assert all(abs(one - stars) <= 1 for one, stars in zip(found, words, strict=True))
    assert found[0] < found[4]
    (shown,) = re.findall(r'"task [^:]*:[^:]*:[^:]*:(\{[^}]*\})', namespace["page"].html)
    assert json.loads(shown) == {"value": pipe(["the best film of the year"])[0], "kind": "regress"}
