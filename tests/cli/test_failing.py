"""Bad input is a message and exit code 2, never a traceback; an end by a signal says how to go on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

import unetzoo
from unetzoo.cli import main

DEEP = "[" * 5000


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    for name, content in {"text": b"nope", "list": b"[1]", "number": b'{"unet": 3}', "bytes": b"\xff\xfe"}.items():
        (tmp_path / f"{name}.json").write_bytes(content)
    (tmp_path / "deep.json").write_text(DEEP)
    unetzoo.create("unet", tiny=True).save_pretrained("model")
    Image.new("RGB", (32, 32)).save("image.png")
    return tmp_path


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("summary unet --size -5", "expected one number from 1"),
        ("summary unet --size 0", "expected one number from 1"),
        ("schema --out missing/x.json", "there is no folder missing"),
        ("schema --out folder", "is a folder"),
        ("check unet --html missing/x.html", "there is no folder missing"),
        ("check unet --html folder", "is a folder"),
        ("check unet --device nope", "unknown device 'nope'"),
        ("check unet --device meta", "holds no values"),
        ("check :", "cannot be imported"),
        ("check unet --expected-failures folder", "Is a directory"),
        ("check unet --expected-failures text.json", "is not JSON"),
        ("check unet --expected-failures list.json", "holds a list"),
        ("check unet --expected-failures number.json", "'unet' holds 3"),
        ("check unet --expected-failures bytes.json", "is not JSON"),
        ("check unet --expected-failures deep.json", "is not JSON"),
        ("summary unet -o x=2020-13-45", "the value is not YAML"),
        (f"summary unet -o x={DEEP}", "the value is not YAML"),
        ("summary unet -o num_classes=2020-01-01", "expected a whole number"),
        ("new-plugin a-b --out file", "Not a directory"),
        ("predict model image.png --out file --normalize none", "File exists"),
        ("predict model image.png --out out --normalize none --device nope", "unknown device 'nope'"),
        ("predict model image.png --out out --normalize none --device cuda:99", "is not there"),
    ],
)
def test_bad_input_is_a_message_and_exit_code_2(
    folder: Path, command: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["unetzoo", *command.split(" ")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert told in error
    assert "Traceback" not in error


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_prediction_with_what_is_done_and_how_to_go_on(folder: Path, number: int, code: int) -> None:
    for index in range(3000):
        shutil.copy("image.png", folder / "folder" / f"{index:04}.png")
    # Of a test run that ignores interrupts, being in the background, the process would ignore them too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    command = [sys.executable, "-m", "unetzoo", "predict", "model", "folder", "--out", "out", "--normalize", "none"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "TERM": "dumb"})
    while not list(folder.glob("out/*_mask.png")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == code
    assert f"ended by {signal.Signals(number).name}" in error
    assert "of 3000 images are predicted, in out" in error
    assert "Traceback" not in error
