"""What of a space can be taken elsewhere: backups, sub-graphs in a file, copies. The part of `Space` that does it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hubbub.kernel import Job
from hubbub.mount.base import Mount

if TYPE_CHECKING:
    from hubbub.backup import BackupReport


class Copies:
    """The base of `Space` for what leaves it and comes into it as files. Owns nothing."""

    _mount: Mount

    def backup(
        self, folder: str | os.PathLike[str], *, full: bool = False, job: Job | None = None
    ) -> BackupReport:
        """Save what is new since the last run into ``folder``; all of it the first time. The space stays in use.

        Args:
            folder: Where; made if there is none. `hubbub.backup.restore` makes a space of it again.
            full: Begin anew; what there is stays.
            job: For progress, and to stop it.

        Raises:
            HubbubError: As `hubbub.backup.back_up`; the next run goes on behind the last whole file.
        """
        from hubbub.backup import back_up

        return back_up(self._mount, folder, full=full, job=job)
