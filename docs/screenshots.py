"""Takes the pictures of the inspection page in docs/images.

python docs/screenshots.py RUN TUNED ENCODER

RUN is a pre-training run with its checkpoints, TUNED a fine-tuned classifier, ENCODER the model that it was tuned from.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).parent / "images"
TEXT, PAIR = "They walked along the bank of the river.", "She put her money in the bank."
REVIEW = "A quiet, beautifully acted film, though the ending is a little too long."


def shots(run: str, tuned: str, encoder: str) -> dict[str, tuple[list[str], str]]:
    """Return for each picture what is inspected and the state in the page's address."""
    pair, review = ["--text", TEXT, "--pair", PAIR], ["--text", REVIEW]
    return {
        "input": ([run, *pair], "view=input"),
        "attention": ([run, *pair], "view=attention&layer=1"),
        "heads": ([encoder, *pair], "view=attention&attention=model"),
        "similarity": ([encoder, *pair], "view=similarity&similarity=context"),
        "prediction": ([run, *pair], "view=prediction&at=7"),
        "tuned": ([tuned, *review], "view=tuned&tuned=attribution&theme=dark"),
        "compare": ([encoder, tuned, *review], "view=compare&compare=layers"),
        "film": ([run, *pair], "view=film&film=similarity&frame=0&lang=zh"),
    }


def take(page: Page, name: str, inspected: list[str], state: str) -> None:
    """Serve the page and picture it, in few colours to keep the file small."""
    command = [sys.executable, "-m", "bertsmith", "inspect", *inspected, "--no-browser", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        address = re.search(r"http://\S+", server.stdout.readline())
        assert address is not None, "the server did not start"
        page.goto(f"{address[0]}#{state}")
        page.wait_for_selector("main:has(.panel):not(:has(.panel[aria-busy]))")
        path = IMAGES / f"inspect-{name}.png"
        page.screenshot(path=path, full_page=True)
        server.terminate()
    with Image.open(path) as image:
        image.convert("RGB").quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(path, optimize=True)


def main() -> None:
    """Take all pictures."""
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800}, locale="en-GB")
        for name, (inspected, state) in shots(*sys.argv[1:4]).items():
            take(page, name, inspected, state)
        browser.close()


if __name__ == "__main__":
    main()
