"""Serial ports: listed, one program's at a time, and what is said where one cannot be opened or vanishes."""

import errno
import os
import subprocess
import sys

import pytest
import serial

from popstream.boards.host.client import Client, LinkError, open_port


def test_ports_are_listed_by_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "popstream", "host", "ports"], capture_output=True, text=True, check=False
    )
    assert done.stdout or (done.returncode, done.stderr[:24]) == (1, "error: no serial ports; ")


def test_a_port_is_one_programs():
    master, slave = os.openpty()
    name = os.ttyname(slave)
    with (
        open_port(name, 115_200),
        pytest.raises(LinkError, match=f"Port {name} cannot be opened: it is in use by another program"),
    ):
        open_port(name, 115_200)
    open_port(name, 115_200).close()  # and free again
    os.close(master)
    os.close(slave)


@pytest.mark.parametrize(("mode", "said"), [
    (0o660, r"no permission; it belongs to the group \S+: sudo usermod -aG \S+ \$USER, then log in again"),
    (0o600, r"no permission; ask for the right to read and write it \(udev rules\)"),
])  # fmt: skip
def test_a_port_without_permission_says_what_to_do(tmp_path, monkeypatch, mode, said):
    path = tmp_path / "tty"
    path.touch()
    path.chmod(mode)

    def refuse(*_, **__):
        raise serial.SerialException(errno.EACCES, "could not open port")

    monkeypatch.setattr(serial, "serial_for_url", refuse)
    with pytest.raises(LinkError, match=rf"^Port {path} cannot be opened: {said}$"):
        open_port(str(path), 115_200)


def test_a_port_that_is_not_there_says_so(tmp_path):
    with pytest.raises(LinkError, match=r"opened: No such file or directory; `popstream host ports` lists them"):
        open_port(str(tmp_path / "none"), 115_200)
    with pytest.raises(LinkError, match=r"cannot be opened: .*protocol.*lists them"):
        open_port("nothing://x", 115_200)


def test_what_is_no_port_says_so(tmp_path):
    (tmp_path / "file").touch()
    for name in (os.devnull, tmp_path / "file"):
        with pytest.raises(
            LinkError, match=f"^Port {name} cannot be opened: it is no serial port; `popstream host por"
        ):
            open_port(str(name), 115_200)


def test_a_port_that_vanishes_is_an_error():
    master, slave = os.openpty()
    with open_port(os.ttyname(slave), 115_200) as port:
        os.close(slave)
        os.close(master)
        with pytest.raises(LinkError, match="The port failed"):
            Client(port, timeout=0.05).identify()
