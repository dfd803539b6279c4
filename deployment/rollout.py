"""Puts the application on a running Serve, or a changed one in its place: a rolling update.

With a fixed number of engines by `serve.run`. With autoscaling by a config, as `serve run FILE` does it: a policy of a
whole application has no other way in. Ray 2.60 offers that to programs through its dashboard alone, which a server on
one machine goes without; so this calls what `ray.serve.scripts.run` calls, `ServeControllerClient.deploy_apps`.
"""

from __future__ import annotations

from typing import Any

from ray import serve
from ray.serve.context import _get_global_client
from ray.serve.schema import ServeApplicationSchema, ServeDeploySchema

from deployment.app import bind
from deployment.engine_scaling import POLICY
from hhray.settings import Settings

BUILDER = "deployment.app:build"


def roll_out(settings: Settings, name: str) -> None:
    """Returns when every part runs at these settings; clips that run on what is replaced are finished there.

    Raises:
        RuntimeError: Serve gave up on a part of it.
        ConfigError: see `deployment.app.bind`.
    """
    application = bind(settings)  # what does not fit is refused here, not in Serve's log
    if not settings.autoscales:
        serve.run(application, name=name, route_prefix="/")
        return
    client = _get_global_client()
    client.deploy_apps(ServeDeploySchema(applications=[application_config(settings, name)]))
    client._wait_for_application_running(name)
    client.wait_for_proxies_serving()


def application_config(settings: Settings, name: str) -> ServeApplicationSchema:
    """The application as a config file has it. Serve logs the arguments, so the server's secret is not among them: it
    is in the environment of the cluster's processes or in its file."""
    args: dict[str, Any] = settings.to_args()
    del args["keys"]["secret"]
    return ServeApplicationSchema(
        name=name,
        route_prefix="/",
        import_path=BUILDER,
        args=args,
        autoscaling_policy={"policy_function": POLICY},
    )
