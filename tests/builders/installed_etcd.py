"""An etcd as the chart installs it: one authority for the operator (CN root) and for each job (CN its uid)."""

from pathlib import Path

from builders.etcd import LocalEtcd
from deepseek_operator.certificates import Authority, years
from deepseek_operator.executors import etcd_tls
from deepseek_runtime.membership import TlsFiles


class InstalledEtcd(LocalEtcd):
    """`tls` is the administrator's."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority.new("tests", years(1))
        super().__init__(folder)

    def start(self) -> None:
        server = self.authority.server(etcd_tls.SERVER_NAME, etcd_tls.HOSTS, years(1))
        for path, content in (
            (self.files.ca, self.authority.certificate),
            (self.files.certificate, server.certificate),
            (self.files.key, server.key),
        ):
            path.write_bytes(content)
        self._sign("root", self.files.client_certificate, self.files.client_key)
        super().start()

    def client(self, name: str) -> TlsFiles:
        """The certificate of somebody called so, made anew."""
        folder = self.folder / "clients" / name
        folder.mkdir(parents=True, exist_ok=True)
        found = TlsFiles(self.files.ca, folder / "tls.crt", folder / "tls.key")
        self._sign(name, found.certificate, found.key)
        return found

    def _sign(self, name: str, certificate: Path, key: Path) -> None:
        pair = self.authority.client(name, years(1))
        certificate.write_bytes(pair.certificate)
        key.write_bytes(pair.key)
