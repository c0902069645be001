"""Components at the edge of the machine: console, files, other programs, time, serial lines."""

from hubbub.flow.devices.console import ConsoleEchoer, ConsoleReader
from hubbub.flow.devices.file_reader import FileReader
from hubbub.flow.devices.file_writer import FileWriter
from hubbub.flow.devices.process import Process
from hubbub.flow.devices.serial_port import SerialPort
from hubbub.flow.devices.ticker import Ticker
from hubbub.flow.devices.timer import Timer

__all__ = [
    "ConsoleEchoer",
    "ConsoleReader",
    "FileReader",
    "FileWriter",
    "Process",
    "SerialPort",
    "Ticker",
    "Timer",
]
