"""Backups of a space while it is in use, and what is made of them; sub-graphs in a file; copies from store to store.

All of it reads through what a mount offers (`Source`), so that a file of one's own and a host elsewhere are alike. The
formats are in `spec/backup.md`.
"""

from hubbub.backup.copying import CopyReport, copy_current, copy_history, copy_to_store
from hubbub.backup.exporting import ExportReport, export_objects, import_objects
from hubbub.backup.folder import BackupFile, BackupFolder, Manifest
from hubbub.backup.restoring import RestoreReport, check, restore
from hubbub.backup.saving import BackupReport, back_up
from hubbub.backup.source import Source, Target

__all__ = [
    "BackupFile",
    "BackupFolder",
    "BackupReport",
    "CopyReport",
    "ExportReport",
    "Manifest",
    "RestoreReport",
    "Source",
    "Target",
    "back_up",
    "check",
    "copy_current",
    "copy_history",
    "copy_to_store",
    "export_objects",
    "import_objects",
    "restore",
]
