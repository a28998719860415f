"""The vendors' APIs on loopback: true to their documents, and hostile on demand.

In a test::

    with serve_in_thread(Scenario(hustle=HustleScenario(leads=5_000))) as sandbox:
        read_everything(sandbox.hustle.api_url, sandbox.hustle.client_id, sandbox.hustle.client_secret)
        assert set(sandbox.report().served["leads"]) == set(sandbox.truth.ids["leads"])
"""

from api_sandbox.faults import Fault
from api_sandbox.harkster.scenario import AccountPlan, ChannelPlan, HarksterScenario, TemplatePlan, WorkspacePlan
from api_sandbox.harkster.truth import PostTruth
from api_sandbox.hubstaff.scenario import HubstaffForbidden, HubstaffScenario, Tracked
from api_sandbox.hustle.scenario import Forbidden, HustleScenario
from api_sandbox.running import RunningSandbox
from api_sandbox.scenario import Scenario, ScenarioError, load_scenario
from api_sandbox.server import serve_in_thread

__all__ = [
    "AccountPlan",
    "ChannelPlan",
    "Fault",
    "Forbidden",
    "HarksterScenario",
    "HubstaffForbidden",
    "HubstaffScenario",
    "HustleScenario",
    "PostTruth",
    "RunningSandbox",
    "Scenario",
    "ScenarioError",
    "TemplatePlan",
    "Tracked",
    "WorkspacePlan",
    "load_scenario",
    "serve_in_thread",
]
