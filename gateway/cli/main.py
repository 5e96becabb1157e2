"""`procot`: the commands by subject, and the one place where an error becomes an exit status."""

from __future__ import annotations

import os
import sys

import click

from gateway.cli import (
    backup,
    births,
    births_find,
    births_pairs,
    births_record,
    demo,
    erase,
    evidence,
    facilities,
    handover,
    keys,
    legal,
    quarantine,
    queue,
    reconcile,
    registry,
    retention,
    run,
    sandbox,
    send,
    setup,
    tokens,
    validate,
)
from gateway.cli.output import errors
from gateway.errors import ProcotError

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class _InOrder(click.Group):
    """A group that lists its commands as a newcomer meets them, not by alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self.commands)


@click.group(cls=_InOrder, context_settings=_CONTEXT)
@click.version_option(package_name="procot", prog_name="procot")
def procot() -> None:
    """Births in from hospitals over HL7, birth certificates back: Akta Lahir Procot, Pulang Bawa Akta.

    Begin with `procot demo`, then `procot up` and `procot send FILE --to 127.0.0.1:2575`.
    """


procot.add_command(demo.demo)
procot.add_command(run.up)
procot.add_command(run.serve)
procot.add_command(sandbox.sandbox)
procot.add_command(send.send)
procot.add_command(validate.validate)
procot.add_command(births.births)
births.births.add_command(births_find.find_births)
births.births.add_command(births_record.diff)
births.births.add_command(births_record.complete)
births.births.add_command(handover.handover)
births.births.add_command(handover.restrict)
births.births.add_command(erase.erase_birth)
births.births.add_command(births_pairs.pairs)
births.births.add_command(births_pairs.merge)
births.births.add_command(births_pairs.split)
births.births.add_command(legal.amend)
births.births.add_command(legal.withdraw)
procot.add_command(queue.queue)
procot.add_command(quarantine.quarantine)
procot.add_command(reconcile.reconcile)
procot.add_command(registry.registry)
procot.add_command(retention.retention)
procot.add_command(backup.backup)
procot.add_command(backup.restore)
procot.add_command(setup.migrate)
procot.add_command(setup.check_config)
procot.add_command(facilities.facilities)
procot.add_command(keys.keys)
procot.add_command(evidence.evidence)
procot.add_command(tokens.tokens)


def main() -> None:
    """Run a command; an error of ours is one sentence on stderr and exit status 1."""
    try:
        procot(standalone_mode=False, prog_name="procot")
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except ProcotError as error:
        errors.print(f"procot: {error}", markup=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
