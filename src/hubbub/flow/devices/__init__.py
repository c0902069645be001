"""Components at the edge of the machine: console, files, other programs, time, serial lines."""

from hubbub.flow.devices.console import ConsoleEchoer, ConsoleReader
from hubbub.flow.devices.file_writer import FileWriter

__all__ = ["ConsoleEchoer", "ConsoleReader", "FileWriter"]
