"""Make the automations of alerts.yaml in the server that PREFECT_API_URL names; they call the address in AISLE_WEBHOOK.

    python deploy/automations/create.py

Called again, it replaces those of the same names: after a change of the file, or of the address.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("DO_NOT_TRACK", "1")

import yaml
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import get_client
from prefect.events.actions import CallWebhook
from prefect.events.schemas.automations import AutomationCore

from core.settings import get_settings

BLOCK = "aisle-alerts"
"""The block that keeps the address, in the server: encrypted there, and shown to nobody who may only look."""


def declared() -> list[dict[str, Any]]:
    """What the file declares."""
    text = Path(__file__).with_name("alerts.yaml").read_text(encoding="utf-8")
    found: list[dict[str, Any]] = yaml.safe_load(text)["automations"]
    return found


def main() -> int:
    """Make them all; returns 1 where there is nobody to tell."""
    address = get_settings().webhook
    if address is None:
        print("AISLE_WEBHOOK is not set: whom should the automations call?", file=sys.stderr)
        return 1
    webhook = Webhook(method="POST", url=address, headers={"Content-Type": "application/json"})
    block = webhook.save(BLOCK, overwrite=True)
    with get_client(sync_client=True) as client:
        for one in declared():
            automation = AutomationCore.model_validate(one)
            for action in automation.actions:
                if isinstance(action, CallWebhook):
                    action.block_document_id = block
            for former in client.read_automations_by_name(automation.name):
                client.delete_automation(former.id)
            client.create_automation(automation)
            print(f"made {automation.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
