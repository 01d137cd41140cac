"""What a session works with: the directory, Slurm's commands, and what is known of both."""

from engines.slurm.client import Slurm
from engines.slurm.desk import Desk
from engines.slurm.disk import Disk
from engines.slurm.settings import About, Settings
from engines.slurm.store import Store


class Cluster:
    """One cluster and one directory, for as long as it is in touch."""

    def __init__(
        self, store: Store, disk: Disk, slurm: Slurm, settings: Settings, about: About
    ) -> None:
        self.store = store
        self.disk = disk
        self.slurm = slurm
        self.settings = settings
        self.about = about
        self.desk = Desk(store, disk, slurm, accounting=about.accounting)
