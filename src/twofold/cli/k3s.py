"""`twofold k3s`: Kubernetes on two servers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from twofold.cli.output import print_json
from twofold.cli.session import AsJson, Session
from twofold.config.places import places
from twofold.errors import OperatorError

app = typer.Typer(no_args_is_help=True, help="Kubernetes (K3s) on two servers.")

MODULE = "k3s"
TheModule = Annotated[str, typer.Argument(metavar="[MODULE]", show_default=False)]
Kubeconfig = Annotated[
    Path,
    typer.Option("--kubeconfig", metavar="FILE", help="How the API is reached."),
]
KUBECONFIG = Path("/etc/rancher/k3s/k3s.yaml")


@app.command()
def takeover(
    context: typer.Context,
    module: TheModule = MODULE,
    kubeconfig: Kubeconfig = KUBECONFIG,
    as_json: AsJson = False,
) -> None:
    """Tell Kubernetes once that the other node is dead, or that it is back.

    Does nothing where the module does not serve, or while the cluster does not know. The module
    does this by itself; by hand it is only needed where its watch was stopped.

    Example: twofold k3s takeover k3s
    """
    from twofold.k3s.follow import sentences
    from twofold.k3s.site import Site
    from twofold.k3s.takeover import Duty, Report, duty

    session = Session.of(context, None, as_json)
    site = Site(module, places(), print, kubeconfig)
    sight = site.sight()
    if sight is None:
        raise OperatorError(f"the daemon knows no module {module} here", "See: twofold module list")
    what = duty(sight)
    report = Report() if what is Duty.NOTHING else site.act(what)
    if report is None:
        raise OperatorError(
            f"there is no {kubeconfig}, so no K3s on this node", "Install it: twofold k3s first"
        )
    if session.as_json:
        print_json({"duty": what.value, **vars(report), "done": report.done})
    else:
        for line in sentences(what, report) or [f"Nothing to change ({what.value})."]:
            print(line)
    if not report.done:
        raise typer.Exit(14)


@app.command(hidden=True)
def follow(module: TheModule = MODULE, kubeconfig: Kubeconfig = KUBECONFIG) -> None:
    """The watch on K3s of this node; the module runs it.

    Example: twofold k3s follow k3s
    """
    from twofold.k3s.follow import Follower
    from twofold.k3s.site import Site

    def say(sentence: Any) -> None:
        print(sentence, flush=True)

    Follower(Site(module, places(), say, kubeconfig)).run()
