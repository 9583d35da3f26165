"""What is shared holds no path, name or secret of this machine."""

import getpass
import socket

import pytest

from camal_rl.runs.public_text import LEFT_OUT, left_out_keys, published

USER, MACHINE = "aliceliddell", "wonderbox7"


@pytest.mark.parametrize(
    "text",
    [
        "/home/me/x", "~/x", "~me/x", "a=/srv/x", "file:///x", "C:\\x", "d:/x", "\\\\server\\share", "../x", "x/../y",
        "see (/mnt/x)", "https://me:word@host/x", "$HOME", "${oc.env:HOME}", "%USERPROFILE%", "WANDB_API_KEY=1",
        f"runs/{USER}/x", f"{USER}-run", USER.upper(), f"job on {MACHINE}", "s3cret-value-of-mine",
    ],
)  # fmt: skip
def test_what_is_private_is_left_out_wherever_it_stands(text, monkeypatch):
    monkeypatch.setattr(getpass, "getuser", lambda: USER)
    monkeypatch.setattr(socket, "gethostname", lambda: MACHINE)
    monkeypatch.setenv("MY_TOKEN", "s3cret-value-of-mine")
    assert published({"a": [1, {"b": text}]}) == {"a": [1, {"b": LEFT_OUT}]}
    assert left_out_keys({"a": [1, {"b": text}], "c": "x"}) == ["a.1.b"]
    assert published({text: 1}) == {LEFT_OUT: 1}


@pytest.mark.parametrize(
    "text",
    [
        "toy_grid/default", "procgen/starpilot", "mypackage.nets:MyEncoder", f"{USER}.nets:MyEncoder", "a/b/c",
        "https://arxiv.org/abs/2605.08325", "epg@held_out", "1e-4", "2.13.0+cpu", "data/birds", "50 %", "and / or", "",
        "Linux-6.1.0-x86_64-with-glibc2.36", "camal+drac", "timm:resnet18", "value, in standard deviations (of V)",
    ],
)  # fmt: skip
def test_what_is_nobodys_stays(text, monkeypatch):
    monkeypatch.setattr(getpass, "getuser", lambda: USER)
    data = {"a": [text, 1, None, True, 0.5], "b": {text: text}}
    assert published(data) == data
    assert left_out_keys(data) == []


def test_a_text_under_the_name_of_a_secret_is_left_out_and_a_number_stays():
    assert published({"api_key": "x", "num_tokens": 3, "token": 4}) == {
        "api_key": LEFT_OUT, "num_tokens": 3, "token": 4
    }  # fmt: skip


def test_names_without_which_nothing_is_known_stay(monkeypatch):
    monkeypatch.setattr(getpass, "getuser", lambda: "starpilot")
    assert published(["procgen/starpilot"], keep={"procgen/starpilot"}) == ["procgen/starpilot"]
    assert published(["runs/starpilot"], keep={"procgen/starpilot"}) == [LEFT_OUT]
