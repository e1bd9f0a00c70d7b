"""How a member joins what its job has in etcd: the config document's addresses, its own certificate."""

from collections.abc import Callable

from deepseek_runtime.contract import exit_codes
from deepseek_runtime.contract.keys import JobKeys
from deepseek_runtime.edge.process import Exit, Identity
from deepseek_runtime.membership import Membership, TlsError, TlsFiles


def membership_of(who: Identity, on_change: Callable[[], None]) -> Membership:
    """Not started yet. Raises Exit (78) when its certificate or key cannot be read, or an address is wrong."""
    config = who.config
    tls = TlsFiles.of(config.etcd_tls, who.secrets)
    try:
        if tls is not None:
            tls.read()
        return Membership(
            config.etcd,
            JobKeys.of(config.install, config.namespace, config.job, config.uid),
            tls=tls,
            ttl=config.timing.registration_ttl,
            on_change=on_change,
        )
    except TlsError as error:
        raise Exit(exit_codes.CONFIG, "KeysInvalid", str(error)) from error
    except ValueError as error:
        raise Exit(exit_codes.CONFIG, "ConfigInvalid", str(error)) from error
