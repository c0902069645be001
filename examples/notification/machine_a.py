"""Machine A of the notification system: hears events at a serial port, and tells machine B.

python machine_a.py /dev/ttyUSB0 [HOST [PORT]]       - in place of the device reads the console

A line that begins with ! is an event. It is sent again until B has handled it, so B may be killed at any time.
"""

import sys

from hubbub.flow import ConsoleReader, Pipeline, SerialPort, TCPClient


def event(line: str) -> str | None:
    """Return the event that ``line`` tells of, or nothing."""
    return line[1:].strip() if line.startswith("!") else None


def watch(device: str = "-", host: str = "127.0.0.1", port: str = "1500") -> None:
    lines = ConsoleReader() if device == "-" else SerialPort(device)
    Pipeline(lines, event, TCPClient(host, int(port), acked=True)).run()


if __name__ == "__main__":
    watch(*sys.argv[1:])
